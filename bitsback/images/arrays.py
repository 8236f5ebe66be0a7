"""Which arrays are arrays of images, and the stack (N, H, W, C) that each holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import InputError


def check_images(array: NDArray[Any], title: str) -> None:
    """Raise InputError unless the array holds images.

    Args:
        array: uint8 or bool; (N, H, W), (N, H, W, C) with C 1 to 4, or one image as (H, W) or
            (H, W, 3).
        title: what the error calls the array.
    """
    if array.dtype != np.uint8 and array.dtype != np.bool_:
        nan = " with NaN" if array.dtype.kind == "f" and bool(np.isnan(array).any()) else ""
        raise InputError(
            f"{title} has dtype {array.dtype}{nan}; images must be uint8 or bool "
            "(scale them to 0..255 and convert)"
        )
    if array.ndim not in (2, 3, 4) or (array.ndim == 4 and not 1 <= array.shape[3] <= 4):
        raise InputError(
            f"{title} has shape {array.shape}; images must be (N, H, W), (N, H, W, C) with 1 to 4 "
            "channels, (H, W) or (H, W, 3)"
        )
    if array.size == 0:
        content = "an empty set of images" if array.shape[0] == 0 else "images without pixels"
        raise InputError(f"{title} holds {content}, of shape {array.shape}")


def stack_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Shape (N, H, W, C) of the stack that an array of images holds.

    Raises:
        ValueError: an array of this shape is not one of images.
    """
    match tuple(shape):
        case (n, height, width, channels):
            return n, height, width, channels
        case (height, width, (1 | 3) as channels):
            return 1, height, width, channels
        case (n, height, width):
            return n, height, width, 1
        case (height, width):
            return 1, height, width, 1
        case _:
            raise ValueError(f"an array of {len(shape)} dimensions is not one of images")


def is_images(array: NDArray[Any]) -> bool:
    """Whether an array passes `check_images`."""
    try:
        check_images(array, "")
    except InputError:
        return False
    return True
