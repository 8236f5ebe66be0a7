"""INPUT of the command line: arrays, image files and folders as sets of pictures.

Pictures of files, and of a .npy, are read again when they are coded, so that a set may be larger
than the memory; an .npz is read whole.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bitsback import arrays
from bitsback.errors import InputError
from bitsback.images import ImageSet, Picture, array_manifest, stack_of
from bitsback.names import is_safe
from bitsback.pictures import is_lossless, read_picture

_SCAN_VALUES = 1 << 24


def read_images(paths: Sequence[Path]) -> ImageSet:
    """Read INPUT: one array file, image files, or one folder of image files.

    Args:
        paths: one .npy or .npz; or one or more image files; or one folder, taken with all below
            it in sorted order.

    Returns:
        The pictures and how to write them again.

    Raises:
        InputError: missing, not images, of a kind that cannot be kept exactly, or empty.
    """
    if not paths:
        raise InputError("there is nothing to compress: name a file or a folder")
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if len(paths) > 1 and (path.is_dir() or path.suffix in (".npy", ".npz")):
            raise InputError(f"{path} must be given alone; only image files can be given together")
    path = paths[0]
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".npy":
        return _read_npy(path)
    if path.suffix == ".npz":
        return _read_npz(path)
    if len(paths) == 1:
        return _read_files("file", [path], [path.name])
    parent = os.path.commonpath([path.absolute().parent for path in paths])
    names = [path.absolute().relative_to(parent).as_posix() for path in paths]
    return _read_files("folder", paths, names)


@dataclass(frozen=True)
class _NpyPictures(Sequence[Picture]):
    """The stack (N, H, W, C) in a .npy file, read a range at a time.

    Read, not mapped into memory: a mapping of the whole takes address space, and one of a file
    that is cut short under it kills the process.
    """

    path: Path
    offset: int
    shape: tuple[int, int, int, int]

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, where: int) -> Picture: ...
    @overload
    def __getitem__(self, where: slice) -> list[Picture]: ...
    def __getitem__(self, where: int | slice) -> Picture | list[Picture]:
        if isinstance(where, int):
            number = range(len(self))[where]
            return self._read(number, number + 1)[0]
        begin, end, _ = where.indices(len(self))
        return list(self._read(begin, end))

    def _read(self, begin: int, end: int) -> NDArray[np.uint8]:
        size = int(np.prod(self.shape[1:]))
        count = max(0, end - begin) * size
        try:
            found = np.fromfile(self.path, np.uint8, count, offset=self.offset + begin * size)
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}") from error
        if len(found) != count:
            raise InputError(f"{self.path} became shorter while it was read")
        return found.reshape(-1, *self.shape[1:])


@dataclass(frozen=True)
class _FilePictures(Sequence[Picture]):
    """The pictures of image files, read when they are asked for."""

    paths: Sequence[Path]
    modes: Sequence[str]
    shapes: Sequence[tuple[int, ...]]
    binary: bool

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, where: int) -> Picture: ...
    @overload
    def __getitem__(self, where: slice) -> list[Picture]: ...
    def __getitem__(self, where: int | slice) -> Picture | list[Picture]:
        if isinstance(where, slice):
            return [self[number] for number in range(*where.indices(len(self)))]
        pixels, mode = read_picture(self.paths[where])
        if mode != self.modes[where] or pixels.shape != self.shapes[where]:
            raise InputError(f"{self.paths[where]} changed while it was read")
        return pixels * np.uint8(255) if mode == "1" and not self.binary else pixels


def _read_npy(path: Path) -> ImageSet:
    dtype, shape, offset = arrays.npy_layout(path)
    if offset is None:
        return stack_of(arrays.load_npy(path), str(path))
    # An empty array of the shape tells what is wrong with it.
    arrays.check_images(np.broadcast_to(np.zeros((), dtype), shape), str(path))
    pictures = _NpyPictures(path, offset, arrays.stack_shape(shape))
    n, *sides = pictures.shape
    block = max(1, _SCAN_VALUES // int(np.prod(sides)))
    binary = sides[2] == 1 and all(
        pictures._read(begin, min(begin + block, n)).max() <= 1 for begin in range(0, n, block)
    )
    return ImageSet(pictures, binary, array_manifest(dtype, shape))


def _read_npz(path: Path) -> ImageSet:
    held, packed = arrays.load_npz(path)
    name = arrays.find_images(held, str(path))
    images = stack_of(held[name], f"{path}: array {name!r}")
    others = {other: array for other, array in held.items() if other != name}
    facts = {"kind": "npz", "name": name, "names": list(held), "packed": packed}
    return ImageSet(
        images.pictures, images.binary, images.manifest | facts, arrays.pack_arrays(others)
    )


def _read_folder(folder: Path) -> ImageSet:
    # A link to a folder is not followed; it counts as a file and is refused as no image.
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    named = sorted((path.relative_to(folder).as_posix(), path) for path in found)
    if not named:
        raise InputError(f"{folder} is empty")
    return _read_files("folder", [path for _, path in named], [name for name, _ in named])


def _read_files(kind: str, paths: Sequence[Path], names: Sequence[str]) -> ImageSet:
    if len(set(names)) != len(names):
        raise InputError("the same image file is given twice")
    for name in names if kind == "folder" else ():
        if not is_safe(name):
            raise InputError(f"{name!r} cannot be stored as a file name; rename it")
    modes, shapes, binary = [], [], True
    # All are read once before any is coded: what is wrong is told at once, not hours later.
    for path in paths:
        pixels, mode = read_picture(path)
        modes.append(mode)
        shapes.append(pixels.shape)
        binary &= mode == "1" or (mode == "L" and bool(pixels.max() <= 1))
    manifest = {
        "kind": kind,
        "names": _written_names(names, modes),
        "modes": modes,
        "shapes": [list(shape) for shape in shapes],
    }
    return ImageSet(_FilePictures(paths, modes, shapes, binary), binary, manifest)


def _written_names(names: Sequence[str], modes: Sequence[str]) -> list[str]:
    """Names to write under: unchanged where lossless, else as .png under a name not yet taken."""
    taken = {name.casefold() for name in names}
    written = []
    for name, mode in zip(names, modes, strict=True):
        path = PurePosixPath(name)
        if not is_lossless(path.suffix, mode):
            tries = [path.with_suffix(".png"), path.with_name(f"{path.name}.png")]
            tries += [path.with_name(f"{path.name}.{i}.png") for i in range(1, len(names) + 1)]
            name = next(str(new) for new in tries if str(new).casefold() not in taken)
            taken.add(name.casefold())
        written.append(name)
    return written
