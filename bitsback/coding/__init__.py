"""Bits-back coding: the model protocol, a batch, the chain, its initial bits and its rates."""
