"""Image files, in a folder or in a tar, as a set of images.

All files are read once before any is coded, so that an error is raised at once, not hours later.
Each is read again when it is coded, so that a set may be larger than the memory. Files that are no
images travel along with the image that comes after them, or with the last one.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from bitsback.errors import InputError
from bitsback.format import sidecar
from bitsback.format.sidecar import Record
from bitsback.images.image_file import (
    Decoded,
    can_hold,
    check_metadata,
    decode_image,
    is_image,
    read_image,
)
from bitsback.images.image_set import ImageArray, ImageSet
from bitsback.images.lazy import Lazy
from bitsback.images.manifest import FilesManifest, ImageShape, Kind
from bitsback.images.safe_names import is_safe


@dataclass(frozen=True)
class SourceFile:
    """A file in a folder or a tar: its name there, how to open it, and what an error calls it."""

    name: str
    open: Callable[[], BinaryIO]
    title: str


@dataclass(frozen=True)
class _Sorted:
    """Files sorted into images and others: those before each image, and those after the last."""

    images: list[SourceFile] = field(default_factory=list)
    others: list[list[SourceFile]] = field(default_factory=lambda: [[]])

    def add(self, entry: SourceFile, is_image: bool) -> None:
        if is_image:
            self.images.append(entry)
            self.others.append([])
        else:
            self.others[-1].append(entry)

    def neighbours(self, number: int) -> list[Record]:
        """The other files at an image, with a mark between those before it and those after."""
        last = number == len(self.images) - 1
        before, after = self.others[number], self.others[number + 1] if last else []
        if not before and not after:
            return []
        return [*map(_packed, before), (sidecar.IMAGE, b""), *map(_packed, after)]


def read_file(path: Path) -> ImageSet:
    """One image file.

    Raises:
        InputError: it is not an image, or of a kind that cannot be kept exactly.
    """
    return _read("file", [path.name], lambda number: read_image(path))


def read_files(paths: Sequence[Path]) -> ImageSet:
    """Image files, under names relative to the folder that they have in common.

    Raises:
        InputError: one is not an image, or of a kind that cannot be kept exactly; names are unsafe.
    """
    absolute = [path.absolute() for path in paths]
    parent = os.path.commonpath([path.parent for path in absolute])
    names = [path.relative_to(parent).as_posix() for path in absolute]
    return _read("folder", names, lambda number: read_image(paths[number]))


def read_folder(folder: Path) -> ImageSet:
    """The images in a folder and all below it, sorted by name, and the other files with them.

    Raises:
        InputError: there are no images, or what `read_files` refuses.
    """
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if not paths:
        raise InputError(f"{folder} is empty")
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is neither a file nor a folder, or a link to a folder")
    named = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    entries = [SourceFile(name, partial(_open, path), str(path)) for name, path in named]
    return read_entries("folder", entries, str(folder))


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def read_entries(kind: Kind, entries: Iterable[SourceFile], title: str) -> ImageSet:
    """The images among files, and the other files with them.

    Args:
        kind: "folder" or "tar".
        title: what an error calls them all.

    Raises:
        InputError: there are no images, or what `read_files` refuses.
    """
    files = _Sorted()
    for entry in entries:
        with entry.open() as file:
            files.add(entry, is_image(file, entry.name))
    if not files.images:
        raise InputError(f"{title} holds no images")

    def read(number: int) -> Decoded:
        with files.images[number].open() as file:
            return decode_image(file, files.images[number].title)

    names = [entry.name for entry in files.images]
    others = [entry.name for before in files.others for entry in before]
    return _read(kind, names, read, files.neighbours, others)


def _packed(entry: SourceFile) -> Record:
    with entry.open() as file:
        return sidecar.pack_file(entry.name, file.read())


def _read(
    kind: Kind,
    names: Sequence[str],
    read: Callable[[int], Decoded],
    neighbours: Callable[[int], list[Record]] = lambda number: [],
    others: Sequence[str] = (),
) -> ImageSet:
    """A set of image files, all of which are read once and checked.

    Args:
        names: of the images.
        read: the image of a number.
        neighbours: the other files next to the image of a number.
        others: names of all these other files.
    """
    _check_names(kind, (*names, *others))
    taken = {name.casefold() for name in (*names, *others)}
    written: list[str] = []
    modes: list[str] = []
    shapes: list[ImageShape] = []
    binary, has_sidecars = True, bool(others)
    for number, name in enumerate(names):
        image = read(number)
        height, width, channels = image.pixels.shape
        kinds = {record[0] for record in image.metadata}
        target = _written_name(name, image.mode, kinds, taken)
        try:
            check_metadata(image, PurePosixPath(target).suffix)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        binary &= image.mode == "1" or (image.mode == "L" and bool(image.pixels.max() <= 1))
        has_sidecars |= bool(kinds) or image.levels is not None
        taken.add(target.casefold())
        written.append(target)
        modes.append(image.mode)
        shapes.append((height, width, channels))

    def pixels(number: int) -> ImageArray:
        image = read(number)
        if image.mode != modes[number] or image.pixels.shape != shapes[number]:
            raise InputError(f"{names[number]} changed while it was read")
        return image.pixels * np.uint8(255) if image.mode == "1" and not binary else image.pixels

    def sidecar_of(number: int) -> bytes:
        return sidecar.pack([*neighbours(number), *read(number).sidecar])

    images = Lazy(len(names), lambda begin, end: list(map(pixels, range(begin, end))))
    sidecars = Lazy(len(names), lambda begin, end: list(map(sidecar_of, range(begin, end))))
    manifest = FilesManifest(kind, tuple(written), tuple(modes), tuple(shapes))
    return ImageSet(images, binary, manifest, sidecars=sidecars if has_sidecars else None)


def _check_names(kind: Kind, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise InputError("the same image file is given twice")
    for name in names if kind != "file" else ():
        if not is_safe(name.removeprefix("./") if kind == "tar" else name):
            raise InputError(f"{name!r} cannot be stored as a file name; rename it")


def _written_name(name: str, mode: str, kinds: set[bytes], taken: set[str]) -> str:
    """The name to write under: unchanged where that is lossless, else .png and not yet taken."""
    path = PurePosixPath(name)
    if can_hold(path.suffix, mode, kinds):
        return name
    tries = [path.with_suffix(".png"), path.with_name(f"{path.name}.png")]
    tries += [path.with_name(f"{path.name}.{i}.png") for i in range(1, len(taken) + 1)]
    free = next(str(path) for path in tries if str(path).casefold() not in taken)
    return f"./{free}" if name.startswith("./") else free
