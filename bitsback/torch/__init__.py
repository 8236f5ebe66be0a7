"""PyTorch: files as data sets, and models of one's own that compute in floats."""

from .adapter import adapt
from .cost import QuantisedCost, quantised_cost
from .datasets import ChunkBatchSampler, ImageDataset, Transform
from .integers.quantise import quantise
from .likelihoods import (
    Bernoulli,
    BetaBinomial,
    Categorical,
    Gaussian,
    Likelihood,
    Logistic,
    Mixture,
)
from .terms import TermsReport, compare_terms
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
    "QuantisedCost",
    "TermsReport",
    "Transform",
    "WidthCost",
    "adapt",
    "choose_widths",
    "compare_terms",
    "quantise",
    "quantised_cost",
    "width_costs",
]
