"""Variations of training images, for what a set of them lacks.

A drawing (one channel) is turned, scaled and shifted a little. Colour images that were reduced to
hide a camera's or JPEG's traces are sharper and less noisy than photographs at their full size, and
less colourful than some: a crop is now and then enlarged and given a little noise, or its colours
are moved away from its gray. Many photographs have once been through a JPEG or a video codec, which
stored their chroma at half the resolution: `halved_chroma` leaves that trace. `camera_traces`
leaves those of a sensor and of a camera's sharpening.
"""

import functools
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

ENLARGED = 0.6  # share of the crops
LARGEST = 2.2  # factor of enlargement
NOISE = 2.0  # largest standard deviation, levels
COLOURED = 0.5
COLOUR = 2.4  # largest factor of the distance from gray
CHANNEL = 0.25  # how far a channel's own factor may be from it
TURNED = 0.15  # largest angle of a drawing, radians
SCALED = 0.1  # largest change of its size
SHIFTED = 1.5  # largest shift, pixels along each side

# JFIF: Y, Cb and Cr of R, G and B, without the offset of 128.
_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
_RGB = np.linalg.inv(_YCC).astype(np.float32)
KERNELS = ("nearest", "linear", "cubic")
PHOTONS = 0.15  # largest variance of a sensor's noise for each level, in square levels
READING = 1.0  # largest standard deviation of what it adds, levels
SHARPENED = 1.0  # largest weight of what a sharpening adds

T = TypeVar("T", bound=np.generic)
Levels = NDArray[np.number[Any]]  # before they are rounded


def window(image: NDArray[T], side: int, random: np.random.Generator) -> NDArray[T]:
    """A square of an image (H, W, C), at a random place."""
    top, left = (int(random.integers(n - side + 1)) for n in image.shape[:2])
    return image[top : top + side, left : left + side]


def varied_crop(
    image: NDArray[np.uint8], crop: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """A crop of side `crop`, uint8 (crop, crop, C), of an image (H, W, C), varied at random."""
    factor = float(random.uniform(1.0, LARGEST)) if random.random() < ENLARGED else 1.0
    side = min(int(np.ceil(crop / factor)) + 1, *image.shape[:2]) if factor > 1 else crop
    varied: Levels = window(image, side, random)
    if factor > 1:
        enlarged = _resized(varied, max(crop, round(side * factor)), random)
        varied = window(enlarged, crop, random)
    if random.random() < COLOURED:
        varied = _coloured(varied, random)
    return _levels(varied)


def varied_drawing(
    image: NDArray[np.uint8], side: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """A crop of side `side`, uint8 (side, side, 1), of a drawing on ground 0, moved at random."""
    crop = window(image, side, random)
    angle = random.uniform(-TURNED, TURNED)
    cos, sin = np.array([np.cos(angle), np.sin(angle)]) * random.uniform(1 - SCALED, 1 + SCALED)
    right, down = random.uniform(-SHIFTED, SHIFTED, 2) * 2 / side
    moved = torch.tensor([[[cos, -sin, right], [sin, cos, down]]], dtype=torch.float32)
    where = functional.affine_grid(moved, [1, 1, side, side], align_corners=False)
    plane = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).float()[None]
    drawn = functional.grid_sample(plane, where, align_corners=False)
    return _levels(drawn[0].numpy().transpose(1, 2, 0))


def _resized(image: Levels, side: int, random: np.random.Generator) -> NDArray[np.float64]:
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()[None]
    large = functional.interpolate(planes, size=(side, side), mode="bicubic")[0]
    noise = random.standard_normal(tuple(large.shape)) * random.uniform(0.0, NOISE)
    noisy: NDArray[np.float64] = (large.numpy() + noise).transpose(1, 2, 0)
    return noisy


def _coloured(image: Levels, random: np.random.Generator) -> NDArray[np.float64]:
    wide = image.astype(np.float64)
    gray = wide.mean(2, keepdims=True)
    factors = random.uniform(1 - CHANNEL, 1 + CHANNEL, 3) * random.uniform(1.0, COLOUR)
    return gray + (wide - gray) * factors


def _levels(image: Levels) -> NDArray[np.uint8]:
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)


def halved_chroma(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """An RGB image whose chroma was sampled 2:1 and interpolated again.

    Chroma is halved along rows or along both axes, by averages of two (as JPEG has it) or at every
    second pixel (cosited, as video has it), from a random phase on, rounded to levels, and
    interpolated by a random kernel.

    Args:
        image: (H, W, 3).

    Source: ITU-T T.871 (JFIF), section 7, for the colour space and the places of the samples.
    """
    planes = image @ _YCC.T
    luma, chroma = np.floor(planes[:, :, :1] + 0.5), planes[:, :, 1:]
    cosited = bool(random.random() < 0.5)
    kernel = KERNELS[int(random.integers(len(KERNELS)))]
    axes = (1,) if random.random() < 0.5 else (0, 1)
    pairs = [
        _resampling(image.shape[axis], int(random.integers(2)), cosited, kernel) for axis in axes
    ]
    for axis, (down, _) in zip(axes, pairs, strict=True):
        chroma = _along(down, chroma, axis)
    chroma = np.floor(chroma + 0.5)
    for axis, (_, up) in zip(axes, pairs, strict=True):
        chroma = _along(up, chroma, axis)
    return _levels(np.concatenate([luma, chroma], 2) @ _RGB.T)


def camera_traces(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """An image (H, W, C) with noise that grows with the level, then sharpened."""
    wide = image.astype(np.float32)
    variance = random.uniform(0, PHOTONS) * wide + random.uniform(0, READING) ** 2
    noisy = wide + random.standard_normal(wide.shape, np.float32) * np.sqrt(variance)
    padded = np.pad(noisy, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    blurred = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16
    return _levels(noisy + random.uniform(0, SHARPENED) * (noisy - blurred))


def _along(
    matrix: NDArray[np.float32], image: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """A matrix applied along an axis of (H, W, C)."""
    return np.moveaxis(np.tensordot(matrix, image, (1, axis)), 0, axis)


@functools.cache
def _resampling(
    size: int, phase: int, cosited: bool, kernel: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The matrices that halve an axis of `size` pixels, (m, size), and double it, (size, m).

    Args:
        phase: 0 or 1: pixels before the first that the first sample belongs to.
    """
    count = (size + phase + 1) // 2
    first = 2 * np.arange(count) - phase
    taps = ((-1, 0.25), (0, 0.5), (1, 0.25)) if cosited else ((0, 0.5), (1, 0.5))
    down = np.zeros((count, size), np.float32)
    for offset, weight in taps:
        np.add.at(down, (np.arange(count), np.clip(first + offset, 0, size - 1)), weight)
    place = (np.arange(size) + phase - (0.0 if cosited else 0.5)) / 2
    if kernel == "nearest":
        # A pixel takes the sample of its pair; halfway between two cosited ones, the earlier.
        place = np.floor(place + 0.25) if not cosited else np.ceil(place - 0.5)
    base = np.floor(place).astype(np.int64)
    t = place - base
    if kernel == "cubic":  # Catmull and Rom
        weights = {
            -1: ((2 - t) * t - 1) * t / 2,
            0: ((3 * t - 5) * t * t + 2) / 2,
            1: ((4 - 3 * t) * t + 1) * t / 2,
            2: (t - 1) * t * t / 2,
        }
    else:
        weights = {0: 1 - t, 1: t}
    up = np.zeros((size, count), np.float32)
    for offset, factor in weights.items():
        np.add.at(up, (np.arange(size), np.clip(base + offset, 0, count - 1)), factor)
    return down, up
