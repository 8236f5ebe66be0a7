"""Commands about models: those that ship, training, the figures that they draw."""
