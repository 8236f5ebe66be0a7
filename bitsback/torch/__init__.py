"""PyTorch: files as data sets, and models of one's own that compute in floats."""

from .adapter import adapt
from .datasets import ChunkBatchSampler, ImageDataset, Transform
from .likelihoods import (
    Bernoulli,
    BetaBinomial,
    Categorical,
    Gaussian,
    Likelihood,
    Logistic,
    Mixture,
)
from .widths import WidthCost, choose_widths, width_costs

__all__ = [
    "Bernoulli",
    "BetaBinomial",
    "Categorical",
    "ChunkBatchSampler",
    "Gaussian",
    "ImageDataset",
    "Likelihood",
    "Logistic",
    "Mixture",
    "Transform",
    "WidthCost",
    "adapt",
    "choose_widths",
    "width_costs",
]
