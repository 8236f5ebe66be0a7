"""How the axes of an array hold images.

The last axes hold an image, the others count the images. From its shape an array is read as the
first of these that fits (C: 1 to 4 channels, B: more bands):

    (H, W, 1), (H, W, 3)        one image
    (N, H, W), (H, W)           images of one channel, one image
    (..., H, W, C)              the channels last
    (..., C, H, W)              the channels first
    (..., H, W, B)              bands last: B is at most a quarter of H and of W
    (..., H, W)                 images of one channel

Where a shape could be read in two ways, each is exact, since shape and order of the values come
back. `np.moveaxis(a, 1, 3)` before compressing chooses channels that the first reading does not.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import InputError

Axes = Literal["hw", "hwc", "chw", "hwb"]
"""The axes of an image in its array: height, width, channels, bands."""
ImageShape = tuple[int, int, int]
"""(H, W, C) of an image's pixels."""

AXES: tuple[Axes, ...] = ("hw", "hwc", "chw", "hwb")
_MOST_CHANNELS = 4
_BAND_RATIO = 4  # bands last are taken for such where H and W are so many times their number


def axes_of(shape: Sequence[int]) -> Axes:
    """The axes of the images that an array of this shape holds.

    Raises:
        ValueError: it has fewer than two axes.
    """
    match tuple(shape):
        case () | (_,):
            raise ValueError(f"an array of {len(shape)} dimensions is not one of images")
        case (_, _):
            return "hw"
        case (_, _, last):
            return "hwc" if last in (1, 3) else "hw"
        case (*_, first, middle, last):
            if last <= _MOST_CHANNELS:
                return "hwc"
            if first <= _MOST_CHANNELS:
                return "chw"
            return "hwb" if last * _BAND_RATIO <= min(first, middle) else "hw"
    raise AssertionError(shape)


def fits(axes: Axes, shape: Sequence[int]) -> bool:
    """Whether an array of this shape can hold images with these axes."""
    if len(shape) < len(axes):
        return False
    channels = {"hw": 1, "hwc": shape[-1], "chw": shape[-len(axes)], "hwb": 1}[axes]
    return 1 <= channels <= _MOST_CHANNELS


def pixel_shape(axes: Axes, shape: Sequence[int]) -> ImageShape:
    """(H, W, C) of the pixels of an image of this shape.

    Bands lie under one another: an image (H, W, B) becomes one of pixels (B * H, W, 1).
    """
    match axes, tuple(shape):
        case "hw", (height, width):
            return height, width, 1
        case "hwc", (height, width, channels):
            return height, width, channels
        case "chw", (channels, height, width):
            return height, width, channels
        case "hwb", (height, width, bands):
            return bands * height, width, 1
    raise AssertionError(axes, shape)


def to_pixels(axes: Axes, images: NDArray[Any]) -> NDArray[Any]:
    """Images with these axes, (n, ...), as pixels (n, H, W, C)."""
    match axes:
        case "hw":
            return images[..., None]
        case "hwc":
            return images
        case "chw":
            return images.transpose(0, 2, 3, 1)
    count, height, width, bands = images.shape
    return images.transpose(0, 3, 1, 2).reshape(count, bands * height, width, 1)


def from_pixels(axes: Axes, pixels: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """Inverse of `to_pixels`.

    Args:
        pixels: (n, H, W, C).
        shape: of an image in the array.
    """
    if axes == "chw":
        return pixels.transpose(0, 3, 1, 2)
    if axes == "hwb":
        height, width, bands = shape
        return pixels.reshape(-1, bands, height, width).transpose(0, 2, 3, 1)
    return pixels.reshape(-1, *shape)


def stack_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Shape (N, H, W, C) of the stack that a plain array of images holds.

    Raises:
        ValueError: an array of this shape is not one of 2 to 4 axes.
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


def is_plain(dtype: np.dtype[Any], shape: Sequence[int]) -> bool:
    """Whether an array's values are pixels as they are, in the order of a stack (N, H, W, C)."""
    if dtype not in (np.uint8, np.bool_) or not 2 <= len(shape) <= 4:
        return False
    return len(shape) < 4 or shape[3] <= _MOST_CHANNELS


def check(dtype: np.dtype[Any], shape: Sequence[int], title: str) -> None:
    """Raise InputError unless arrays of this dtype and shape can hold images.

    Args:
        title: what the error calls the array.
    """
    if dtype.kind not in "biu":
        raise InputError(f"{title} has dtype {dtype}; images are integers or bool{_bytes(dtype)}")
    if len(shape) < 2:
        remedy = "a[None] makes it a row of pixels" if shape else "a.reshape(1, 1) makes it a pixel"
        raise InputError(
            f"{title} has shape {tuple(shape)}; an array of images has two axes or more: {remedy}"
        )
    if 0 in shape:
        content = "an empty set of images" if shape[0] == 0 else "images without pixels"
        raise InputError(f"{title} holds {content}, of shape {tuple(shape)}")


def too_wide(dtype: np.dtype[Any], low: int, high: int, title: str) -> InputError:
    """The error of an array whose values low..high do not fit into 16 bits."""
    return InputError(
        f"{title} holds {dtype} values from {low} to {high}, more than 16 bits apart{_bytes(dtype)}"
    )


def _bytes(dtype: np.dtype[Any]) -> str:
    """The remedy for values that are no pixels: their bytes are."""
    if dtype.hasobject:
        return ", not Python objects"
    if dtype.names is not None or dtype.itemsize == 0:
        return ""
    return f": compress their bytes, a.view(np.uint8), and view them as {dtype.str!r} again"
