"""Conceptual compression: files that hold the first latents, the rest being generated."""
