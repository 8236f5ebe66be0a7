"""What side information saves most, as the encoder finds it: the same on every machine."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from bitsback.tables.corrections import NONE, Correction
from bitsback.tables.mixture_levels import flat, mixture_weights
from bitsback.tables.pixels import Mixture, picked
from bitsback.tables.tables import PIXEL_SCALES

from . import apply, codec
from .channel import Channel
from .predictor import predictor
from .recalibration import recalibration
from .wanted import Wanted

Int64 = NDArray[np.int64]

_MOST = 1 << 12  # pixels of a pass that serve
_FEWEST = 64


@dataclasses.dataclass(frozen=True)
class Fitted:
    """Corrections of a pass by channel, and the bits that they should save, less those sent."""

    corrections: tuple[Correction, ...]
    saved: float


def fit(mixture: object, x: NDArray[np.uint8], near: NDArray[np.uint8], wanted: Wanted) -> Fitted:
    """Corrections of a pass, from some of its pixels.

    Args:
        mixture: of its pixels, without corrections; a likelihood that is no mixture has none.
        x: its pixels, (B, C, H, W).
        near: their neighbours, (B, K, C, H, W).
        wanted: what may be sent.
    """
    channels, count = apply.channels(mixture), x[:, 0].size
    if not isinstance(mixture, Mixture) or count < _FEWEST:
        return Fitted((NONE,) * channels, 0.0)
    chosen = _chosen(count)
    mask = np.zeros(count, np.bool_)
    mask[chosen] = True
    where = mask.reshape(x[:, 0].shape)
    some, x, near = mixture.only(where), picked(x, where), picked(near, where)
    found: list[Correction] = []
    saved = 0.0
    weights = mixture_weights(flat(some.weights))
    for c in range(channels):
        means, scales = some.components(x, c, weights)
        scales = np.clip(scales, *PIXEL_SCALES)
        levels = x[:, c].ravel().astype(np.int64)
        own = Channel(some.kind, means, scales, weights, levels, count / len(chosen))
        correction, gain, move = _channel(own, x, c, near, wanted)
        found.append(correction)
        saved += gain
        if c + 1 < channels:
            weights = own.codes(move, correction.by_scale).posterior_weights(levels)
    return Fitted(tuple(found), saved)


def _chosen(count: int) -> Int64:
    """Numbers of the pixels that serve, spread so that no row or column is left out."""
    step = -(-count // _MOST)
    first = np.arange(0, count, step)
    return np.minimum(first + 7 * np.arange(len(first)) % step, count - 1)


def _channel(
    pixels: Channel, x: NDArray[np.uint8], c: int, near: NDArray[np.uint8], wanted: Wanted
) -> tuple[Correction, float, Int64]:
    """The correction of a channel, the bits that it saves, and the moves of the means, (n,)."""
    found, none = NONE, np.zeros(len(pixels.levels), np.int64)
    move = none
    if wanted.predictor and near.shape[1]:
        found, move = predictor(pixels, near, x, c)
    if wanted.recalibration:
        found = dataclasses.replace(found, shifts=recalibration(pixels, move))
    if not found:
        return NONE, 0.0, none
    lengths = pixels.length() - pixels.length(move, found.by_scale)
    saved = pixels.total(lengths) - codec.cost_of(found, c)
    return (found, saved, move) if saved > 0 else (NONE, 0.0, none)
