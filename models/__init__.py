"""Convolutional DRAW: networks, training, their exact integer form, and shipped weights."""
