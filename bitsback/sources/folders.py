"""Image files, in a folder or in a tar, as a set of images.

All files are read once before any is coded, so that an error is raised at once, not hours later.
Each is read again when it is coded, so that a set may be larger than the memory. Files that are no
images travel along with the image that comes after them, or with the last one.
"""

import dataclasses
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
from bitsback.images.outcomes import Carried, Kept
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
    paths = _files_below(folder)
    if not paths:
        raise InputError(f"{folder} is empty")
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is neither a file nor a folder, or a link to a folder")
    named = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    entries = [SourceFile(name, partial(_open, path), str(path)) for name, path in named]
    return read_entries("folder", entries, str(folder))


def _files_below(folder: Path) -> list[Path]:
    """All files below a folder, and links.

    Raises:
        InputError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error

    paths: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        paths += [Path(parent, name) for name in [*names, *links]]
    return paths


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def read_entries(kind: Kind, entries: Iterable[SourceFile], title: str) -> ImageSet:
    """The images among files, and the other files with them.

    An image that would not come back exactly travels as it is, like a file that is no image; the
    set's `kept` says which, and why.

    Args:
        kind: "folder" or "tar".
        title: what an error calls them all.

    Raises:
        InputError: there are no images that can be coded, or names are unsafe or given twice.
    """
    every = list(entries)
    taken = _checked_names(kind, [entry.name for entry in every])
    files, facts, carried = _Sorted(), list[_Facts](), list[Carried]()
    for entry in every:
        with entry.open() as file:
            if not is_image(file, entry.name):
                files.add(entry, is_image=False)
                continue
        try:
            facts.append(_facts(entry.name, _decoded(entry), taken))
            files.add(entry, is_image=True)
        except InputError as error:
            carried.append(Carried(entry.name, str(error)))
            files.add(entry, is_image=False)
    if not facts:
        raise InputError(
            "; ".join(
                [f"{title} holds no images that can be coded", *(each.reason for each in carried)]
            )
        )
    has_others = len(facts) < len(every)
    images = _set_of(
        kind, facts, lambda number: _decoded(files.images[number]), files.neighbours, has_others
    )
    return dataclasses.replace(images, kept=Kept(samples=len(facts), carried=tuple(carried)))


def _decoded(entry: SourceFile) -> Decoded:
    with entry.open() as file:
        return decode_image(file, entry.title)


def _packed(entry: SourceFile) -> Record:
    with entry.open() as file:
        return sidecar.pack_file(entry.name, file.read())


@dataclass(frozen=True)
class _Facts:
    """What the manifest says of an image file, and what must be known before any is coded.

    Args:
        name: of the file, as it was read.
        target: the name to write it under.
        binary: whether its pixels are 0 and 1.
        has_sidecar: whether it has anything beside its 8-bit values.
    """

    name: str
    target: str
    mode: str
    shape: ImageShape
    binary: bool
    has_sidecar: bool


def _facts(name: str, image: Decoded, taken: set[str]) -> _Facts:
    """The facts of an image; its target is added to the names that are `taken`.

    Raises:
        InputError: its metadata cannot be written again.
    """
    height, width, channels = image.pixels.shape
    kinds = {record[0] for record in image.metadata}
    target = _written_name(name, image.mode, kinds, taken)
    try:
        check_metadata(image, PurePosixPath(target).suffix)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    taken.add(target.casefold())
    binary = image.mode == "1" or (image.mode == "L" and bool(image.pixels.max() <= 1))
    has_sidecar = bool(kinds) or image.levels is not None
    return _Facts(name, target, image.mode, (height, width, channels), binary, has_sidecar)


def _read(kind: Kind, names: Sequence[str], read: Callable[[int], Decoded]) -> ImageSet:
    """A set of image files, all of which are read once and checked."""
    taken = _checked_names(kind, names)
    facts = [_facts(name, read(number), taken) for number, name in enumerate(names)]
    return _set_of(kind, facts, read, lambda number: [], has_others=False)


def _set_of(
    kind: Kind,
    facts: Sequence[_Facts],
    read: Callable[[int], Decoded],
    neighbours: Callable[[int], list[Record]],
    has_others: bool,
) -> ImageSet:
    """A set of image files, each of which is read again when it is coded.

    Args:
        read: the image of a number.
        neighbours: the other files next to the image of a number.
        has_others: whether there are any.
    """
    binary = all(each.binary for each in facts)

    def pixels(number: int) -> ImageArray:
        image, known = read(number), facts[number]
        if image.mode != known.mode or image.pixels.shape != known.shape:
            raise InputError(f"{known.name} changed while it was read")
        return image.pixels * np.uint8(255) if image.mode == "1" and not binary else image.pixels

    def sidecar_of(number: int) -> bytes:
        return sidecar.pack([*neighbours(number), *read(number).sidecar])

    images = Lazy(len(facts), lambda begin, end: list(map(pixels, range(begin, end))))
    sidecars = Lazy(len(facts), lambda begin, end: list(map(sidecar_of, range(begin, end))))
    manifest = FilesManifest(
        kind,
        tuple(each.target for each in facts),
        tuple(each.mode for each in facts),
        tuple(each.shape for each in facts),
    )
    has_sidecars = has_others or any(each.has_sidecar for each in facts)
    return ImageSet(images, binary, manifest, sidecars=sidecars if has_sidecars else None)


def _checked_names(kind: Kind, names: Sequence[str]) -> set[str]:
    """The names, folded, under which nothing else can be written.

    Raises:
        InputError: one is given twice, or is unsafe.
    """
    if len(set(names)) != len(names):
        raise InputError("the same image file is given twice")
    for name in names if kind != "file" else ():
        if not is_safe(name.removeprefix("./") if kind == "tar" else name):
            raise InputError(f"{name!r} cannot be stored as a file name; rename it")
    return {name.casefold() for name in names}


def _written_name(name: str, mode: str, kinds: set[bytes], taken: set[str]) -> str:
    """The name to write under: unchanged where that is lossless, else .png and not yet taken."""
    path = PurePosixPath(name)
    if can_hold(path.suffix, mode, kinds):
        return name
    tries = [path.with_suffix(".png"), path.with_name(f"{path.name}.png")]
    tries += [path.with_name(f"{path.name}.{i}.png") for i in range(1, len(taken) + 1)]
    free = next(str(path) for path in tries if str(path).casefold() not in taken)
    return f"./{free}" if name.startswith("./") else free
