"""Pixels that are coded one after another: their order, and the networks between them."""
