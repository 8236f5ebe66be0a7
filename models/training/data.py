"""Training images: uint8 arrays in memory, batches drawn by a counter, so that runs resume."""

import dataclasses
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitsback.errors import InputError
from bitsback.models.draw.config import DrawConfig

from .augment import camera_traces, halved_chroma, varied_crop, varied_drawing, window


@dataclasses.dataclass(frozen=True)
class TrainingImages:
    """A source of training batches.

    Args:
        arrays: uint8 arrays (N, H, W, C), each of one size, all at least a crop large.
        crop: side of the square crops, pixels.
        sample: whether a level v is turned into a fresh binary pixel of probability v/255.
        flip: whether crops are mirrored at random.
        vary: share of the crops that are varied at random (see `augment`).
        chroma, camera: shares of the crops that get the traces of halved chroma and of a camera.
    """

    arrays: tuple[NDArray[np.uint8], ...]
    crop: int
    sample: bool = False
    flip: bool = False
    vary: float = 0.0
    chroma: float = 0.0
    camera: float = 0.0

    @property
    def dims(self) -> int:
        """Dimensions of one crop."""
        return self.crop * self.crop * int(self.arrays[0].shape[-1])

    def parts(self) -> "tuple[TrainingImages, TrainingImages | None]":
        """The images to train on, and those held out: each array's last fiftieth. None if empty."""
        sizes = [len(array) // 50 for array in self.arrays]
        train = [array[: len(array) - n] for array, n in zip(self.arrays, sizes, strict=True)]
        held_out = [
            array[len(array) - n :] for array, n in zip(self.arrays, sizes, strict=True) if n
        ]
        return (
            dataclasses.replace(self, arrays=tuple(train)),
            dataclasses.replace(self, arrays=tuple(held_out)) if held_out else None,
        )

    def batch(self, size: int, seed: int, index: int, scale: int = 1) -> Tensor:
        """Batch number `index` of the run, the same on every call.

        Args:
            size: crops of side `crop`; a larger `scale` gives as many pixels in fewer crops.
            scale: how many times larger the crops' sides are.

        Returns:
            (count_of(size, scale), C, crop * scale, crop * scale) uint8.

        Raises:
            InputError: no image is so large.
        """
        random = np.random.default_rng([seed, index])
        side = self.crop * scale
        arrays = [a for a in self.arrays if min(a.shape[1:3]) >= side]
        if not arrays:
            raise InputError(f"no training image of at least {side} x {side} pixels")
        # The root lies between counts of images and of pixels: small images are seen often enough.
        weights = np.array([a.shape[0] * math.sqrt(a.shape[1] * a.shape[2]) for a in arrays])
        which = random.choice(len(arrays), count_of(size, scale), p=weights / weights.sum())
        varied = varied_drawing if self.arrays[0].shape[-1] == 1 else varied_crop
        crops = []
        for i in which:
            take = varied if self.vary and random.random() < self.vary else window
            crop = take(arrays[i][random.integers(arrays[i].shape[0])], side, random)
            if self.camera and random.random() < self.camera:
                crop = camera_traces(crop, random)
            if self.chroma and random.random() < self.chroma:
                crop = halved_chroma(crop, random)
            crops.append(crop[:, ::-1] if self.flip and random.random() < 0.5 else crop)
        stacked = np.stack(crops)
        if self.sample:
            stacked = (random.integers(0, 255, stacked.shape) < stacked).astype(np.uint8)
        return torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)))


def count_of(size: int, scale: int) -> int:
    """How many crops, `scale` times as large, have as many pixels as `size`: at least one."""
    return max(1, size // scale**2)


def halved(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Box-downsampled by two: (N, H, W, C) to (N, H // 2, W // 2, C), rounded to nearest."""
    n, h, w, c = images.shape
    even = images[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    return ((even.astype(np.uint16).sum((2, 4)) + 2) // 4).astype(np.uint8)


def load(paths: list[Path], config: DrawConfig) -> TrainingImages:
    """Training images of .npy and .npz files and folders of PNG and JPEG files.

    An .npz gives its array `train`, else `train_images`, else `images`. JPEG files are halved
    first, so that their blocks and subsampled chroma are not learned. Colour images are also
    used at half size, and mirrored. Grey levels train a Bernoulli model as probabilities of ink.

    Raises:
        InputError: nothing usable is there, or it does not suit the model.
    """
    arrays: list[NDArray[np.generic]] = []
    for path in paths:
        arrays.extend(_read(path))
    usable = []
    for array in arrays:
        images = array[..., None] if array.ndim == 3 else array
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != config.channels:
            raise InputError(
                f"training needs uint8 images of {config.channels} channels, "
                f"not {array.dtype} of shape {array.shape}"
            )
        levels = images.astype(np.uint8, copy=False)
        usable.append(levels)
        if config.channels == 3:
            usable.append(halved(levels))
    usable = [a for a in usable if min(a.shape[1:3]) >= config.tile and len(a)]
    if not usable:
        raise InputError(f"no training image of at least {config.tile} x {config.tile} pixels")
    binary = config.likelihood == "bernoulli"
    if binary and max(int(a.max()) for a in usable) <= 1:
        usable = [a * np.uint8(255) for a in usable]
    return TrainingImages(tuple(usable), config.tile, sample=binary, flip=config.channels == 3)


# What NumPy and Pillow raise on damaged files; Pillow's broken PNG is a SyntaxError.
_DAMAGED = (OSError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error)
_NAMES = ("train", "train_images", "images")


def _read(path: Path) -> list[NDArray[np.generic]]:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_dir() and path.suffix not in (".npy", ".npz"):
        raise InputError(f"{path}: training reads .npy, .npz and folders of PNG or JPEG files")
    try:
        arrays = _image_files(path) if path.is_dir() else _arrays(path)
    except _DAMAGED as error:
        raise InputError(f"{path}: not a readable array or image: {error}") from error
    if not arrays:
        missing = (
            "PNG or JPEG file in this folder"
            if path.is_dir()
            else f"array named {', '.join(_NAMES)}"
        )
        raise InputError(f"{path}: no {missing}")
    return arrays


def _image_files(folder: Path) -> list[NDArray[np.generic]]:
    """The PNG and JPEG files of a folder, (N, H, W, 3) for each size."""
    from PIL import Image  # here, so that training on arrays needs no Pillow

    by_size: dict[tuple[int, ...], list[NDArray[np.uint8]]] = {}
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if suffix not in (".png", ".jpg", ".jpeg"):
            continue
        with Image.open(path) as image:
            levels = np.asarray(image.convert("RGB"))[None]
        levels = levels if suffix == ".png" else halved(levels)
        by_size.setdefault(levels.shape, []).append(levels)
    return [np.concatenate(same) for same in by_size.values()]


def _arrays(path: Path) -> list[NDArray[np.generic]]:
    with path.open("rb") as file:  # NumPy does not close one that it cannot read
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return [loaded]
        with loaded as arrays:
            return [arrays[name] for name in _NAMES if name in arrays][:1]
