"""What integers cost an adapted model, on given images."""

import dataclasses
from typing import Any

import numpy as np

from bitsback import api
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError


@dataclasses.dataclass(frozen=True)
class QuantisedCost:
    """What integers cost.

    Args:
        float_bits: KL-based bits of the images under the model in floats.
        exact_bits: the same under the model in integers.
        images: how many.
    """

    float_bits: float
    exact_bits: float
    images: int

    @property
    def share(self) -> float:
        """By how much the integers' code is longer; 0.005 is half a percent."""
        return self.exact_bits / self.float_bits - 1.0

    def __str__(self) -> str:
        per = self.float_bits / self.images, self.exact_bits / self.images
        return f"{per[0]:.2f} bits an image in floats, {per[1]:.2f} in integers ({self.share:+.3%})"


def quantised_cost(
    float_model: LoadedModel, exact_model: LoadedModel, images: Any, seed: int = 0
) -> QuantisedCost:
    """The KL-based rates of two models of the same images, such as one and its integer form.

    Args:
        images: as `bitsback.rate` takes them, each of one tile.
        seed: of the dither.

    Raises:
        InputError: the chains have no image in common: there are too few.
        ModelError: as `bitsback.rate`.
    """
    found = [api.rate(images, model, seed=seed).by_image for model in (float_model, exact_model)]
    first, second = found
    if first is None or second is None:
        raise InputError("the cost is of images that fill a tile each")
    common, ours, theirs = np.intersect1d(first.numbers, second.numbers, return_indices=True)
    if not len(common):
        raise InputError("too few images: the chains have none in common")
    return QuantisedCost(
        float(first.bits[ours].sum()), float(second.bits[theirs].sum()), len(common)
    )
