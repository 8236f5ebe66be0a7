"""What goes in and comes out: arrays, image files and folders as a set of pictures.

The manifest is a JSON object with a "kind" and what rebuilds that kind:

    array   dtype ("uint8" or "bool"), shape
    npz     the same, and name (of the image array), names (all, in order), packed (compressed)
    file    names, modes ("L", "RGB" or "1") and shapes (H, W, C), lists of length one
    folder  the same for every file; names are relative, with forward slashes

A picture's pixels are (H, W, C) uint8 with C 1 or 3. Where the whole set is binary they are 0 and
1, otherwise a 1-bit file among others has 0 and 255. Palette images become RGB.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback import arrays as npz
from bitsback.errors import FormatError, InputError
from bitsback.files import atomic_folder, atomic_write
from bitsback.pictures import check_suffix, is_lossless, read_picture, write_picture

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageSet:
    """Pictures, and what is needed to write them as they were.

    Args:
        pictures: (H, W, C) uint8 each, C 1 or 3.
        binary: whether all have one channel that holds only 0 and 1.
        manifest: how to rebuild the source (see the module).
        extra: the other arrays of an .npz, serialised; b"" if none.
    """

    pictures: list[Picture]
    binary: bool
    manifest: dict[str, Any]
    extra: bytes = b""


def from_array(array: NDArray[Any]) -> ImageSet:
    """Take an array as pictures.

    Args:
        array: uint8 or bool; (N, H, W), (N, H, W, 1), (N, H, W, 3), or one picture as (H, W) or
            (H, W, 3).

    Returns:
        The set; `to_array` reverses it.

    Raises:
        InputError: another dtype or shape, or no pixels.
    """
    return _from_array(np.asarray(array), "the array")


def to_array(images: ImageSet) -> NDArray[Any]:
    """The array that an ImageSet was read from; for files, their pictures stacked.

    Returns:
        The array in its dtype and shape; for files (N, H, W, C) uint8.

    Raises:
        InputError: files with pictures of different sizes.
        FormatError: the manifest does not describe these pictures.
    """
    _check_manifest(images)
    manifest = images.manifest
    if len({picture.shape for picture in images.pictures}) != 1:
        raise InputError("pictures of different sizes make no single array; decompress to a folder")
    stack = np.stack(images.pictures)
    if manifest["kind"] in ("file", "folder"):
        return stack
    return stack.reshape([int(side) for side in manifest["shape"]]).astype(manifest["dtype"])


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
        return _from_array(npz.load_npy(path), str(path))
    if path.suffix == ".npz":
        return _read_npz(path)
    if len(paths) == 1:
        return _read_files("file", [path], [path.name])
    parent = os.path.commonpath([path.absolute().parent for path in paths])
    names = [path.absolute().relative_to(parent).as_posix() for path in paths]
    return _read_files("folder", paths, names)


def first_pictures(images: ImageSet, count: int) -> ImageSet:
    """The first `count` pictures as a set of their own, without the other arrays of an .npz."""
    pictures = images.pictures[:count]
    manifest = dict(images.manifest)
    if manifest["kind"] in ("array", "npz"):
        shape = (len(pictures), *pictures[0].shape)
        manifest = {"kind": "array", "dtype": manifest["dtype"], "shape": list(shape)}
    else:
        for field in ("names", "modes", "shapes"):
            manifest[field] = manifest[field][:count]
    return ImageSet(pictures, images.binary, manifest)


def picture_shapes(manifest: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Shapes (H, W, C) of the pictures that a manifest describes, in order.

    Raises:
        FormatError: the manifest is malformed.
    """
    try:
        if manifest["kind"] in ("array", "npz"):
            n, height, width, channels = npz.stack_shape([int(side) for side in manifest["shape"]])
            return [(height, width, channels)] * n
        return [(int(height), int(width), int(c)) for height, width, c in manifest["shapes"]]
    except (KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise FormatError("the manifest does not say the pictures' shapes") from error


def write_images(images: ImageSet, output: Path) -> None:
    """Write OUTPUT: what `read_images` read, with the same names, dtypes, modes and pixels.

    Args:
        images: with the manifest of what was read.
        output: a .npy, .npz, image file or folder, as the manifest's kind asks.

    Raises:
        InputError: output is of another kind, exists, or cannot be written.
        FormatError: the manifest does not describe these pictures, or has unsafe names.
    """
    _check_manifest(images)
    manifest = images.manifest
    match manifest["kind"]:
        case "array":
            _want_suffix(output, ".npy", "an array")
            array = to_array(images)
            atomic_write(output, lambda file: np.lib.format.write_array(file, array))
        case "npz":
            _want_suffix(output, ".npz", "several arrays")
            held = {**npz.unpack_arrays(images.extra), manifest["name"]: to_array(images)}
            if sorted(held) != sorted(manifest["names"]):
                raise FormatError("the manifest does not name the arrays that the file holds")
            ordered = {name: held[name] for name in manifest["names"]}
            packed = bool(manifest["packed"])
            atomic_write(output, lambda file: npz.save_npz(file, ordered, packed))
        case "file":
            if output.is_dir():
                raise InputError(f"{output} is a folder; the file holds one picture, name it *.png")
            mode = manifest["modes"][0]
            check_suffix(output.suffix, mode)
            pixels = images.pictures[0]
            atomic_write(output, lambda file: write_picture(file, pixels, mode, output.suffix))
        case _:
            _write_folder(images, output)


def _from_array(array: NDArray[Any], source: str) -> ImageSet:
    npz.check_images(array, source)
    stack = array.astype(np.uint8, copy=False).reshape(npz.stack_shape(array.shape))
    binary = stack.shape[3] == 1 and bool(stack.max() <= 1)
    manifest = {"kind": "array", "dtype": array.dtype.name, "shape": list(array.shape)}
    return ImageSet(list(stack), binary, manifest)


def _read_npz(path: Path) -> ImageSet:
    arrays, packed = npz.load_npz(path)
    name = npz.find_images(arrays, str(path))
    images = _from_array(arrays[name], f"{path}: array {name!r}")
    others = {other: array for other, array in arrays.items() if other != name}
    facts = {"kind": "npz", "name": name, "names": list(arrays), "packed": packed}
    return ImageSet(
        images.pictures, images.binary, images.manifest | facts, npz.pack_arrays(others)
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
        if not _is_safe(name):
            raise InputError(f"{name!r} cannot be stored as a file name; rename it")
    read = [read_picture(path) for path in paths]
    modes = [mode for _, mode in read]
    binary = all(mode == "1" or (mode == "L" and pixels.max() <= 1) for pixels, mode in read)
    pictures = [p * np.uint8(255) if mode == "1" and not binary else p for p, mode in read]
    manifest = {
        "kind": kind,
        "names": _written_names(names, modes),
        "modes": modes,
        "shapes": [list(picture.shape) for picture in pictures],
    }
    return ImageSet(pictures, binary, manifest)


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


def _write_folder(images: ImageSet, output: Path) -> None:
    manifest = images.manifest
    parts = [_safe_parts(name) for name in manifest["names"]]
    with atomic_folder(output) as folder:
        for path, mode, pixels in zip(parts, manifest["modes"], images.pictures, strict=True):
            target = folder.joinpath(*path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                write_picture(file, pixels, mode, target.suffix)


def _safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a stored name, none of which can lead out of the output folder."""
    if not _is_safe(name):
        raise FormatError(f"the file stores an unsafe name, {name!r}; nothing was written")
    return tuple(name.split("/"))


def _is_safe(name: str) -> bool:
    # Backslashes and drive letters matter on Windows only, but a file is decoded anywhere.
    return not any(
        part in ("", ".", "..") or "\\" in part or "\0" in part or re.match("[A-Za-z]:", part)
        for part in name.split("/")
    )


def _want_suffix(output: Path, suffix: str, what: str) -> None:
    if output.suffix != suffix:
        raise InputError(f"the file holds {what}; name the output *{suffix}, not {output.name}")


def _check_manifest(images: ImageSet) -> None:
    """Raise FormatError unless the manifest has its kind's fields and fits the pictures."""
    manifest = images.manifest
    kind = manifest.get("kind")
    good = kind in ("array", "npz", "file", "folder")
    if kind in ("array", "npz"):
        good = manifest.get("dtype") in ("uint8", "bool")
    if kind == "npz":
        good &= isinstance(manifest.get("name"), str) and _is_texts(manifest.get("names"))
        good &= isinstance(manifest.get("packed"), bool)
    if kind in ("file", "folder"):
        names: Any = manifest.get("names")
        modes: Any = manifest.get("modes")
        good = _is_texts(names) and _is_texts(modes) and len(names) == len(modes)
        good = good and len(names) == len(images.pictures) and set(modes) <= {"1", "L", "RGB"}
    if not good or picture_shapes(manifest) != [picture.shape for picture in images.pictures]:
        raise FormatError("the manifest does not describe the pictures in the file")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
