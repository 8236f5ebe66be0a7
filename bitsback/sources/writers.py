"""OUTPUT of the command line: sets of images as the arrays, files and folders they came from.

Images come in parts, one for each chunk of a file, and are written as they come. A part may be
lost to damage: its images are zero in an array and missing from a folder.
"""

import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError, InputError
from bitsback.format import sidecar
from bitsback.images.image_file import check_suffix, write_image
from bitsback.images.image_set import ImageSet, check_manifest, to_array
from bitsback.images.safe_names import is_safe

from . import npy, tar
from .atomic_files import atomic_folder, atomic_write

_STRANGERS = "the file is damaged: its chunks do not belong together"


@dataclass(frozen=True)
class Lost:
    """So many images that could not be decoded."""

    images: int


def write_images(parts: Iterable[ImageSet | Lost], count: int, output: Path) -> None:
    """Write OUTPUT: what `read_images` read, with the same names, dtypes, modes and pixels.

    Args:
        parts: consecutive ranges of what was read, at least one of them not lost.
        count: images in all parts.
        output: a .npy, .npz, image file or folder, as the manifests' kind asks.

    Raises:
        InputError: output is of another kind, exists, or cannot be written.
        FormatError: a manifest does not describe its images, or has unsafe names.
    """
    first, parts = _peek(parts)
    manifest = first.manifest
    match kind := manifest["kind"]:
        case "array":
            _want_suffix(output, ".npy", "an array")
            atomic_write(output, lambda file: _write_stack(file, first, parts, count))
        case "npz":
            _want_suffix(output, ".npz", "several arrays")
            atomic_write(output, lambda file: _write_npz(file, first, parts, count))
        case "file":
            if output.is_dir():
                raise InputError(f"{output} is a folder; the file holds one image, name it *.png")
            mode = manifest["modes"][0]
            check_suffix(output.suffix, mode)
            ((_, image, data),) = _files(first)
            atomic_write(output, lambda file: write_image(file, image, mode, output.suffix, data))
        case "tar":
            _want_suffix(output, ".tar", "a tar of images")
            atomic_write(output, lambda file: tar.write(file, _members(parts, kind)))
        case _:
            _write_folder(parts, output)


def join(parts: Iterable[ImageSet | Lost], count: int) -> NDArray[Any]:
    """The array whose parts these are; for files, their images stacked.

    Raises:
        InputError: images of different sizes.
        FormatError: a manifest does not describe its images.
    """
    first, parts = _peek(parts)
    is_array = first.manifest["kind"] in ("array", "npz")
    one = to_array(first)
    if is_array:
        found = np.zeros(_whole_shape(first, count), one.dtype)
    else:
        found = np.zeros((count, *one.shape[1:]), one.dtype)
    flat, place = found.reshape(-1), 0
    size = found.size // count
    for each in parts:
        if isinstance(each, ImageSet):
            if is_array:
                _check_kin(first, each)
            values = to_array(each)
            kind = values.shape[1:], values.dtype
            if not is_array and kind != (one.shape[1:], one.dtype):
                raise InputError(
                    "images of different sizes or kinds make no single array; decompress to a "
                    "folder, or take them one by one from bitsback.open"
                )
            flat[place : place + values.size] = values.reshape(-1)
        place += size * _count(each)
    return found


def _peek(parts: Iterable[ImageSet | Lost]) -> tuple[ImageSet, Iterator[ImageSet | Lost]]:
    """The first part that is not lost, checked, and all parts."""
    coming, before = iter(parts), []
    for each in coming:
        before.append(each)
        if isinstance(each, ImageSet):
            check_manifest(each)
            return each, itertools.chain(before, coming)
    raise FormatError("the file is damaged: no chunk of it can be decoded")


def _count(each: ImageSet | Lost) -> int:
    return each.images if isinstance(each, Lost) else len(each.pixels)


def _whole_shape(first: ImageSet, count: int) -> tuple[int, ...]:
    """Shape of the array that a part with this manifest comes from."""
    shape = tuple(int(side) for side in first.manifest["shape"])
    if len(first.pixels) == count:
        return shape
    if shape[0] != len(first.pixels) or len(shape) < 3:
        raise FormatError(_STRANGERS)
    return (count, *shape[1:])


def _check_kin(first: ImageSet, other: ImageSet) -> None:
    """Raise FormatError unless both are parts of one array."""
    fields = [
        (m["kind"], m.get("dtype"), m.get("shape", [])[1:])
        for m in (first.manifest, other.manifest)
    ]
    if fields[0] != fields[1]:
        raise FormatError(_STRANGERS)


def _write_stack(
    file: BinaryIO, first: ImageSet, parts: Iterator[ImageSet | Lost], count: int
) -> None:
    shape, dtype = _whole_shape(first, count), np.dtype(first.manifest["dtype"])
    npy.write_npy_header(file, dtype, shape)
    size = first.pixels[0].size * dtype.itemsize
    for each in parts:
        if isinstance(each, Lost):
            for _ in range(each.images):
                file.write(bytes(size))
        else:
            _check_kin(first, each)
            file.write(np.ascontiguousarray(to_array(each)).data)


def _write_npz(
    file: BinaryIO, first: ImageSet, parts: Iterator[ImageSet | Lost], count: int
) -> None:
    manifest = first.manifest
    start = next(parts)
    whole = isinstance(start, ImageSet)
    others = npy.unpack_arrays(start.extra) if isinstance(start, ImageSet) else {}
    if whole and sorted([*others, manifest["name"]]) != sorted(manifest["names"]):
        raise FormatError("its manifest does not name the arrays that the file holds")
    if not all(map(npy.is_member_name, manifest["names"])):
        raise FormatError("its manifest names an array as no .npz can")

    def stack(out: BinaryIO) -> None:
        _write_stack(out, first, itertools.chain([start], parts), count)

    members = {
        name: stack if name == manifest["name"] else others[name]
        for name in manifest["names"]
        if name == manifest["name"] or name in others
    }
    npy.save_npz(file, members, bool(manifest["packed"]))


def _files(part: ImageSet) -> list[tuple[str, NDArray[np.uint8], bytes]]:
    """Name, pixels and their sidecars, of every file."""
    return list(zip(part.manifest["names"], part.pixels, part.each_sidecar, strict=True))


def _checked(parts: Iterator[ImageSet | Lost], kind: str) -> Iterator[ImageSet]:
    """The parts that are not lost, whose manifests are of a kind and describe them."""
    for each in parts:
        if isinstance(each, ImageSet):
            check_manifest(each)
            if each.manifest["kind"] != kind:
                raise FormatError(_STRANGERS)
            yield each


def _write_folder(parts: Iterator[ImageSet | Lost], output: Path) -> None:
    with atomic_folder(output) as folder:
        for name, content in _members(parts, "folder"):
            target = folder.joinpath(*_safe_parts(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                file.write(content)


def _members(parts: Iterator[ImageSet | Lost], kind: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files that a folder or a tar held, in order."""
    for each in _checked(parts, kind):
        for (name, pixels, data), mode in zip(_files(each), each.manifest["modes"], strict=True):
            records = sidecar.unpack(data)
            kinds = [kind for kind, _ in records]
            place = kinds.index(sidecar.IMAGE) if sidecar.IMAGE in kinds else 0
            yield from _others(records[:place])
            _safe_parts(name.removeprefix("./"))
            file = io.BytesIO()
            write_image(file, pixels, mode, PurePosixPath(name).suffix, data)
            yield name, file.getvalue()
            yield from _others(records[place:])


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


def _want_suffix(output: Path, suffix: str, what: str) -> None:
    if output.suffix != suffix:
        raise InputError(f"the file holds {what}; name the output *{suffix}, not {output.name}")
