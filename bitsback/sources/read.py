"""INPUT of the command line: arrays, image files, folders and archives as sets of images.

Images of files, and of a .npy or Zarr array, are read again when they are coded, so that a set
may be larger than the memory; an .npz is read whole.
"""

import importlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import InputError
from bitsback.images.arrays import check_images, stack_shape
from bitsback.images.image_set import ImageArray, ImageSet, array_manifest, stack_of
from bitsback.images.lazy import Lazy

from . import npy, tar
from .folders import SourceFile, read_entries, read_file, read_files

_SCAN_VALUES = 1 << 24
_ALONE = (".npy", ".npz", ".tar", ".zarr")
_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def read_images(paths: Sequence[Path]) -> ImageSet:
    """Read INPUT: an array, image files, one folder of image files, or one archive of them.

    Args:
        paths: one .npy, .npz, tar or Zarr array; or one or more image files; or one folder, taken
            with all below it in sorted order.

    Returns:
        The images and how to write them again.

    Raises:
        InputError: missing, not images, of a kind that cannot be kept exactly, or empty.
    """
    if not paths:
        raise InputError("there is nothing to compress: name a file or a folder")
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if len(paths) > 1 and (path.is_dir() or path.suffix in _ALONE):
            raise InputError(f"{path} must be given alone; only image files can be given together")
        if path.name.endswith(_COMPRESSED):
            raise InputError(f"{path} is compressed: unpack it to a .tar first")
    path = paths[0]
    if path.is_dir():
        is_zarr = any((path / name).is_file() for name in _ZARR_FILES)
        return _read_zarr(path) if is_zarr else _read_folder(path)
    match path.suffix:
        case ".npy":
            return _read_npy(path)
        case ".npz":
            return _read_npz(path)
        case ".tar":
            return _read_tar(path)
        case ".zip" | ".zarr":
            return _read_zarr(path)
    if len(paths) == 1:
        return read_file(path)
    parent = os.path.commonpath([path.absolute().parent for path in paths])
    names = [path.absolute().relative_to(parent).as_posix() for path in paths]
    return read_files(paths, names)


def from_zarr(array: Any, source: str) -> ImageSet:
    """A Zarr array, or anything with a shape and a dtype of which ranges can be taken, as images.

    Args:
        source: what to call it in an error.

    Raises:
        InputError: it is not of images.
    """
    shape, dtype = tuple(int(side) for side in array.shape), np.dtype(array.dtype)
    if len(shape) < 3 or (len(shape) == 3 and shape[2] in (1, 3)):
        return stack_of(np.asarray(array[...]), source)

    def read(begin: int, end: int) -> NDArray[Any]:
        return np.asarray(array[begin:end])

    return _lazy_array(read, dtype, shape, source)


def _lazy_array(
    read: Callable[[int, int], NDArray[Any]],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    source: str,
) -> ImageSet:
    """An array of images, of which ranges are read when they are asked for."""
    # An empty array of the shape tells what is wrong with it.
    check_images(np.broadcast_to(np.zeros((), dtype), shape), source)
    n, *sides = stack_shape(shape)

    def stack(begin: int, end: int) -> list[ImageArray]:
        return list(read(begin, end).astype(np.uint8, copy=False).reshape(-1, *sides))

    block = max(1, _SCAN_VALUES // int(np.prod(sides)))
    binary = sides[2] == 1 and all(
        read(begin, min(begin + block, n)).max() <= 1 for begin in range(0, n, block)
    )
    return ImageSet(Lazy(n, stack), binary, array_manifest(dtype, shape))


def _read_npy(path: Path) -> ImageSet:
    dtype, shape, offset = npy.npy_layout(path)
    if offset is None:
        return stack_of(npy.load_npy(path), str(path))
    # (H, W) and (H, W, 3) are one image, which is read whole.
    size = int(np.prod(stack_shape(shape)[1:])) if len(shape) in (2, 3, 4) else 1
    return _lazy_array(partial(_npy_range, path, offset, size), dtype, shape, str(path))


def _npy_range(path: Path, offset: int, size: int, begin: int, end: int) -> NDArray[np.uint8]:
    """Images of so many values each, of a .npy whose values begin at `offset`.

    Read, not mapped into memory: a mapping of the whole takes address space, and one of a file
    that is cut short under it kills the process.
    """
    count = (end - begin) * size
    try:
        found = np.fromfile(path, np.uint8, count, offset=offset + begin * size)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(found) != count:
        raise InputError(f"{path} became shorter while it was read")
    return found


def _read_zarr(path: Path) -> ImageSet:
    try:
        zarr: Any = importlib.import_module("zarr")
    except ImportError as error:
        raise InputError("Zarr arrays need zarr: pip install 'bitsback[zarr]'") from error
    try:
        store = zarr.storage.ZipStore(path, mode="r") if path.is_file() else path
        opened = zarr.open(store, mode="r")
    except InputError:
        raise
    except Exception as error:  # Zarr's stores and codecs raise many kinds
        raise InputError(f"{path} cannot be read as a Zarr array: {error}") from error
    if hasattr(opened, "arrays"):
        names = sorted(name for name, _ in opened.arrays())
        raise InputError(
            f"{path} is a group of Zarr arrays ({', '.join(names) or 'none'}): name one of them, "
            f"as {path}/NAME"
        )
    return from_zarr(opened, str(path))


def _read_npz(path: Path) -> ImageSet:
    held, packed = npy.load_npz(path)
    name = npy.find_images(held, str(path))
    images = stack_of(held[name], f"{path}: array {name!r}")
    others = {other: array for other, array in held.items() if other != name}
    facts = {"kind": "npz", "name": name, "names": list(held), "packed": packed}
    return ImageSet(images.pixels, images.binary, images.manifest | facts, npy.pack_arrays(others))


def _read_tar(path: Path) -> ImageSet:
    entries = [
        SourceFile(member.name, partial(tar.read, path, member), f"{path}: {member.name}")
        for member in tar.members(path)
    ]
    return read_entries("tar", entries, str(path))


def _read_folder(folder: Path) -> ImageSet:
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if not found:
        raise InputError(f"{folder} is empty")
    for path in found:
        if not path.is_file():
            raise InputError(f"{path} is neither a file nor a folder, or a link to a folder")
    named = sorted((path.relative_to(folder).as_posix(), path) for path in found)
    entries = [SourceFile(name, partial(_open, path), str(path)) for name, path in named]
    return read_entries("folder", entries, str(folder))


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
