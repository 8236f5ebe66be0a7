"""Whether a file's pixels would take more than the file, guessed without a model.

The guess is the entropy of what a gradient predicts wrongly (the predictor of LOCO-I), over all
values alike. A model that knows its images does better, by a factor that is smaller for photographs
than for drawings. So only a file that takes far less than the guess is carried: what repeats, such
as a page of text, or what was chosen for it.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

from .coded import Coded

_MODEL_SHARE = 0.6  # of the guess, that a model may take
_PHOTOGRAPH = 2.0  # bits a value; files of more are not even looked at
_SMALLEST = 1 << 12  # values; below, a set shares what a file pays for alone


def is_larger(coded: Coded, data: bytes) -> bool:
    """Whether pixels would take more than their file does, packed if it is not.

    Args:
        coded: the pixels.
        data: the file.
    """
    pixels = coded.pixels
    if pixels.size < _SMALLEST or (coded.mode == "1" and pixels.size < _SMALLEST * 16):
        return False
    size = len(data)
    if size >= pixels.size:
        size = min(size, len(zlib.compress(data, 6)))
    low = coded.levels.size if coded.levels.itemsize == 2 else 0
    if 8 * size > _PHOTOGRAPH * (pixels.size + 4 * low):
        return False
    return size < _MODEL_SHARE * (_entropy(pixels) * pixels.size / 8) + low


def _entropy(pixels: NDArray[np.uint8]) -> float:
    """Bits a value of what is predicted wrongly."""
    values = pixels.astype(np.int16)
    left, above = np.zeros_like(values), np.zeros_like(values)
    left[:, 1:], above[1:] = values[:, :-1], values[:-1]
    corner = np.zeros_like(values)
    corner[1:, 1:] = values[:-1, :-1]
    low, high = np.minimum(left, above), np.maximum(left, above)
    predicted = np.clip(left + above - corner, low, high)
    error = values - predicted
    if pixels.shape[2] >= 3:  # colours change together
        error[:, :, [0, 2]] -= error[:, :, [1]]
    counts = np.bincount((error & 255).ravel(), minlength=256)
    shares = counts[counts > 0] / error.size
    return float(-(shares * np.log2(shares)).sum())
