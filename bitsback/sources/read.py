"""One way in for images wherever they lie: what `compress`, `rate` and the command line take.

read("photos/"), read("shard.tar"), read("cifar10.zarr"), read(["a.png", "b.png"])
read(array), read(zarr.open("cifar10.zarr"))
read(torchvision.datasets.MNIST(...)), read(datasets.load_dataset("mnist")["test"])
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np

from bitsback.errors import InputError
from bitsback.images.image_set import ImageSet, from_array
from bitsback.images.manifest import FilesManifest
from bitsback.images.safe_names import plain
from bitsback.keeping import rule
from bitsback.keeping.rule import Policy
from bitsback.progress import Progress

from . import folders, npy, tar, zarr_arrays
from .datasets import images_of
from .zarr_arrays import ChunkedArray

_log = logging.getLogger(__name__)

_ALONE = (".npy", ".npz", ".tar", ".zarr")
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def read(source: object, policy: Policy = rule.DEFAULT) -> ImageSet:
    """Images as the set of images that is compressed.

    Args:
        source: the path of a .npy, .npz, tar (WebDataset), Zarr array, image file or folder, or a
            list of paths of image files; an array; a Zarr array; or a data set (see `images_of`).
            Files, but for an .npz, and Zarr arrays are read a chunk at a time when they are coded,
            so that a set may be larger than the memory. A set that was read before stays as it is.
        policy: how files come back.

    Raises:
        InputError: there are no images, or of a kind that cannot be kept exactly.
    """
    if isinstance(source, ImageSet):
        return source
    if isinstance(source, str | Path):
        return read_images([Path(source)], policy)
    if isinstance(source, list | tuple) and source and isinstance(source[0], str | Path):
        return read_images([Path(path) for path in source], policy)
    if isinstance(source, np.ndarray):
        return from_array(source)
    if _is_chunked(source):
        return zarr_arrays.from_chunked(source, "the array")
    return from_array(images_of(source))


def read_images(
    paths: Sequence[Path], policy: Policy = rule.DEFAULT, progress: Progress | None = None
) -> ImageSet:
    """Images of an array, of image files, of one folder of them, or of one archive.

    Args:
        paths: one .npy, .npz, tar or Zarr array; or one or more image files; or one folder, taken
            with all below it in sorted order.
        policy: how files come back.
        progress: called with (bytes read, bytes in all) of files in a folder, a list or a tar.

    Raises:
        InputError: missing, not images, of a kind that cannot be kept exactly, or empty.
    """
    images = _read_paths(paths, policy, progress)
    _log.info("%d images to code, %s", len(images.pixels), images.manifest.kind)
    if isinstance(images.manifest, FilesManifest):
        for name, outcome in zip(images.manifest.names, images.kept.coded, strict=False):
            _log.info("%s: %s", plain(name), outcome.value)
        for file in images.kept.carried:
            _log.info(
                "%s: travels as it is%s", plain(file.name), file.reason and f", {file.reason}"
            )
    return images


def _read_paths(paths: Sequence[Path], policy: Policy, progress: Progress | None) -> ImageSet:
    """`read_images`, without a word."""
    if not paths:
        raise InputError("there is nothing to compress: name a file or a folder")
    for path in paths:
        if len(paths) > 1 and (os.path.isdir(path) or path.suffix in _ALONE):
            raise InputError(f"{path} must be given alone; only image files can be given together")
        if path.name.endswith(_COMPRESSED):
            raise InputError(f"{path} is compressed: unpack it to a .tar first")
    if len(paths) > 1:
        return folders.read_files(paths, policy, progress)
    (path,) = paths
    try:
        path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if path.is_dir():
        is_zarr = zarr_arrays.is_zarr_folder(path)
        if is_zarr:
            return zarr_arrays.read_zarr(path)
        return folders.read_folder(path, policy, progress)
    match path.suffix:
        case ".npy":
            return npy.read_npy(path)
        case ".npz":
            return npy.read_npz(path)
        case ".tar":
            return tar.read_tar(path, policy, progress)
        case ".zip" | ".zarr":
            return zarr_arrays.read_zarr(path)
    return folders.read_file(path, policy, progress)


def _is_chunked(source: object) -> TypeGuard[ChunkedArray]:
    return all(hasattr(source, name) for name in ("shape", "dtype", "chunks"))
