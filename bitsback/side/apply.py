"""Likelihoods corrected by side information, those that can be."""

import dataclasses
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from bitsback.tables.corrections import Correction
from bitsback.tables.pixels import Mixture

Likelihood = TypeVar("Likelihood")


def channels(likelihood: object) -> int:
    """Channels that corrections are sent for: none where the likelihood is no mixture."""
    if not isinstance(likelihood, Mixture):
        return 0
    return 1 if likelihood.gray else likelihood.means.shape[2]


def corrected(
    likelihood: Likelihood, near: NDArray[np.uint8] | None, found: tuple[Correction, ...]
) -> Likelihood:
    """The likelihood of a pass, corrected if it is a mixture.

    Args:
        near: known pixels near each one, (B, K, C, H, W).
        found: corrections by channel, or none.
    """
    if near is None or not any(found) or not isinstance(likelihood, Mixture):
        return likelihood
    replaced: Any = dataclasses.replace(likelihood, neighbours=near, corrections=found)
    return cast(Likelihood, replaced)
