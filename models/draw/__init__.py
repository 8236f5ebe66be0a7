"""Convolutional DRAW: its equations and the arithmetics that run them."""
