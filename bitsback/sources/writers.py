"""Sets of images written as the arrays, files and folders that they were read from.

Images come in parts, one for each chunk of a file, and are written as they come. A part may be
lost to damage: its images are zero in an array and missing from a folder.
"""

import io
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from bitsback.errors import FormatError, InputError
from bitsback.format import sidecar
from bitsback.images.arrays.stored import ArraysManifest, StoredArray
from bitsback.images.image_file import (
    SUFFIXES,
    check_suffix,
    decode_image,
    full_depth,
    write_image,
)
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
from bitsback.images.safe_names import is_safe, local_name
from bitsback.keeping import rule
from bitsback.keeping.coded import Levels

from . import npy, tar, tree
from .atomic_files import atomic_folder, atomic_write

Member = tuple[str, bytes, bytes | None]
"""A file's name, its content, and its header in a tar."""
Tell = Callable[[str], object]
"""Takes a sentence about a file that comes back in other bytes."""
#: suffixes of files, which no folder is likely to be meant to have
_FILES = {*SUFFIXES, ".npy", ".npz", ".tar", ".zip", ".bb"}


def write_images(
    parts: Iterable[Part], count: int, output: Path, tell: Tell = warnings.warn
) -> None:
    """Write what `read_images` read, with the same names, dtypes, modes and pixels.

    Args:
        parts: consecutive ranges of what was read, at least one of them not lost.
        count: images in all parts.
        output: a .npy, .npz, image file or folder, as the manifests' kind asks.
        tell: called where zlib now gives other bytes for the same samples.

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
            _write_file(manifest, first, output, tell)
        case FilesManifest(kind="tar"):
            _check_suffix(output, ".tar", "a tar of images")
            atomic_write(output, lambda file: tar.write(file, members(parts, "tar", tell)))
        case FilesManifest():
            _write_folder(parts, output, tell)


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


def _write_file(manifest: FilesManifest, images: ImageSet, output: Path, tell: Tell) -> None:
    if output.is_dir():
        raise InputError(f"{output} is a folder; the file holds one image, name it *.png")
    check_manifest(images)
    if not manifest.names:
        members = _bare_files(images)
        if len(members) != 1:
            raise FormatError("its files are damaged: there should be one")
        name, content, _ = members[0]
        _check_suffix(output, PurePosixPath(name).suffix, f"{name} as it was")
        atomic_write(output, content)
        return
    ((name, mode, pixels, data),) = _files(manifest, images)
    if not rule.has_recipe(sidecar.unpack(data)):
        check_suffix(output.suffix, mode)
        atomic_write(output, lambda file: write_image(file, pixels, mode, output.suffix, data))
        return
    content = _content(name, pixels, mode, data, tell)
    if output.suffix.lower() == PurePosixPath(name).suffix.lower():
        atomic_write(output, content)
        return
    try:
        image = decode_image(io.BytesIO(content), name)
        found = image.pixels if image.levels is None else image.levels[:, :, None]
        if not np.array_equal(found != 0 if mode == "1" else found, _levels(pixels, mode, data)):
            raise InputError(f"{name} cannot be written exactly in another format")
    except InputError as error:
        suffix = PurePosixPath(name).suffix
        raise InputError(f"{error}; name the output *{suffix}") from error
    records = sidecar.pack(image.sidecar)
    check_suffix(output.suffix, image.mode)
    atomic_write(
        output, lambda file: write_image(file, image.pixels, image.mode, output.suffix, records)
    )


def _bare_files(images: ImageSet) -> list[Member]:
    """The files of a set without images.

    Raises:
        FormatError: it holds anything else.
    """
    records = [each for data in images.sidecars or () for each in sidecar.unpack(data)]
    if any(kind not in (sidecar.FILE, sidecar.TAR, sidecar.TREE) for kind, _ in records):
        raise FormatError("its files are damaged: they are not files alone")
    return list(_in_order(records, None))


def _in_order(
    records: Iterable[sidecar.Record], image: tuple[str, bytes] | None
) -> Iterator[Member]:
    """The files of a sidecar, and the image's where its mark is, each with its header."""
    header: bytes | None = None
    for kind, data in records:
        if kind == sidecar.TAR:
            header = data
        elif kind == sidecar.FILE:
            name, content = sidecar.unpack_file(data)
            _safe_parts(name.removeprefix("./"))
            yield name, content, header
            header = None
        elif kind == sidecar.IMAGE and image is not None:
            yield *image, header
            header, image = None, None
    if header is not None:
        yield "", b"", header


def _write_folder(parts: Iterable[Part], output: Path, tell: Tell) -> None:
    if output.suffix.lower() in _FILES:
        raise InputError(
            f"the file holds a folder; name the output without {output.suffix}, not {output.name}"
        )
    with atomic_folder(output) as folder:
        runs: list[list[Path]] = [[]]  # of files, with what is lost between them
        beside, is_first = None, True
        for part in parts:
            if isinstance(part, Lost):
                runs.append([])
            elif is_first:
                beside = tree_of(part)
            is_first = False
            for name, content, _ in members([part], "folder", tell):
                runs[-1].append(write_below(folder, name, content))
        if beside is not None:
            tree.write(beside, _numbered(runs, len(beside.modes), tell), folder)
        elif len(runs) > 1:
            tell("modes, times, links and empty folders are lost with the file's first chunk")


def write_below(folder: Path, name: str, content: bytes) -> Path:
    """Write a file of a stored name into a folder, and those between; its path.

    Raises:
        FormatError: the name is unsafe.
        OSError: it exists, or cannot be written.
    """
    target = folder.joinpath(*map(local_name, _safe_parts(name.removeprefix("./"))))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        file.write(content)
    return target


def _numbered(runs: list[list[Path]], count: int, tell: Tell) -> list[tuple[int, Path]]:
    """Files with their numbers in the set, which those between two lost parts have not.

    Args:
        runs: of files, with what is lost between them.
        count: files of the set.
    """
    first, *others = runs
    last = others[-1] if others else []
    unknown = sum(map(len, others[:-1]))
    if unknown:
        tell(f"modes and times of {unknown} files between damaged chunks are not known")
    return [*enumerate(first), *enumerate(last, count - len(last))]


def tree_of(images: ImageSet) -> tree.Tree | None:
    """What a folder has beside its files, from its first part; None of any other set."""
    if not images.sidecars:
        return None
    data = sidecar.find(sidecar.unpack(images.sidecars[0]), sidecar.TREE)
    return None if data is None else tree.unpack(data)


def members(parts: Iterable[Part], kind: str, tell: Tell) -> Iterator[Member]:
    """The files that a folder, a tar or a list held, in order.

    Args:
        kind: of the set.
        tell: called where zlib now gives other bytes for the same samples.

    Raises:
        FormatError: a part is of another kind, does not describe its images, or has unsafe names.
    """
    for part in parts:
        if isinstance(part, Lost):
            continue
        check_manifest(part)
        manifest = part.manifest
        if not isinstance(manifest, FilesManifest) or manifest.kind != kind:
            raise FormatError(STRANGERS)
        if not manifest.names:
            yield from _bare_files(part)
            continue
        for name, mode, pixels, data in _files(manifest, part):
            records = sidecar.unpack(data)
            if (sidecar.IMAGE, b"") not in records:
                records.insert(0, (sidecar.IMAGE, b""))
            _safe_parts(name.removeprefix("./"))
            yield from _in_order(records, (name, _content(name, pixels, mode, data, tell)))


def _content(name: str, pixels: ImageArray, mode: str, data: bytes, tell: Tell) -> bytes:
    """The bytes of an image's file."""
    records = tuple(sidecar.unpack(data))
    if not rule.has_recipe(records):
        file = io.BytesIO()
        write_image(file, pixels, mode, PurePosixPath(name).suffix, data)
        return file.getvalue()
    content, is_exact = rule.write(_levels(pixels, mode, data), mode, records)
    if not is_exact:
        tell(f"{name} has the same samples in other bytes, since another library packs it")
    return content


def _levels(pixels: ImageArray, mode: str, data: bytes) -> Levels:
    """The levels of an image, 0 and 1 of mode "1"."""
    levels = full_depth(pixels, mode, data)
    return (levels != 0).astype(np.uint8) if mode == "1" else levels


def _files(
    manifest: FilesManifest, images: ImageSet
) -> Iterator[tuple[str, str, ImageArray, bytes]]:
    """Name, mode, pixels and sidecar of every file."""
    return zip(manifest.names, manifest.modes, images.pixels, images.each_sidecar, strict=True)


def _safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a stored name, none of which can lead out of the output folder."""
    if not is_safe(name):
        raise FormatError(f"the file stores an unsafe name, {name!r}; nothing was written")
    return tuple(name.split("/"))


def _check_suffix(output: Path, suffix: str, content: str) -> None:
    if output.suffix != suffix:
        raise InputError(f"the file holds {content}; name the output *{suffix}, not {output.name}")
