"""Convolutions of integers by NumPy's matrix products in floats; need no torch.

A product is exact if it only multiplies and adds, in whatever order, since no partial sum leaves
the range in which the floats count: float32 to 2**24, float64 to 2**53. That it does so is proven
of the first and of the last image of each result, by Freivalds's check (see `convolution`), modulo
2**64. Where the proof fails, or the sums may be larger, int64 takes its place.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from . import factors, reference
from .reference import Int64

Carrier = type[np.float32] | type[np.float64]
_CARRIERS: tuple[tuple[Carrier, int], ...] = ((np.float32, 2**24), (np.float64, 2**53))


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
    most = int(np.abs(x).max(initial=0)) * kernel.bound
    for carrier, limit in _CARRIERS:
        if most <= limit:
            y = _product(x, kernel, carrier)
            if all(_proven(x[n], kernel, y[n]) for n in {0, len(x) - 1}):
                return y
    return reference.convolve(x, kernel.weight)


def _product(x: Int64, kernel: Kernel, carrier: Carrier) -> Int64:
    images, channels, height, width = x.shape
    side = kernel.weight.shape[-1] // 2
    rows = kernel.rows[carrier]
    padded = np.zeros((channels, height + 2 * side, width + 2 * side), rows.dtype)
    y = np.empty((images, len(rows), height * width), rows.dtype)
    for image, out in zip(x, y, strict=True):
        padded[:, side : side + height, side : side + width] = image
        # (C, k, k, H, W): what each tap of each channel meets
        windows = sliding_window_view(padded, (height, width), (1, 2))
        np.matmul(rows, windows.reshape(-1, height * width), out)
    return y.astype(np.int64).reshape(images, -1, height, width)


def _proven(x: Int64, kernel: Kernel, y: Int64) -> bool:
    """Whether an image's y, (O, H, W), is x, (C, H, W), convolved; sums are modulo 2**64."""
    side, shape = kernel.weight.shape[-1] // 2, x.shape[1:]
    at = factors.of_positions(shape[0] * shape[1])
    found = factors.of_channels(len(y)) @ (y.reshape(len(y), -1) @ at)
    padded = np.pad(x, ((0, 0), (side, side), (side, side)))
    around = np.tensordot(sliding_window_view(padded, shape, (1, 2)), at.reshape(shape), 2)
    return bool(found == (kernel.checksum * around).sum())
