"""Modules of floats as modules of integers, which give the same numbers on every machine."""
