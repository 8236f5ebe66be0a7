"""A convolution in NumPy's int64, slow and plain; needs no torch."""

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


def convolve(x: Int64, weight: Int64) -> Int64:
    """Convolution with zeros around the images.

    Args:
        x: (B, C, H, W).
        weight: (O, C, k, k), k odd.

    Returns:
        (B, O, H, W).
    """
    side = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (side, side), (side, side)))
    height, width = x.shape[2:]
    total = np.zeros((x.shape[0], weight.shape[0], height, width), np.int64)
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            window = padded[:, :, i : i + height, j : j + width]
            total += np.einsum("oc,bchw->bohw", weight[:, :, i, j], window)
    return total
