"""NumPy's .npy and .npz: sets of images read from them, and the files written again."""

import dataclasses
import io
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError, InputError
from bitsback.images.arrays import shapes
from bitsback.images.arrays.sources import Source, source_of
from bitsback.images.arrays.stored import ArraysManifest
from bitsback.images.image_set import ImageSet, from_array, from_ranges, from_sources
from bitsback.images.manifest import NpzManifest

Array = NDArray[Any]

_NAMES = ("x", "images", "image", "imgs", "pictures", "test", "test_images", "x_test", "data")
_LEVELS = (np.dtype(np.uint8), np.dtype(np.bool_), np.dtype("<u2"), np.dtype(">u2"))
# NumPy takes time for every item, also for one of no bytes, and a file can claim many.
_MOST_EMPTY = 1 << 20
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class NpyLayout:
    """Where the values of a .npy file lie.

    Args:
        dtype, shape: of the array.
        fortran: whether the values are in Fortran order.
        header: the bytes before the values.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    header: bytes


def read_npy(path: Path) -> ImageSet:
    """The images of a .npy file, each read when it is asked for; in Fortran order all at once.

    Raises:
        InputError: missing, damaged, or not an array of images.
    """
    layout = npy_layout(path)
    shapes.check(layout.dtype, layout.shape, str(path))
    if layout.fortran:
        source = dataclasses.replace(source_of(load_npy(path), str(path)), fortran=True)
    else:
        image = layout.shape[len(layout.shape) - len(shapes.axes_of(layout.shape)) :]
        read = partial(_read_range, path, layout, math.prod(image))
        source = Source(read, layout.dtype, layout.shape, str(path))
    plain = io.BytesIO()
    write_npy_header(plain, layout.dtype, layout.shape, source.fortran)
    if plain.getvalue() == layout.header:
        return from_ranges(source)
    return from_sources([source], ArraysManifest("npy", (), 0, 0, header=layout.header))


def _read_range(path: Path, layout: NpyLayout, size: int, begin: int, end: int) -> Array:
    """The values of images begin..end - 1, `size` each, of a .npy in C order.

    They are read, not mapped into memory: a mapping of the whole file takes address space, and if
    the file becomes shorter the process is killed.
    """
    count, place = (end - begin) * size, begin * size * layout.dtype.itemsize
    try:
        values = np.fromfile(path, layout.dtype, count, offset=len(layout.header) + place)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(values) != count:
        raise InputError(f"{path} became shorter while it was read")
    return values


def read_npz(path: Path) -> ImageSet:
    """The images of all arrays of images in an .npz file, and its other arrays; all in memory.

    Raises:
        InputError: missing, damaged, or without an array of images.
    """
    arrays, packed = load_npz(path)
    names = find_images(arrays, str(path))
    others = pack_arrays({name: array for name, array in arrays.items() if name not in names})
    found = [source_of(arrays[name], f"{path}: array {name!r}", name) for name in names]
    (name, *more), array = names, arrays[names[0]]
    if more or found[0].fortran or not shapes.is_plain(array.dtype, array.shape):
        manifest = ArraysManifest("npz", (), 0, 0, tuple(arrays), packed)
        return from_sources(found, manifest, others)
    images = from_array(array, found[0].title)
    plain = NpzManifest(array.dtype.name, array.shape, name, tuple(arrays), packed)
    return dataclasses.replace(images, manifest=plain, extra=others)


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


def npy_layout(path: Path) -> NpyLayout:
    """Where the values of a .npy file lie.

    Raises:
        InputError: missing, damaged, holding Python objects, or not as long as its header says.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = _HEADERS.get(version)
            if read is None:  # version 3.0: of names of fields beyond Latin-1
                array = load_npy(path)
                return NpyLayout(array.dtype, array.shape, False, b"")
            shape, fortran, dtype = read(file)
            offset = file.tell()
            file.seek(0)
            header = file.read(offset)
            size = path.stat().st_size - offset
    except InputError:
        raise
    except Exception as error:  # parsers of damaged files raise many kinds
        raise _unreadable(path, error) from error
    if min(shape, default=0) < 0:
        raise InputError(f"{path} cannot be read as arrays: its shape is {shape}")
    layout = NpyLayout(dtype, shape, fortran, header)
    if dtype.hasobject or dtype.itemsize == 0:
        return layout  # which no array of images is
    if size < math.prod(shape) * dtype.itemsize:
        lack = f"{math.prod(shape) * dtype.itemsize} bytes expected, {size} found"
        raise InputError(f"{path} cannot be read as arrays: {lack}")
    _check_end(path, size - math.prod(shape) * dtype.itemsize)
    return layout


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


def write_npy_header(
    file: BinaryIO,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    fortran: bool = False,
    header: bytes = b"",
) -> None:
    """Write the part of a .npy file before its values.

    Args:
        fortran: whether the values follow in Fortran order.
        header: the bytes to write, if NumPy would write others.

    Raises:
        FormatError: the bytes are of another array.
    """
    if header:
        _check_header(header, (shape, fortran, dtype))
        file.write(header)
        return
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": fortran, "shape": shape}
    )


def _check_header(header: bytes, wanted: tuple[tuple[int, ...], bool, np.dtype[Any]]) -> None:
    """Raise FormatError unless the bytes before a .npy's values are those of such an array."""
    file = io.BytesIO(header)
    try:
        version = np.lib.format.read_magic(file)
        found = _HEADERS[version](file)
    except Exception as error:  # parsers of damaged files raise many kinds
        raise FormatError("its .npy header is damaged") from error
    if found != wanted or file.tell() != len(header):
        raise FormatError("its .npy header is of another array")


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


def find_images(arrays: Mapping[str, Array], title: str) -> list[str]:
    """Names of the arrays that hold images.

    These are all arrays of uint8, bool or uint16 of three axes or more. Without any it is the
    first that is named as images are, else the largest of two axes.

    Args:
        arrays: at least one.
        title: what an error calls them.

    Returns:
        One name or more, in the order of `arrays`.

    Raises:
        InputError: no array looks like images.
    """
    images = [name for name, array in arrays.items() if _is_stack(array)]
    if images:
        return images
    for name in _NAMES:
        # `check` reports a wrong dtype under such a name: it is the user's mistake.
        if name in arrays and arrays[name].ndim >= 2:
            return [name]
    able = [
        name
        for name, array in arrays.items()
        if array.dtype in _LEVELS and array.ndim == 2 and array.size
    ]
    if not able:
        listed = ", ".join(f"{name} {a.dtype}{list(a.shape)}" for name, a in arrays.items())
        raise InputError(
            f"{title} holds no uint8, bool or uint16 array of images, only: {listed[:300]}"
        )
    return [max(able, key=lambda name: arrays[name].nbytes)]


def _is_stack(array: Array) -> bool:
    return array.dtype in _LEVELS and array.ndim >= 3 and array.size > 0


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
            arrays[name] = _array_of(archive.read(member))
            if arrays[name].dtype.itemsize == 0 and arrays[name].size > _MOST_EMPTY:
                raise FormatError(f"{member.filename} has too many items of no bytes")
    return arrays, packed


def _array_of(data: bytes) -> Array:
    """The array of a .npy file's bytes.

    NumPy would ask for as much memory as the header claims before it reads a value.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version in _HEADERS:
        shape, _, dtype = _HEADERS[version](file)
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or (not dtype.hasobject and size > len(data) - file.tell()):
            raise FormatError(f"{len(data) - file.tell()} bytes are no array of shape {shape}")
    file.seek(0)
    array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist")
    return InputError(f"{path} cannot be read as arrays: {error}")
