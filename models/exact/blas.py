"""Convolutions of integers by NumPy's matrix products in floats; need no torch.

A product is exact if it only multiplies and adds, in whatever order, since no partial sum leaves
the range in which the floats count: float32 to 2**24, float64 to 2**53. That it does so is proven
of the first and of the last image of each result, by Freivalds's check (see `convolution`), modulo
2**64. Where the proof fails, or the sums may be larger, int64 takes its place.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from . import factors, reference
from .reference import Int64

Carrier = type[np.float32] | type[np.float64]
_CARRIERS: tuple[tuple[Carrier, int], ...] = ((np.float32, 2**24), (np.float64, 2**53))
_BAND = 1 << 18  # values of a matrix, which the cache should hold


@dataclass(frozen=True, eq=False)
class Kernel:
    """What a convolution multiplies by.

    Args:
        weight: (O, C, k, k), k odd.
    """

    weight: Int64

    @functools.cached_property
    def bound(self) -> int:
        """The most that an output is, for inputs of at most 1."""
        return int(np.abs(self.weight).sum((1, 2, 3)).max())

    @functools.cached_property
    def rows(self) -> dict[Carrier, NDArray[np.floating]]:
        """The weights in each kind of float, (O, C * k * k)."""
        flat = self.weight.reshape(len(self.weight), -1)
        return {carrier: flat.astype(carrier) for carrier, _ in _CARRIERS}

    @functools.cached_property
    def checksum(self) -> Int64:
        """The weights' sum over output channels by their factors, (C, k, k), modulo 2**64."""
        return np.tensordot(factors.of_channels(len(self.weight)), self.weight, 1)


def convolve(x: Int64, kernel: Kernel) -> Int64:
    """Exactly what `reference.convolve` gives.

    Args:
        x: (B, C, H, W).

    Returns:
        (B, O, H, W).
    """
    largest = int(np.abs(x).max(initial=0))
    for carrier, limit in _CARRIERS:
        if largest * kernel.bound <= limit:
            y = _product(x, kernel, carrier)
            if all(_proven(x[n], kernel, y[n]) for n in {0, len(x) - 1}):
                return y.astype(np.int64)
    return reference.convolve(x, kernel.weight)


def _product(x: Int64, kernel: Kernel, carrier: Carrier) -> NDArray[np.floating]:
    images, channels, height, width = x.shape
    rows, side = kernel.rows[carrier], kernel.weight.shape[-1] // 2
    padded = np.zeros((channels, height + 2 * side, width + 2 * side), carrier)
    y = np.empty((images, len(rows), height, width), carrier)
    band = max(1, _BAND // (rows.shape[1] * width))  # rows of outputs
    for image, out in zip(x, y, strict=True):
        padded[:, side : side + height, side : side + width] = image
        for first in range(0, height, band):
            last = min(height, first + band)
            # (C, k, k, rows, W): what each tap of each channel meets
            shape = last - first, width
            windows = sliding_window_view(padded[:, first : last + 2 * side], shape, (1, 2))
            product = rows @ windows.reshape(rows.shape[1], -1)
            out[:, first:last] = product.reshape(-1, *shape)
    return y


def _proven(x: Int64, kernel: Kernel, y: NDArray[np.floating]) -> bool:
    """Whether an image's y, (O, H, W), is x, (C, H, W), convolved; sums are modulo 2**64."""
    channels, height, width = x.shape
    taps, factor = _taps(kernel.weight.shape[-1] // 2, height, width)
    largest = max(int(np.abs(x).max(initial=0)), int(np.abs(y).max(initial=0)))
    kind = np.float64 if largest * factors.FACTORS * height * width < 2**53 else np.int64
    outputs, inputs = (each.reshape(len(each), -1).astype(kind) for each in (y, x))
    found = factors.of_channels(len(y)) @ (outputs @ factor.astype(kind)).astype(np.int64)
    around = (inputs @ taps.astype(kind).T).astype(np.int64)
    return bool(found == (kernel.checksum.reshape(channels, -1) * around).sum())


@functools.lru_cache(64)
def _taps(side: int, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each input is multiplied by at each tap, ((2 * side + 1)**2, H * W), and each output.

    An input's factor at a tap is that of the output that takes it there, if there is one.
    """
    factor = factors.of_positions(height * width).astype(np.float64)
    padded = np.pad(factor.reshape(height, width), side)
    taken = [
        padded[2 * side - i : 2 * side - i + height, 2 * side - j : 2 * side - j + width]
        for i, j in itertools.product(range(2 * side + 1), repeat=2)
    ]
    return np.stack(taken).reshape(len(taken), -1), factor
