"""Files of a compressed folder, tar or list by name, from the chunks that hold them.

A chunk's names lie in its message, so that a chunk is decoded to tell them. The files of a folder
lie in the order of their names: a search decodes few chunks. Those of a tar lie in its own order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bitsback.errors import InputError
from bitsback.format import sidecar
from bitsback.images.image_set import ImageSet
from bitsback.images.manifest import FilesManifest
from bitsback.progress import Progress
from bitsback.sources import tar_headers, tree, writers
from bitsback.sources.atomic_files import atomic_folder

from .reader import Reader

_BELOW = "/\U0010ffff"  # comes after all names below a folder


@dataclass(frozen=True)
class Listed:
    """A file of a set.

    Args:
        name: relative, with forward slashes.
        chunk: that holds it.
        mode: of an image, as Pillow names it; "" of a file that travels as it is.
        height: of an image, pixels; 0 of another.
        width: the same.
        size: of a file that travels as it is, bytes; None of an image, whose file is not made.
    """

    name: str
    chunk: int
    mode: str
    height: int
    width: int
    size: int | None


def listed(reader: Reader, progress: Progress | None = None) -> Iterator[Listed]:
    """All files of a set, in order; each chunk is decoded.

    Args:
        progress: called with (images done, images in all).

    Raises:
        InputError: the set is of arrays, which have no files.
        FormatError: a chunk is damaged.
    """
    for number in range(len(reader.header.chunks)):
        yield from _of_chunk(reader, number, progress)


@dataclass(frozen=True)
class Found:
    """A file that was asked for.

    Args:
        number: of the file in its chunk, from 0.
        chunk: that holds it.
        header: of it in a tar.
    """

    name: str
    content: bytes
    number: int
    chunk: int
    header: bytes | None


def find(
    reader: Reader,
    names: Sequence[str],
    tell: Callable[[str], object],
    progress: Progress | None = None,
) -> Iterator[Found]:
    """Files of these names, and all files below folders of these names.

    Args:
        names: as `listed` tells them.
        tell: called where a file comes back in other bytes than were promised.
        progress: called with (bytes done, bytes in all) of the compressed file.

    Raises:
        InputError: there is no such file, or the set is of arrays.
        FormatError: a chunk is damaged.
    """
    wanted = {name.removesuffix("/"): False for name in names}
    known: dict[int, list[str]] = {}

    def names_of(number: int) -> list[str]:
        if number not in known:
            known[number] = [file.name for file in _of_chunk(reader, number, progress)]
        return known[number]

    chunks = len(reader.header.chunks)
    is_sorted = _kind(reader.chunk(0).images) == "folder"
    likely = {each for name in wanted for each in _likely(name, chunks, names_of)}
    order = [*sorted(likely), *sorted(set(range(chunks)) - likely)] if is_sorted else range(chunks)
    for place, number in enumerate(order):
        if is_sorted and place >= len(likely) and all(wanted.values()):
            return
        hits = [_hit(name, wanted) for name in names_of(number)]
        if not any(hits):
            continue
        images = reader.chunk(number, progress).images
        files = (each for each in writers.members([images], _kind(images), tell) if each[0])
        for position, (hit, (name, content, header)) in enumerate(zip(hits, files, strict=True)):
            if hit is not None:
                wanted[hit] = True
                yield Found(name, content, position, number, header)
    missing = [name for name, found in wanted.items() if not found]
    if missing:
        raise InputError(f"the file holds no {', '.join(map(repr, missing))}")


def _hit(name: str, wanted: dict[str, bool]) -> str | None:
    """What is wanted that this file is, or lies below."""
    parts = name.removeprefix("./").split("/")
    above = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((each for each in [name, *above] if each in wanted), None)


def _likely(name: str, chunks: int, names_of: Callable[[int], list[str]]) -> list[int]:
    """Chunks of a set sorted by name that hold a file, or files below a folder."""
    low, high = 0, chunks
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if names_of(middle)[:1] > [name] else (middle, high)
    after = (each for each in range(low + 1, chunks) if names_of(each)[:1] > [name + _BELOW])
    return list(range(low, next(after, chunks)))


def _of_chunk(reader: Reader, number: int, progress: Progress | None = None) -> Iterator[Listed]:
    images = reader.chunk(number, progress).images
    _kind(images)
    manifest = images.manifest
    assert isinstance(manifest, FilesManifest)
    images_of = zip(manifest.names, manifest.modes, manifest.shapes, strict=True)
    for data in images.sidecars or [b""] * len(manifest.names):
        records = sidecar.unpack(data)
        own = next(images_of, None)
        if own is not None and (sidecar.IMAGE, b"") not in records:
            records.insert(0, (sidecar.IMAGE, b""))
        for kind, content in records:
            if kind == sidecar.FILE:
                name, carried = sidecar.unpack_file(content)
                yield Listed(name, number, "", 0, 0, len(carried))
            elif kind == sidecar.IMAGE and own is not None:
                name, mode, (height, width, _) = own
                yield Listed(name, number, mode, height, width, None)


def _kind(images: ImageSet) -> str:
    """Whether a set is a file, a folder or a tar.

    Raises:
        InputError: it is of arrays.
    """
    if not isinstance(images.manifest, FilesManifest):
        raise InputError("the file holds arrays, which have no file names: decompress it")
    return images.manifest.kind


def extract(
    reader: Reader,
    names: Sequence[str],
    folder: Path,
    tell: Callable[[str], object],
    progress: Progress | None = None,
) -> int:
    """Write files of these names, and those below folders of these names, with modes and times.

    Args:
        names: as `listed` tells them.
        folder: to make; it must not exist, or be empty.
        tell: called with a sentence about what does not come back as it was.
        progress: as of `find`.

    Returns:
        How many files were written.

    Raises:
        InputError: there is no such file, the set is of arrays, or the folder cannot be written.
        FormatError: a chunk is damaged, or a name is unsafe.
    """
    beside = writers.tree_of(reader.chunk(0).images)
    count = bare = 0
    with atomic_folder(folder) as place:
        for file in find(reader, names, tell, progress):
            count += 1
            path = writers.write_below(place, file.name, file.content)
            if file.header is not None:
                tar_headers.stamp(path, file.header, file.name, len(file.content))
            elif beside is not None and (number := _number(reader, beside, file)) is not None:
                tree.stamp(beside, number, path)
            else:
                bare += 1
    if bare:
        tell(f"{bare} files have no modes and times here, which decompress restores")
    return count


def _number(reader: Reader, beside: tree.Tree, file: Found) -> int | None:
    """The number of a file in its set; None if files that are no images lie in chunks before."""
    if file.chunk and len(beside.modes) != reader.header.images:
        return None
    return reader.header.firsts[file.chunk] + file.number
