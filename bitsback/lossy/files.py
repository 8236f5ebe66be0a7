"""Images of the command line as lossy files, and back."""

import functools
from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError, ModelError
from bitsback.images import image_file
from bitsback.images.image_set import ImageSet, check_plain
from bitsback.models import store
from bitsback.sources import atomic_files

from . import choice, coder, container, regions


def stacked(images: ImageSet, bare: bool) -> NDArray[np.uint8]:
    """Images of one size as an array.

    Returns:
        (N, H, W, C) uint8, C the most channels that one of them has.

    Raises:
        InputError: they are of several sizes, or more than one and the file is not to be bare.
    """
    if len(images.pixels) > 1 and not bare:
        raise InputError(
            "a lossy file holds one image: give one, or store a set of one size with --bare"
        )
    check_plain(images, "a lossy file")
    sizes = {image.shape[:2] for image in images.pixels}
    if len(sizes) > 1:
        raise InputError("a bare set holds images of one size; encode these one by one")
    channels = max(image.shape[2] for image in images.pixels)
    return np.stack([np.repeat(p, channels // p.shape[2], 2) for p in images.pixels])


def tiles(images: ImageSet, side: int | None, limit: int | None) -> NDArray[np.uint8]:
    """Images of one size, or squares cut from images of any, (N, H, W, C) uint8.

    Args:
        side: of the squares, from the top left on; None for the images themselves.
        limit: at most so many.

    Raises:
        InputError: the images are of several sizes and no side is given, or too small for it.
    """
    if side is None:
        return stacked(images, bare=True)[:limit]
    check_plain(images, "a lossy file")
    squares = [
        image[top : top + side, left : left + side]
        for image in images.pixels
        for top in range(0, image.shape[0] - side + 1, side)
        for left in range(0, image.shape[1] - side + 1, side)
    ]
    if not squares:
        raise InputError(f"no image has {side} x {side} pixels")
    return np.stack(squares[:limit])


@functools.cache
def loaded_once(name: str, device: str) -> LoadedModel:
    """A model by name or folder, kept for the next call."""
    return store.load(name, device)


def encode(
    images: NDArray[np.uint8],
    loaded: LoadedModel,
    steps: int | None,
    rate: float | None,
    high: bool,
    bare: bool,
) -> coder.Encoded:
    """A lossy file of so many steps; of as many as a rate allows; or of all.

    Raises:
        InputError: steps and a rate are both given, or the images do not suit.
    """
    if steps is not None and rate is not None:
        raise InputError("give a number of steps or a rate, not both")
    coded = coder.analyse(coder.widened(images, loaded), loaded, high)
    shape = images.shape[1:]
    if rate is not None:
        return coder.write_within(rate, coded, shape, loaded, high, bare)
    steps = regions.steps_of(loaded) if steps is None else steps
    return coder.write(coded, shape, loaded, steps, high, bare)


def model_of(data: bytes, given: str | None, device: str, engine: str) -> LoadedModel:
    """The model that wrote a file: the one given, or one that ships.

    Raises:
        FormatError: this is no lossy file.
        ModelError: none that ships has the file's digits.
    """
    header, _ = container.unpack(data)
    if given is not None:
        return store.load(given, device, engine)
    for name, sha256 in store.shipped():
        if container.model_bits(sha256) == header.model:
            return store.load(name, device, engine, sha256=sha256)
    raise ModelError(
        f"no model that ships wrote this file (its SHA-256 begins with {header.model:03x}): "
        "give its folder with --model"
    )


def default_model(rate: float | None, channels: int = 3) -> str:
    """The name of the model for a rate, or without one of the model with the smallest error.

    Args:
        rate: bits/dim of images of so many channels; the table is of colour images.

    Raises:
        InputError: the rate is no number.
    """
    if not isinstance(rate, Real | None):
        raise InputError(f"a rate is a number of bits/dim, not {rate!r}")
    wanted = np.inf if rate is None else rate * channels / 3
    return choice.model_for(wanted, choice.points())


def write(images: NDArray[np.uint8], output: Path) -> None:
    """Write images, (N, H, W, C) uint8, as an image file, a .npy, or a folder of PNG files.

    Raises:
        InputError: a single image file cannot hold them, or the output cannot be written.
    """
    mode = "RGB" if images.shape[3] == 3 else "L"
    if output.suffix == ".npy":
        atomic_files.atomic_write(output, lambda file: np.save(file, images, allow_pickle=False))
    elif output.suffix:
        if len(images) > 1:
            raise InputError(f"the file holds {len(images)} images: name a .npy or a folder")
        image_file.check_suffix(output.suffix, mode)
        atomic_files.atomic_write(
            output, lambda file: image_file.write_image(file, images[0], mode, output.suffix)
        )
    else:
        with atomic_files.atomic_folder(output) as folder:
            digits = len(str(len(images) - 1))
            for number, image in enumerate(images):
                with (folder / f"{number:0{digits}d}.png").open("wb") as file:
                    image_file.write_image(file, image, mode, ".png")
