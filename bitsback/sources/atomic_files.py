"""Writing files and folders so that either the whole thing is there afterwards or nothing.

What is written has a temporary name, `.NAME.xxxxxxxx.part` beside its target, until it is
complete. A process that is killed leaves it; the next one that writes the same target removes it.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bitsback.errors import InputError

try:
    import fcntl
except ImportError:  # Windows, where nobody can remove a file that another has open
    fcntl = None  # type: ignore[assignment]


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or 'error').lower()}") from error


def check_apart(output: Path, inputs: Sequence[Path]) -> None:
    """Raise InputError if an output is one of the inputs, or would lie in one that is a folder."""
    real = Path(os.path.realpath(output))
    for path in inputs:
        if is_same(output, path):
            raise InputError(f"{output} is an input, which it would replace: choose another name")
        if path.is_dir() and Path(os.path.realpath(path)) in real.parents:
            raise InputError(f"{output} lies in the input {path}: choose a place outside it")


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths name the same file or folder, which need not exist."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file under a temporary name beside its target, then rename it.

    Args:
        path: the file to write; an existing one is replaced only once all is written.

    Yields:
        The temporary file, open for writing.

    Raises:
        InputError: the file cannot be written; nothing is left behind.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {path}: it is not a regular file; choose another name")
    with _temporary(path) as temporary:
        with temporary.open("x+b") as file:
            _lock(file.fileno())
            if path.exists():  # what was private stays so, from its first byte on
                os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush(path.parent)


def atomic_write(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """`atomic_file` for bytes, or for a function that writes to the file it is given."""
    with atomic_file(path) as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name beside its target, then rename it.

    Args:
        path: the folder to make; it must not exist, or be empty.

    Yields:
        The temporary folder to write into.

    Raises:
        InputError: the folder exists and is not empty, or cannot be written.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"cannot write {path}: it exists and is not an empty folder")
    with _temporary(path) as temporary:
        temporary.mkdir()
        with _locked(temporary):
            yield temporary
            for each in (*temporary.rglob("*"), temporary):
                if not each.is_symlink():
                    _flush(each)
            # Elsewhere a folder takes an empty one's name at once, whatever happens in between.
            if os.name == "nt" and path.exists():
                path.rmdir()
            temporary.rename(path)
            _flush(path.parent)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside `path` that is free; what lies under it is removed if the block fails."""
    temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        _sweep(path)
        yield temporary
    except BaseException as error:
        _forget(temporary)
        if isinstance(error, OSError):
            raise _sentence(path, error) from error
        raise


def _sweep(path: Path) -> None:
    """Remove what killed processes left of this target; a living one holds a lock."""
    hexes = "[0-9a-f]" * 8
    escaped = "".join(f"[{c}]" if c in "*?[" else c for c in path.name[:40])
    for left in path.parent.glob(f".{escaped}.{hexes}.part"):
        # Opening a FIFO would wait for someone to write into it.
        with suppress(OSError):
            if stat.S_IFMT(left.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                with _locked(left):
                    _forget(left)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder.

    Raises:
        OSError: another process holds it.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _flush(path: Path) -> None:
    """Have a file or folder on the disk, not in the system's memory alone."""
    if os.name == "nt":  # where a folder cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot flush folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _forget(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def _sentence(path: Path, error: OSError) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"no space left to write {path}")
    if error.errno == errno.EFBIG:
        return InputError(f"cannot write {path}: it would be larger than a file may be")
    if not path.parent.is_dir():
        return InputError(f"cannot write {path}: there is no folder {path.parent}")
    return InputError(f"cannot write {path}: {error.strerror or error}")
