"""Training: data, losses, the trainer, and from a run to a model that codes."""
