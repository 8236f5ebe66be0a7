"""`-`: standard input, which is kept in a temporary file since it is read twice, and output."""

import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bitsback.errors import BitsbackError, InputError

from .summary import size_on_disk

if TYPE_CHECKING:
    import numpy as np

    from bitsback.images.parts import Part

STANDARD = Path("-")
_NPY = b"\x93NUMPY"


@contextlib.contextmanager
def images_from(paths: list[Path]) -> Iterator[list[Path]]:
    """The paths of a command's images; of `-`, a file that holds standard input.

    Raises:
        InputError: `-` is not alone, or standard input holds neither a .npy nor a tar.
    """
    if STANDARD not in paths:
        yield paths
        return
    if len(paths) > 1:
        raise InputError("- is standard input: it must be given alone")
    from bitsback.sources import tar

    with _spooled("standard-input") as path:
        with path.open("rb") as file:
            is_npy = file.read(len(_NPY)) == _NPY
        if not is_npy and not tar.is_tar(path):
            raise InputError("standard input holds neither a .npy nor a tar")
        path = path.rename(path.with_suffix(".npy" if is_npy else ".tar"))
        with _called(path, "standard input"):
            yield [path]


@contextlib.contextmanager
def archive_from(path: Path) -> Iterator[Path]:
    """The path of a compressed file; of `-`, a file that holds standard input."""
    if path != STANDARD:
        yield path
        return
    with _spooled("standard-input") as spooled, _called(spooled, "standard input"):
        yield spooled


@contextlib.contextmanager
def _called(path: Path, name: str) -> Iterator[None]:
    """Within it, what is wrong with a file is told of another name than its path."""
    try:
        yield
    except BitsbackError as error:
        if str(path) not in str(error):
            raise
        raise type(error)(str(error).replace(str(path), name)) from error


@contextlib.contextmanager
def _spooled(name: str) -> Iterator[Path]:
    """Standard input as a file of this name, in a temporary folder."""
    if sys.stdin.isatty():
        raise InputError("standard input is a terminal: pipe a file into it")
    with tempfile.TemporaryDirectory(prefix="bitsback-") as folder:
        path = Path(folder, name)
        with path.open("xb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield path


@contextlib.contextmanager
def archive_to(output: Path) -> Iterator[BinaryIO]:
    """A file to write the output to; of `-`, one that is copied to standard output in the end.

    Raises:
        InputError: standard output is a terminal, or the output cannot be written.
    """
    from bitsback.sources import atomic_files

    if output != STANDARD:
        with atomic_files.atomic_file(output) as file:
            yield file
        return
    check_standard_output()
    with tempfile.TemporaryFile(prefix="bitsback-") as temporary:
        yield temporary
        temporary.seek(0)
        _send(temporary)


def write_images(
    parts: "Iterable[Part]", count: int, output: Path, tell: Callable[[str], object]
) -> int:
    """Write images as `writers.write_images` does; to `-` a .npy or a tar.

    Args:
        tell: called where a file comes back in other bytes than were promised.

    Returns:
        The size of what was written, in bytes.

    Raises:
        InputError: as there, or standard output cannot hold such images.
    """
    from bitsback.images.arrays.stored import ArraysManifest
    from bitsback.images.manifest import ArrayManifest, FilesManifest, NpzManifest
    from bitsback.images.parts import with_first
    from bitsback.sources import writers

    if output != STANDARD:
        writers.write_images(parts, count, output, tell)
        return size_on_disk([output])
    first, parts = with_first(parts)
    match first.manifest:
        case NpzManifest() | ArraysManifest(file="npz"):
            raise InputError("standard output takes a .npy or a tar: the file holds an .npz")
        case ArrayManifest() | ArraysManifest():
            suffix = ".npy"
        case FilesManifest(kind="tar"):
            suffix = ".tar"
        case _:
            raise InputError("standard output takes a .npy or a tar: the file holds image files")
    with tempfile.TemporaryDirectory(prefix="bitsback-") as folder:
        path = Path(folder, f"standard-output{suffix}")
        writers.write_images(parts, count, path, tell)
        with path.open("rb") as file:
            _send(file)
        return path.stat().st_size


def check_standard(output: Path, as_json: bool) -> None:
    """Raise InputError if standard output cannot take the output, or would take JSON, too."""
    if output != STANDARD:
        return
    if as_json:
        raise InputError("standard output cannot hold the file and JSON: name an output")
    check_standard_output()


def check_standard_output() -> None:
    """Raise InputError if standard output is a terminal, which shows no bytes."""
    if sys.stdout.isatty():
        raise InputError("standard output is a terminal: send it to a file or a program")


def write_array(array: "np.ndarray") -> None:
    """Write an array to standard output as a .npy."""
    import numpy as np

    np.save(sys.stdout.buffer, array, allow_pickle=False)
    sys.stdout.buffer.flush()


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output."""
    _send(io.BytesIO(data))


def _send(file: BinaryIO) -> None:
    shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
