"""Likelihoods of pixels as codecs."""

from bitsback.tables.pixels import (
    Bernoulli,
    Mixture,
)

__all__ = [
    "Bernoulli",
    "Mixture",
]
