"""Grids for the latents of an adapted model: initial bits against rate.

A posterior of sigma_q on a grid of width delta takes log2(sigma_q sqrt(2 pi e) / delta) bits off
the stack before it gives them back, and costs

    -1/2 log2(1 - (delta / sigma_q)**2 / 12)

bits more than its KL, since the dither's variance is left out of it. Half the width takes a bit
more at the beginning, and costs a quarter.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.coding.model import LoadedModel
from bitsback.errors import ModelError

from . import bottom_up
from .adapter import FINEST
from .adapter import loaded as load
from .bottom_up import BottomUpFloats
from .floats import F64, WIDTH_UNITS, FloatModel
from .samples import adapted_of, pixels_of, sampled

_QUANTILE = 0.05


def choose_widths(
    model: LoadedModel, images: Any, fineness: float = 4.0, seed: int = 0
) -> LoadedModel:
    """The model with grids that suit its posteriors of images.

    Each channel's grid is so fine that the narrowest posteriors (the 5 % quantile) are `fineness`
    times its width; never finer than 1/512 of the prior's sigma. Bottom-up, the grids also reach
    as far as these images' latents do, and half as far again.

    Args:
        model: from `adapt`.
        images: some, as `bitsback.compress` takes arrays; a few dozen are enough.
        fineness: sigma_q in units of the grid's width; `width_costs` shows what it trades.
        seed: of the latents that are drawn.

    Raises:
        ModelError: the model is not from `adapt`.
        InputError: the model does not code such images.
    """
    if not fineness > 0:
        raise ModelError(f"the fineness is positive, not {fineness}")
    own = adapted_of(model)
    if isinstance(own, BottomUpFloats):
        x = pixels_of(own, images)
        return load(bottom_up.suited(own, x, fineness, _QUANTILE, seed), model.name)
    widths = []
    for log_ratio in _log_ratios(own, pixels_of(own, images), seed):
        narrow = np.quantile(log_ratio, _QUANTILE, axis=0) / math.log(2) - math.log2(fineness)
        chosen = np.floor(WIDTH_UNITS * narrow + 0.5)
        widths.append(np.clip(chosen, FINEST, 0).astype(np.int64))
    return load(FloatModel(own.vae, tuple(widths)), model.name)


@dataclasses.dataclass(frozen=True)
class WidthCost:
    """What grids of a fineness cost.

    Args:
        fineness: see `choose_widths`.
        initial_bits: that an image takes off the stack before it gives them back; bottom-up, the
            most that a latent takes.
        excess_bits: of an image, beyond its KL.
    """

    fineness: float
    initial_bits: float
    excess_bits: float


def width_costs(
    model: LoadedModel,
    images: Any,
    finenesses: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0),
    seed: int = 0,
) -> tuple[WidthCost, ...]:
    """The dial: what `choose_widths` would give up and gain; arguments as there."""
    own = adapted_of(model)
    log_ratios = list(_log_ratios(own, pixels_of(own, images), seed))
    costs = []
    for fineness in finenesses:
        layers, excess = [], 0.0
        for log_ratio, shape in zip(log_ratios, own.vae.latents, strict=True):
            per_channel = int(np.prod(shape[1:], dtype=np.int64))
            narrow = np.quantile(log_ratio, _QUANTILE, axis=0)
            s = fineness * np.exp(log_ratio - narrow)
            taken = np.log2(s * math.sqrt(2 * math.pi * math.e)).mean(0).sum()
            layers.append(per_channel * float(taken))
            lost = -0.5 * np.log2(1 - np.minimum(1 / (12 * s * s), 0.97))
            excess += per_channel * float(lost.mean(0).sum())
        bits = max(layers) if isinstance(own, BottomUpFloats) else sum(layers)
        costs.append(WidthCost(fineness, bits, excess))
    return tuple(costs)


def _log_ratios(model: FloatModel, x: NDArray[np.uint8], seed: int) -> list[F64]:
    """`Sample.log_scales` of each group, (N, C)."""
    scales = sampled(model, x, seed).log_scales
    return [np.moveaxis(scale, 1, -1).reshape(-1, scale.shape[1]) for scale in scales]
