"""Sets of images written as the arrays, files and folders that they were read from.

Images come in parts, one for each chunk of a file, and are written as they come. A part may be
lost to damage: its images are zero in an array and missing from a folder.
"""

import io
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from bitsback.errors import FormatError, InputError
from bitsback.format import sidecar
from bitsback.images.arrays.stored import ArraysManifest, StoredArray
from bitsback.images.image_file import SUFFIXES, check_suffix, write_image
from bitsback.images.image_set import ImageArray, ImageSet, Values, check_manifest, to_array
from bitsback.images.manifest import ArrayManifest, FilesManifest, NpzManifest
from bitsback.images.parts import (
    STRANGERS,
    Lost,
    Part,
    check_same_array,
    values_of,
    whole_shape,
    with_first,
)
from bitsback.images.safe_names import is_safe

from . import npy, tar
from .atomic_files import atomic_folder, atomic_write

#: suffixes of files, which no folder is likely to be meant to have
_FILES = {*SUFFIXES, ".npy", ".npz", ".tar", ".zip", ".bb"}


def write_images(parts: Iterable[Part], count: int, output: Path) -> None:
    """Write what `read_images` read, with the same names, dtypes, modes and pixels.

    Args:
        parts: consecutive ranges of what was read, at least one of them not lost.
        count: images in all parts.
        output: a .npy, .npz, image file or folder, as the manifests' kind asks.

    Raises:
        InputError: output is of another kind, exists, or cannot be written.
        FormatError: a manifest does not describe its images, or has unsafe names.
    """
    first, parts = with_first(parts)
    match first.manifest:
        case NpzManifest() as manifest:
            _check_suffix(output, ".npz", "several arrays")
            write = partial(_write_npz, manifest=manifest, parts=parts, count=count)
            atomic_write(output, write)
        case ArraysManifest(file="npz") as manifest:
            _check_suffix(output, ".npz", "several arrays")
            write = partial(_write_arrays, manifest=manifest, parts=parts, count=count)
            atomic_write(output, write)
        case ArraysManifest() as manifest:
            _check_suffix(output, ".npy", "an array")
            pieces = values_of(manifest, parts, count)
            atomic_write(output, partial(_write_array, manifest=manifest, pieces=pieces))
        case ArrayManifest() as manifest:
            _check_suffix(output, ".npy", "an array")
            stack = partial(_write_stack, manifest=manifest, parts=parts, count=count)
            atomic_write(output, stack)
        case FilesManifest(kind="file") as manifest:
            _write_file(manifest, first, output)
        case FilesManifest(kind="tar"):
            _check_suffix(output, ".tar", "a tar of images")
            atomic_write(output, lambda file: tar.write(file, _members(parts, "tar")))
        case FilesManifest():
            _write_folder(parts, output)


def _write_stack(
    file: BinaryIO, manifest: ArrayManifest, parts: Iterable[Part], count: int
) -> None:
    """Write the .npy of an array whose first part that is not lost has this manifest."""
    shape, dtype = whole_shape(manifest, count), np.dtype(manifest.dtype)
    npy.write_npy_header(file, dtype, shape)
    image_bytes = math.prod(shape) // count * dtype.itemsize
    for part in parts:
        if isinstance(part, Lost):
            for _ in range(part.images):
                file.write(bytes(image_bytes))
        else:
            check_same_array(manifest, part.manifest)
            file.write(np.ascontiguousarray(to_array(part)).data)


def _write_npz(file: BinaryIO, manifest: NpzManifest, parts: Iterator[Part], count: int) -> None:
    start = next(parts)
    others = _other_arrays(start, [manifest.name], manifest.names)

    def stack(out: BinaryIO) -> None:
        _write_stack(out, manifest, itertools.chain([start], parts), count)

    members = {
        name: stack if name == manifest.name else others[name]
        for name in manifest.names
        if name == manifest.name or name in others
    }
    npy.save_npz(file, members, manifest.packed)


def _other_arrays(start: Part, own: Sequence[str], names: Sequence[str]) -> dict[str, npy.Array]:
    """The arrays of an .npz that are no images; none if the first part is lost.

    Args:
        own: names of the arrays of images.
        names: of all arrays.

    Raises:
        FormatError: there are others than these, or a name is none of an .npz.
    """
    others = npy.unpack_arrays(start.extra) if isinstance(start, ImageSet) else {}
    if isinstance(start, ImageSet) and sorted([*others, *own]) != sorted(names):
        raise FormatError("its manifest does not name the arrays that the file holds")
    if not all(map(npy.is_member_name, names)):
        raise FormatError("its manifest names an array as no .npz can")
    return others


def _write_arrays(
    file: BinaryIO, manifest: ArraysManifest, parts: Iterator[Part], count: int
) -> None:
    """Write an .npz of several arrays of images, and its other arrays."""
    start = next(parts)
    own = [array.name for array in manifest.arrays]
    others = _other_arrays(start, own, manifest.names)
    pieces = values_of(manifest, itertools.chain([start], parts), count)
    by_array = itertools.groupby(pieces, key=lambda piece: piece[0])

    def images(out: BinaryIO) -> None:
        _, own = next(by_array)
        _write_array(out, manifest, own)

    members = {
        name: images if name in own else others[name]
        for name in manifest.names
        if name in own or name in others
    }
    npy.save_npz(file, members, manifest.packed)


def _write_array(
    file: BinaryIO, manifest: ArraysManifest, pieces: Iterable[tuple[StoredArray, Values]]
) -> None:
    """Write a .npy as it was read: of an array in Fortran order from memory, else as it comes."""
    pieces = iter(pieces)
    array, first = next(pieces)
    dtype = np.dtype(array.dtype)
    npy.write_npy_header(file, dtype, array.shape, array.fortran, manifest.header)
    rest: Iterable[Values] = itertools.chain([first], (values for _, values in pieces))
    if array.fortran:
        whole = np.concatenate(list(rest), dtype=dtype).reshape(array.shape)
        rest = [whole.T]
    for values in rest:
        file.write(np.ascontiguousarray(values).data)


def _write_file(manifest: FilesManifest, images: ImageSet, output: Path) -> None:
    if output.is_dir():
        raise InputError(f"{output} is a folder; the file holds one image, name it *.png")
    ((_, mode, pixels, records),) = _files(manifest, images)
    check_suffix(output.suffix, mode)
    atomic_write(output, lambda file: write_image(file, pixels, mode, output.suffix, records))


def _write_folder(parts: Iterable[Part], output: Path) -> None:
    if output.suffix.lower() in _FILES:
        raise InputError(
            f"the file holds a folder; name the output without {output.suffix}, not {output.name}"
        )
    with atomic_folder(output) as folder:
        for name, content in _members(parts, "folder"):
            target = folder.joinpath(*_safe_parts(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                file.write(content)


def _members(parts: Iterable[Part], kind: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files that a folder or a tar held, in order."""
    for part in parts:
        if isinstance(part, Lost):
            continue
        check_manifest(part)
        manifest = part.manifest
        if not isinstance(manifest, FilesManifest) or manifest.kind != kind:
            raise FormatError(STRANGERS)
        for name, mode, pixels, data in _files(manifest, part):
            records = sidecar.unpack(data)
            kinds = [record[0] for record in records]
            place = kinds.index(sidecar.IMAGE) if sidecar.IMAGE in kinds else 0
            yield from _others(records[:place])
            _safe_parts(name.removeprefix("./"))
            file = io.BytesIO()
            write_image(file, pixels, mode, PurePosixPath(name).suffix, data)
            yield name, file.getvalue()
            yield from _others(records[place:])


def _files(
    manifest: FilesManifest, images: ImageSet
) -> Iterator[tuple[str, str, ImageArray, bytes]]:
    """Name, mode, pixels and sidecar of every file."""
    return zip(manifest.names, manifest.modes, images.pixels, images.each_sidecar, strict=True)


def _others(records: Iterable[sidecar.Record]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files that are no images."""
    for kind, data in records:
        if kind == sidecar.FILE:
            name, content = sidecar.unpack_file(data)
            _safe_parts(name.removeprefix("./"))
            yield name, content


def _safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a stored name, none of which can lead out of the output folder."""
    if not is_safe(name):
        raise FormatError(f"the file stores an unsafe name, {name!r}; nothing was written")
    return tuple(name.split("/"))


def _check_suffix(output: Path, suffix: str, content: str) -> None:
    if output.suffix != suffix:
        raise InputError(f"the file holds {content}; name the output *{suffix}, not {output.name}")
