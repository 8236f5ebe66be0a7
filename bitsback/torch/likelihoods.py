"""Likelihoods as a torch model gives them: floats, in the model's own scale of pixels.

Each is one value of `p(x | z)` for a batch: its parameters are tensors that begin with the axes
(B, C, H, W) of the images, or (B, M, C, H, W) for M components. A pixel's level v lies at
low + (high - low) v / (levels - 1) of the range (low, high) that `adapt` was given, and its bin
reaches half a level to both sides; the end bins have the tails.
"""

import dataclasses
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitsback.coding import model
from bitsback.errors import ModelError
from bitsback.tables import arithmetic, levels, pixels

F64 = NDArray[np.float64]
Arrays = dict[str, F64]


class Likelihood(Protocol):
    """A likelihood of a batch of images; its fields are tensors whose first axis is the batch."""

    @property
    def levels(self) -> int:
        """How many levels it has: the pixels are 0..levels - 1."""
        ...

    def codec(self, arrays: Arrays, scale: "PixelScale") -> model.Likelihood:
        """The codec whose parameters are these fields, float64, of all images of a batch."""
        ...


@dataclasses.dataclass(frozen=True)
class PixelScale:
    """The model's values of the lowest and the highest level.

    Args:
        shape: (C, H, W) of the images.
        low, high: the values.
        levels: how many levels there are.
    """

    shape: tuple[int, int, int]
    low: float
    high: float
    levels: int

    @property
    def step(self) -> float:
        """The model's units in a level."""
        return (self.high - self.low) / (self.levels - 1)

    def of_levels(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Levels in the model's units."""
        return (self.low + self.step * x.astype(np.float64)).astype(np.float32)

    def to_levels(self, values: F64) -> F64:
        """Values of the model in levels."""
        return (values - self.low) / self.step


@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Binary pixels.

    Args:
        logits: (B, C, H, W), nats; rounded to 1/32, and clipped to 16.
    """

    logits: Tensor

    @property
    def levels(self) -> int:
        """0 and 1."""
        return 2

    def codec(self, arrays: Arrays, scale: PixelScale) -> model.Likelihood:
        """See `Likelihood`."""
        logits = np.clip(arrays["logits"], -16.0, 16.0).reshape(-1, *scale.shape)
        return pixels.Bernoulli(np.floor(32.0 * logits + 0.5).astype(np.int64))


@dataclasses.dataclass(frozen=True)
class Categorical:
    """A probability for each level.

    Args:
        logits: (B, C, H, W, levels), nats, of 2 to 256 levels.
    """

    logits: Tensor

    @property
    def levels(self) -> int:
        """The last axis."""
        return self.logits.shape[-1]

    def codec(self, arrays: Arrays, scale: PixelScale) -> model.Likelihood:
        """See `Likelihood`."""
        return _discrete(levels.softmax(arrays["logits"], -1), scale)


@dataclasses.dataclass(frozen=True)
class BetaBinomial:
    """Levels 0..255, of 255 trials whose probability is drawn from a beta distribution.

    Args:
        alpha: (B, C, H, W), positive.
        beta: the same.
    """

    alpha: Tensor
    beta: Tensor

    @property
    def levels(self) -> int:
        """Those of a byte."""
        return 256

    def codec(self, arrays: Arrays, scale: PixelScale) -> model.Likelihood:
        """See `Likelihood`."""
        alpha, beta = (torch.from_numpy(arrays[name])[..., None] for name in ("alpha", "beta"))
        v, trials = torch.arange(256, dtype=torch.float64), torch.tensor(255.0).double()
        log = -torch.lgamma(v + 1) - torch.lgamma(trials - v + 1)
        log = log + torch.lgamma(v + alpha) + torch.lgamma(trials - v + beta)
        return _discrete(levels.softmax(log.numpy(), -1), scale)


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A discretised Gaussian.

    Args:
        mean: (B, C, H, W), in the model's scale of pixels.
        log_sigma: natural logarithm of the deviation in that scale; it broadcasts.
    """

    mean: Tensor
    log_sigma: Tensor

    @property
    def levels(self) -> int:
        """Those of a byte."""
        return 256

    def codec(self, arrays: Arrays, scale: PixelScale) -> model.Likelihood:
        """See `Likelihood`."""
        return _continuous("gaussian", None, arrays["mean"], arrays["log_sigma"], scale)


@dataclasses.dataclass(frozen=True)
class Logistic:
    """A discretised logistic.

    Args:
        mean: (B, C, H, W), in the model's scale of pixels.
        log_scale: natural logarithm of the scale parameter in that scale; it broadcasts.
    """

    mean: Tensor
    log_scale: Tensor

    @property
    def levels(self) -> int:
        """Those of a byte."""
        return 256

    def codec(self, arrays: Arrays, scale: PixelScale) -> model.Likelihood:
        """See `Likelihood`."""
        return _continuous("logistic", None, arrays["mean"], arrays["log_scale"], scale)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A mixture of discretised Gaussians or logistics for each value.

    Args:
        logits: (B, M, C, H, W), nats, of the weights.
        means: (B, M, C, H, W), as of `Gaussian` and `Logistic`.
        log_scales: the same.
        kind: "logistic" or "gaussian".
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    kind: str = "logistic"

    @property
    def levels(self) -> int:
        """Those of a byte."""
        return 256

    def codec(self, arrays: Arrays, scale: PixelScale) -> model.Likelihood:
        """See `Likelihood`."""
        if self.kind not in ("logistic", "gaussian"):
            raise ModelError(f"unknown kind of mixture {self.kind!r}: logistic or gaussian")
        weights = levels.softmax(arrays["logits"], 1)
        return _continuous(self.kind, weights, arrays["means"], arrays["log_scales"], scale)


def _continuous(
    kind: str, weights: F64 | None, means: F64, log_scales: F64, scale: PixelScale
) -> model.Likelihood:
    components = 1 if weights is None else weights.shape[1]
    shape = (len(means), components, *scale.shape)
    scales = arithmetic.exp(log_scales) / abs(scale.step)
    return levels.Continuous(
        kind,
        np.ones(shape) if weights is None else weights.reshape(shape),
        scale.to_levels(means).reshape(shape),
        scales.reshape(shape),
    )


def _discrete(probabilities: F64, scale: PixelScale) -> model.Likelihood:
    below = np.add.accumulate(probabilities, -1)[..., :-1]
    return levels.Discrete(below.reshape(len(below), *scale.shape, -1))
