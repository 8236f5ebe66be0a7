"""PyTorch: files as data sets, and models of one's own that compute in floats."""

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ImportError("bitsback.torch needs torch: pip install 'bitsback[torch]'")

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
