"""Speeds and ablations of networks and their training."""
