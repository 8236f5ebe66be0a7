"""Sizes and speeds, measured beside peers in the same run."""
