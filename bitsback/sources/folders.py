"""Image files, in a folder or in a tar, as a set of images.

All are read once before any is coded: what is wrong is told at once, not hours later. They are read
again when they are coded, so that a set may be larger than the memory. Files that are no images
travel along with the image that comes after them, or with the last one.
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
    check_beside,
    decode_image,
    is_image,
    read_image,
)
from bitsback.images.image_set import ImageArray, ImageSet
from bitsback.images.lazy import Lazy
from bitsback.images.safe_names import is_safe


@dataclass(frozen=True)
class SourceFile:
    """A file in a folder or a tar: its name there, how to open it, and what an error calls it."""

    name: str
    open: Callable[[], BinaryIO]
    title: str


@dataclass(frozen=True)
class _Found:
    """Images among files, and the others: before each image, and after the last one."""

    images: list[SourceFile] = field(default_factory=list)
    others: list[list[SourceFile]] = field(default_factory=lambda: [[]])

    def around(self, number: int) -> list[Record]:
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


def read_entries(kind: str, entries: Iterable[SourceFile], title: str) -> ImageSet:
    """The images among files, and the other files with them.

    Args:
        kind: "folder" or "tar".
        title: what an error calls them all.

    Raises:
        InputError: there are no images, or what `read_files` refuses.
    """
    found = _Found()
    for entry in entries:
        with entry.open() as file:
            image = is_image(file, entry.name)
        if image:
            found.images.append(entry)
            found.others.append([])
        else:
            found.others[-1].append(entry)
    if not found.images:
        raise InputError(f"{title} holds no images")

    def read(number: int) -> Decoded:
        with found.images[number].open() as file:
            return decode_image(file, found.images[number].title)

    others = [entry.name for entries in found.others for entry in entries]
    return _read(kind, [entry.name for entry in found.images], read, found.around, others)


def _packed(entry: SourceFile) -> Record:
    with entry.open() as file:
        return sidecar.pack_file(entry.name, file.read())


def _read(
    kind: str,
    names: Sequence[str],
    read: Callable[[int], Decoded],
    around: Callable[[int], list[Record]] | None = None,
    others: Sequence[str] = (),
) -> ImageSet:
    """A set of files; `around` are records of what lies next to each, `others` names in use."""
    if len(set(names) | set(others)) != len(names) + len(others):
        raise InputError("the same image file is given twice")
    for name in (*names, *others) if kind != "file" else ():
        if not is_safe(name.removeprefix("./") if kind == "tar" else name):
            raise InputError(f"{name!r} cannot be stored as a file name; rename it")
    modes, shapes, binary, written = [], [], True, []
    taken = {name.casefold() for name in (*names, *others)}
    lonely = not others
    for number, name in enumerate(names):
        found = read(number)
        modes.append(found.mode)
        shapes.append(found.pixels.shape)
        binary &= found.mode == "1" or (found.mode == "L" and bool(found.pixels.max() <= 1))
        kinds = {record[0] for record in found.metadata}
        lonely &= not kinds and found.levels is None
        written.append(_written_name(name, found.mode, kinds, taken))
        try:
            check_beside(found, PurePosixPath(written[-1]).suffix)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        taken.add(written[-1].casefold())
    manifest = {
        "kind": kind,
        "names": written,
        "modes": modes,
        "shapes": [list(shape) for shape in shapes],
    }

    def image(number: int) -> ImageArray:
        found = read(number)
        if found.mode != modes[number] or found.pixels.shape != shapes[number]:
            raise InputError(f"{names[number]} changed while it was read")
        return found.pixels * np.uint8(255) if found.mode == "1" and not binary else found.pixels

    def records(number: int) -> bytes:
        return sidecar.pack([*(around(number) if around else ()), *read(number).beside])

    images = Lazy(len(names), lambda begin, end: list(map(image, range(begin, end))))
    data = Lazy(len(names), lambda begin, end: list(map(records, range(begin, end))))
    return ImageSet(images, binary, manifest, sidecars=None if lonely else data)


def _written_name(name: str, mode: str, kinds: set[bytes], taken: set[str]) -> str:
    """The name to write under: unchanged where that is lossless, else .png and not yet taken."""
    path = PurePosixPath(name)
    if can_hold(path.suffix, mode, kinds):
        return name
    tries = [path.with_suffix(".png"), path.with_name(f"{path.name}.png")]
    tries += [path.with_name(f"{path.name}.{i}.png") for i in range(1, len(taken) + 1)]
    found = next(str(new) for new in tries if str(new).casefold() not in taken)
    return f"./{found}" if name.startswith("./") else found
