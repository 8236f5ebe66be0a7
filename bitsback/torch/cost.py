"""What integers cost an adapted model, on given images."""

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError

from .floats import F64, FloatModel
from .samples import adapted_of, pixels_of, sampled


@dataclasses.dataclass(frozen=True)
class QuantisedCost:
    """What integers cost.

    Args:
        float_bits: KL-based bits of the images under the model in floats: of each group of latents,
            and the pixels' code length.
        exact_bits: the same under the model in integers.
        images: how many.
        standard_error_bits: of the sums' difference, over the images.
    """

    float_bits: tuple[float, ...]
    exact_bits: tuple[float, ...]
    images: int
    standard_error_bits: float

    @property
    def share(self) -> float:
        """By how much the integers' code is longer; 0.005 is half a percent."""
        return sum(self.exact_bits) / sum(self.float_bits) - 1.0

    @property
    def standard_error(self) -> float:
        """Of the share."""
        return self.standard_error_bits / sum(self.float_bits)

    def __str__(self) -> str:
        floats, exact = (sum(b) / self.images for b in (self.float_bits, self.exact_bits))
        names = [f"latents {index}" for index in range(len(self.float_bits) - 1)] + ["pixels"]
        parts = ", ".join(
            f"{name} {(after - before) / self.images:+.3f}"
            for name, before, after in zip(names, self.float_bits, self.exact_bits, strict=True)
        )
        return (
            f"{floats:.2f} bits an image in floats, {exact:.2f} in integers ({self.share:+.4%}, "
            f"standard error {self.standard_error:.4%}): {parts}"
        )


def quantised_cost(
    float_model: LoadedModel,
    exact_model: LoadedModel,
    images: Any,
    draws: int = 4,
    seed: int = 0,
) -> QuantisedCost:
    """The KL-based rates of an adapted model and of its integer form.

    Both draw their latents with the same noise, so that the difference has next to no luck.

    Args:
        float_model: from `adapt`.
        exact_model: from `adapt`, of the modules in integers.
        images: as `bitsback.compress` takes arrays, two or more.
        draws: of the latents of every image; the bits are means over them.
        seed: of the noise.

    Raises:
        InputError: the images do not fit, or are too few; no draws.
        ModelError: a model is not from `adapt`.
    """
    models = [adapted_of(model) for model in (float_model, exact_model)]
    x = pixels_of(models[0], images)
    if draws < 1 or len(x) < 2:
        raise InputError(f"a cost needs a draw and two images: {draws} and {len(x)} are given")
    bits = [
        np.mean([_bits(model, x, seed + number) for number in range(draws)], axis=0)
        for model in models
    ]
    spread = float((bits[1] - bits[0]).sum(1).std(ddof=1))
    sums = [tuple(map(float, found.sum(0))) for found in bits]
    return QuantisedCost(sums[0], sums[1], len(x), spread * math.sqrt(len(x)))


def _bits(model: FloatModel, x: NDArray[np.uint8], seed: int) -> F64:
    """KL of every group and the pixels' code length, (N, groups + 1) bits."""
    sample = sampled(model, x, seed)
    pixels = model.likelihood(sample.state, gray=False).push(Message.empty(1), x)
    return np.stack([*(nats / math.log(2) for nats in sample.nats), pixels], 1)
