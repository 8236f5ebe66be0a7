"""Convolutional DRAW (Gregor et al., 2016): the networks, their training, their exact integer form, their weights."""
