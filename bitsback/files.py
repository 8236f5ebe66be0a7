"""Writing files and folders so that either the whole thing is there afterwards or nothing."""

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bitsback.errors import InputError


def atomic_write(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name beside its target, then rename it.

    Args:
        path: the file to write; an existing one is replaced only once all is written.
        content: the bytes, or a function that writes them to the open binary file it is given.

    Raises:
        InputError: the file cannot be written; nothing is left behind.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {path}: it is not a regular file; choose another name")
    temporary = _sibling(path)
    try:
        with temporary.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        _forget(temporary)
        if isinstance(error, OSError):
            raise _sentence(path, error) from error
        raise


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
    temporary = _sibling(path)
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except BaseException as error:
        _forget(temporary)
        if isinstance(error, OSError):
            raise _sentence(path, error) from error
        raise


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")


def _forget(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def _sentence(path: Path, error: OSError) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"no space left to write {path}")
    if not path.parent.is_dir():
        return InputError(f"cannot write {path}: there is no folder {path.parent}")
    return InputError(f"cannot write {path}: {error.strerror or error}")
