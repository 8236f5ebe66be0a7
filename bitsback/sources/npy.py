"""NumPy's .npy and .npz: sets of images read from them, and the files written again."""

import dataclasses
import io
import math
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError, InputError
from bitsback.images.arrays import is_images, stack_shape
from bitsback.images.image_set import ImageSet, from_array, from_ranges
from bitsback.images.manifest import NpzManifest

Array = NDArray[Any]

_NAMES = ("x", "images", "image", "imgs", "pictures", "test", "test_images", "x_test", "data")
# NumPy takes time for every item, also for one of no bytes, and a file can claim many.
_MOST_EMPTY = 1 << 20


def read_npy(path: Path) -> ImageSet:
    """The images of a .npy file, each read when it is asked for.

    Raises:
        InputError: missing, damaged, or not an array of images.
    """
    dtype, shape, offset = npy_layout(path)
    if offset is None:
        return from_array(load_npy(path), str(path))
    # The values of an image; (H, W) and (H, W, 3) are one image. `from_ranges` refuses others.
    size = math.prod(stack_shape(shape)[1:]) if len(shape) in (2, 3, 4) else 1
    read = partial(_read_range, path, offset, size)
    # NumPy takes any byte but 0 of a bool for true.
    truths = (lambda begin, end: read(begin, end) != 0) if dtype == np.bool_ else read
    return from_ranges(truths, dtype, shape, str(path))


def _read_range(path: Path, offset: int, size: int, begin: int, end: int) -> NDArray[np.uint8]:
    """The values of images begin..end - 1, `size` each, of a .npy whose values begin at `offset`.

    They are read, not mapped into memory: a mapping of the whole file takes address space, and if
    the file becomes shorter the process is killed.
    """
    count = (end - begin) * size
    try:
        values = np.fromfile(path, np.uint8, count, offset=offset + begin * size)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(values) != count:
        raise InputError(f"{path} became shorter while it was read")
    return values


def read_npz(path: Path) -> ImageSet:
    """The images of an .npz file, and its other arrays; all is held in memory.

    Raises:
        InputError: missing, damaged, or without an array of images.
    """
    arrays, packed = load_npz(path)
    name = find_images(arrays, str(path))
    images = from_array(arrays[name], f"{path}: array {name!r}")
    others = {other: array for other, array in arrays.items() if other != name}
    array = arrays[name]
    manifest = NpzManifest(array.dtype.name, array.shape, name, tuple(arrays), packed)
    return dataclasses.replace(images, manifest=manifest, extra=pack_arrays(others))


def load_npy(path: Path) -> Array:
    """Read a .npy file.

    Raises:
        InputError: missing, damaged, or holding Python objects.
    """
    try:
        with path.open("rb") as file:
            array: Array = np.lib.format.read_array(file, allow_pickle=False)
            behind = len(file.read())
    except Exception as error:  # parsers of damaged files raise many kinds
        raise _unreadable(path, error) from error
    _check_end(path, behind)
    return array


def _check_end(path: Path, behind: int) -> None:
    """Raise InputError if there are bytes behind a file's array."""
    if behind:
        raise InputError(
            f"{path} holds {behind} bytes after its array, such as a second array: save each array "
            "as a file of its own"
        )


def npy_layout(path: Path) -> tuple[np.dtype[Any], tuple[int, ...], int | None]:
    """Where the values of a .npy file lie.

    Returns:
        dtype, shape, and the offset of the first value in bytes; None where the values are not in
        C order or of more than a byte each, so that the file must be read whole.

    Raises:
        InputError: missing, damaged, or shorter than its header says.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                array = load_npy(path)
                return array.dtype, array.shape, None
            shape, fortran, dtype = read(file)
            offset = file.tell()
            size = path.stat().st_size - offset
    except Exception as error:  # parsers of damaged files raise many kinds
        raise _unreadable(path, error) from error
    if dtype.itemsize != 1 or fortran:
        return dtype, shape, None
    if size < math.prod(shape):
        lack = f"{math.prod(shape)} values expected, {size} found"
        raise InputError(f"{path} cannot be read as arrays: {lack}")
    _check_end(path, size - math.prod(shape))
    return dtype, shape, offset


def load_npz(path: Path) -> tuple[dict[str, Array], bool]:
    """Read a .npz file.

    Returns:
        All arrays by name, in the file's order, and whether any is compressed.

    Raises:
        InputError: missing, damaged, or holding anything but arrays of plain numbers or text.
    """
    try:
        arrays, packed = _read_npz(path.read_bytes())
    except Exception as error:  # parsers of damaged files raise many kinds
        raise _unreadable(path, error) from error
    if not arrays:
        raise InputError(f"{path} holds no arrays")
    return arrays, packed


def write_npy_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Write the part of a .npy file before its values, which follow in C order."""
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )


def save_npz(
    file: BinaryIO, arrays: Mapping[str, Array | Callable[[BinaryIO], None]], packed: bool
) -> None:
    """Write a .npz file; the same arrays always give the same bytes.

    Args:
        file: open for writing.
        arrays: by name, any names, unlike with np.savez; or functions that write a .npy file.
        packed: whether to compress.
    """
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = method
            with archive.open(member, "w", force_zip64=True) as out:
                # The zip member is a binary file in all but its type.
                if callable(array):
                    array(cast(BinaryIO, out))
                else:
                    np.lib.format.write_array(out, array, allow_pickle=False)


def is_member_name(name: str) -> bool:
    """Whether an array in a .npz file can have this name."""
    try:
        return "\0" not in name and len(f"{name}.npy".encode()) < 1 << 16
    except UnicodeEncodeError:
        return False


def pack_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Serialise arrays as an uncompressed .npz; b"" for none."""
    if not arrays:
        return b""
    file = io.BytesIO()
    save_npz(file, arrays, packed=False)
    return file.getvalue()


def unpack_arrays(data: bytes) -> dict[str, Array]:
    """Reverse `pack_arrays`.

    Raises:
        FormatError: damaged.
    """
    if not data:
        return {}
    try:
        return _read_npz(data, bombs=False)[0]
    except Exception as error:  # parsers of damaged files raise many kinds
        raise FormatError("the extra arrays are damaged") from error


def find_images(arrays: Mapping[str, Array], title: str) -> str:
    """Name of the array that holds the images: by its name, else the largest that could.

    Args:
        arrays: at least one.
        title: what an error calls them.

    Returns:
        The name; the array under it has 2 to 4 dimensions.

    Raises:
        InputError: no array looks like images.
    """
    for name in _NAMES:
        # `check_images` reports a wrong dtype under such a name: it is the user's mistake.
        if name in arrays and arrays[name].ndim in (2, 3, 4):
            return name
    able = [name for name, array in arrays.items() if is_images(array)]
    if not able:
        listed = ", ".join(f"{name} {a.dtype}{list(a.shape)}" for name, a in arrays.items())
        raise InputError(f"{title} holds no uint8 or bool array of images, only: {listed[:300]}")
    return max(able, key=lambda name: arrays[name].nbytes)


def _read_npz(data: bytes, bombs: bool = True) -> tuple[dict[str, Array], bool]:
    """Arrays, and whether any is compressed; without `bombs` none is larger than the data."""
    arrays: dict[str, Array] = {}
    packed = False
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if not bombs and sum(member.file_size for member in archive.infolist()) > len(data):
            raise FormatError("its members are larger than it")
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename or name in arrays:
                raise FormatError(f"unexpected member {member.filename}")
            packed |= member.compress_type != zipfile.ZIP_STORED
            file = io.BytesIO(archive.read(member))
            arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
            if arrays[name].dtype.itemsize == 0 and arrays[name].size > _MOST_EMPTY:
                raise FormatError(f"{member.filename} has too many items of no bytes")
    return arrays, packed


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist")
    return InputError(f"{path} cannot be read as arrays: {error}")
