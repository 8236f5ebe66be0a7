"""Zarr arrays of images, and other arrays of which ranges can be read."""

import importlib
import math
from pathlib import Path
from types import EllipsisType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import InputError
from bitsback.images.arrays import shapes
from bitsback.images.arrays.sources import Source
from bitsback.images.image_set import ImageSet, from_array, from_ranges

_MARKERS = ("zarr.json", ".zarray", ".zgroup")


class ChunkedArray(Protocol):
    """An array stored in chunks, such as those of Zarr, Dask and h5py."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, where: slice | EllipsisType) -> Any: ...


def is_zarr_folder(folder: Path) -> bool:
    """Whether a folder is a Zarr array or group."""
    return any((folder / name).is_file() for name in _MARKERS)


def read_zarr(path: Path) -> ImageSet:
    """The images of a Zarr array in a folder or a .zip, read when they are asked for.

    Raises:
        InputError: zarr is missing, or the path is not a Zarr array of images.
    """
    try:
        zarr: Any = importlib.import_module("zarr")
    except ImportError as error:
        raise InputError("Zarr arrays need zarr: pip install 'bitsback[zarr]'") from error
    try:
        store = zarr.storage.ZipStore(path, mode="r") if path.is_file() else path
        opened = zarr.open(store, mode="r")
    except InputError:  # of the codec in `bitsback.zarr`
        raise
    except Exception as error:  # Zarr's stores and codecs raise many kinds
        raise InputError(f"{path} cannot be read as a Zarr array: {error}") from error
    if hasattr(opened, "arrays"):
        names = sorted(name for name, _ in opened.arrays())
        raise InputError(
            f"{path} is a group of Zarr arrays ({', '.join(names) or 'none'}): name one of them, "
            f"as {path}/NAME"
        )
    return from_chunked(opened, str(path))


def from_chunked(array: ChunkedArray, title: str) -> ImageSet:
    """The images of an array stored in chunks, read when they are asked for.

    Args:
        array: of a dtype and shape that `from_array` takes.
        title: what an error calls the array.

    Raises:
        InputError: another dtype or shape, or no pixels.
    """
    shape, dtype = tuple(int(side) for side in array.shape), np.dtype(array.dtype)
    shapes.check(dtype, shape, title)
    counted = shape[: len(shape) - len(shapes.axes_of(shape))]
    if not counted:
        return from_array(np.asarray(array[...]), title)
    each = math.prod(counted[1:])  # images at an index of the first axis

    def read(begin: int, end: int) -> NDArray[Any]:
        first, last = begin // each, -(-end // each)
        images = np.asarray(array[first:last]).reshape(-1, *shape[len(counted) :])
        return images[begin - first * each : end - first * each]

    return from_ranges(Source(read, dtype, shape, title))
