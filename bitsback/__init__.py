"""Lossless image compression with latent variable models, by bits-back coding."""

__version__ = "0.1.0"
