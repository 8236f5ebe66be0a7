"""Training pictures: uint8 arrays in memory, batches drawn by a counter, so that runs resume."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bitsback.errors import InputError

from .config import DrawConfig


@dataclasses.dataclass(frozen=True)
class Pictures:
    """A source of training batches.

    Args:
        arrays: uint8 arrays (N, H, W, C), each of one size, all at least a crop large.
        crop: side of the square crops, pixels.
        sample: whether a level v is turned into a fresh binary pixel of probability v/255.
        flip: whether crops are mirrored at random.
    """

    arrays: tuple[np.ndarray, ...]
    crop: int
    sample: bool = False
    flip: bool = False

    @property
    def dims(self) -> int:
        """Dimensions of one crop."""
        return self.crop * self.crop * int(self.arrays[0].shape[-1])

    def batch(self, size: int, seed: int, index: int) -> Tensor:
        """(size, C, crop, crop) uint8: batch number `index` of the run, the same on every call."""
        random = np.random.default_rng([seed, index])
        weights = np.array([a.shape[0] * (a.shape[1] * a.shape[2]) for a in self.arrays], float)
        which = random.choice(len(self.arrays), size, p=weights / weights.sum())
        crops = []
        for i in which:
            array = self.arrays[i]
            n = random.integers(array.shape[0])
            top = random.integers(array.shape[1] - self.crop + 1)
            left = random.integers(array.shape[2] - self.crop + 1)
            crop = array[n, top : top + self.crop, left : left + self.crop]
            crops.append(crop[:, ::-1] if self.flip and random.random() < 0.5 else crop)
        stacked = np.stack(crops)
        if self.sample:
            stacked = (random.integers(0, 255, stacked.shape) < stacked).astype(np.uint8)
        return torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)))


def halved(images: np.ndarray) -> np.ndarray:
    """Box-downsampled by two: (N, H, W, C) to (N, H // 2, W // 2, C), rounded to nearest."""
    n, h, w, c = images.shape
    even = images[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    return ((even.astype(np.uint16).sum((2, 4)) + 2) // 4).astype(np.uint8)


def load(paths: list[Path], config: DrawConfig) -> Pictures:
    """Training pictures of .npy and .npz files and folders of PNG files.

    An .npz gives its array `train`, else `images`. Colour pictures are also used at half size,
    and mirrored. Grey levels train a Bernoulli model as probabilities of ink.

    Raises:
        InputError: nothing usable is there, or it does not suit the model.
    """
    arrays: list[np.ndarray] = []
    for path in paths:
        arrays.extend(_read(path))
    usable = []
    for array in arrays:
        images = array[..., None] if array.ndim == 3 else array
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != config.channels:
            raise InputError(
                f"training needs uint8 pictures of {config.channels} channels, "
                f"not {array.dtype} of shape {array.shape}"
            )
        usable.append(images)
        if config.channels == 3:
            usable.append(halved(images))
    usable = [a for a in usable if min(a.shape[1:3]) >= config.tile and len(a)]
    if not usable:
        raise InputError(f"no training picture of at least {config.tile} x {config.tile} pixels")
    binary = config.likelihood == "bernoulli"
    if binary and max(int(a.max()) for a in usable) <= 1:
        usable = [a * np.uint8(255) for a in usable]
    return Pictures(tuple(usable), config.tile, sample=binary, flip=config.channels == 3)


def _read(path: Path) -> list[np.ndarray]:
    if path.is_dir():
        found = [np.asarray(Image.open(p).convert("RGB"))[None] for p in sorted(path.glob("*.png"))]
        if not found:
            raise InputError(f"{path}: no PNG file in this folder")
        return found
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".npy":
        return [np.load(path, allow_pickle=False)]
    if path.suffix != ".npz":
        raise InputError(f"{path}: training reads .npy, .npz and folders of PNG files")
    with np.load(path, allow_pickle=False) as arrays:
        for name in ("train", "train_images", "images"):
            if name in arrays:
                return [arrays[name]]
    raise InputError(f"{path}: no array named train, train_images or images")
