"""Variations of training images, for what they lack.

A drawing (one channel) is turned, scaled and shifted a little. Colour images that were reduced to
hide a camera's or JPEG's traces are sharper and less noisy than photographs at their full size, and
less colourful than some: a crop is now and then enlarged and given a little noise, or its colours
are moved away from its gray.
"""

import numpy as np
import torch
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


def window(image: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """A square of an image (H, W, C), at a random place."""
    top, left = (int(random.integers(n - side + 1)) for n in image.shape[:2])
    return image[top : top + side, left : left + side]


def varied_crop(image: np.ndarray, crop: int, random: np.random.Generator) -> np.ndarray:
    """A crop of side `crop`, uint8 (crop, crop, C), of an image (H, W, C), varied at random."""
    factor = float(random.uniform(1.0, LARGEST)) if random.random() < ENLARGED else 1.0
    side = min(int(np.ceil(crop / factor)) + 1, *image.shape[:2]) if factor > 1 else crop
    found = window(image, side, random)
    if factor > 1:
        found = window(_resized(found, max(crop, round(side * factor)), random), crop, random)
    if random.random() < COLOURED:
        found = _coloured(found, random)
    return _levels(found)


def varied_drawing(image: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    """A crop of side `side`, uint8 (side, side, 1), of a drawing on ground 0, moved at random."""
    crop = window(image, side, random)
    angle = random.uniform(-TURNED, TURNED)
    cos, sin = np.array([np.cos(angle), np.sin(angle)]) * random.uniform(1 - SCALED, 1 + SCALED)
    right, down = random.uniform(-SHIFTED, SHIFTED, 2) * 2 / side
    moved = torch.tensor([[[cos, -sin, right], [sin, cos, down]]], dtype=torch.float32)
    where = functional.affine_grid(moved, [1, 1, side, side], align_corners=False)
    plane = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).float()[None]
    found = functional.grid_sample(plane, where, align_corners=False)
    return _levels(found[0].numpy().transpose(1, 2, 0))


def _resized(image: np.ndarray, side: int, random: np.random.Generator) -> np.ndarray:
    planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float()[None]
    large = functional.interpolate(planes, size=(side, side), mode="bicubic")[0]
    noise = random.standard_normal(tuple(large.shape)) * random.uniform(0.0, NOISE)
    found: np.ndarray = (large.numpy() + noise).transpose(1, 2, 0)
    return found


def _coloured(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    wide = image.astype(np.float64)
    gray = wide.mean(2, keepdims=True)
    factors = random.uniform(1 - CHANNEL, 1 + CHANNEL, 3) * random.uniform(1.0, COLOUR)
    return gray + (wide - gray) * factors


def _levels(image: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(image + 0.5), 0, 255).astype(np.uint8)
