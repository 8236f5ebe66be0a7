"""Tar archives, such as shards of WebDataset: where their members lie.

What lies between the members' contents travels along (see `tar_headers`), so that the same contents
make the same tar.
"""

import io
import os
import tarfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from bitsback.errors import InputError
from bitsback.images.image_set import ImageSet
from bitsback.keeping import rule
from bitsback.keeping.rule import Policy
from bitsback.progress import Progress

from . import tar_headers
from .entries import SourceFile
from .folders import read_entries


def read_tar(
    path: Path, policy: Policy = rule.DEFAULT, progress: Progress | None = None
) -> ImageSet:
    """The files in a tar, in order; for progress see `folders.read_entries`.

    Raises:
        InputError: damaged or compressed, without files, several in one, or with members that are
            no files, folders or links inside it.
    """
    entries: list[SourceFile] = []
    gap, position = b"", 0
    try:
        with (
            path.open("rb") as raw,
            _Within(io.FileIO(path)) as within,
            tarfile.open(fileobj=within, mode="r:", encoding="utf-8") as file,
        ):
            for info in tar_headers.members(file):
                if info.issparse() or not (info.isreg() or info.isdir() or _is_link(info)):
                    raise InputError(f"{path}: {info.name} is a special file")
                if not info.isreg() and not tar_headers.is_inside(info):
                    raise InputError(f"{path}: {info.name} leads out of it")
                raw.seek(position)
                header = raw.read(info.offset_data - position)
                gap += header if policy.times else tar_headers.without_times(info)
                position = info.offset_data
                if not info.isreg():
                    continue
                thin = tar_headers.thinned(tar_headers.Gap(gap, info.name, info.size))
                opened = partial(read, path, info.name, info.offset_data, info.size)
                entries.append(SourceFile(info.name, opened, info.size, thin))
                raw.seek(position + info.size)
                spare = tar_headers.padding(info.size)
                if raw.read(spare).strip(b"\0"):
                    raise InputError(f"{path}: {info.name} has bytes behind its end")
                gap, position = b"", position + info.size + spare
            end = file.offset
            raw.seek(position)
            gap += raw.read()
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a tar without compression: {error}") from error
    _check_end(path, end)
    if not entries:
        raise InputError(f"{path} holds no files")
    return read_entries("tar", entries, policy, ending=gap, progress=progress)


class _Within(io.BufferedReader):
    """A file of which no more is asked than it holds, whatever a header claims.

    Python would have room for all that is asked before it reads a byte.
    """

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes."""
        if size is None or size < 0:
            return super().read(size)
        left = os.fstat(self.fileno()).st_size - self.tell()
        return super().read(max(0, min(size, left)))


def is_tar(path: Path) -> bool:
    """Whether a file begins as an uncompressed tar does."""
    try:
        with _Within(io.FileIO(path)) as within, tarfile.open(fileobj=within, mode="r:"):
            return True
    except (tarfile.TarError, ValueError, EOFError):
        return False


def _is_link(info: tarfile.TarInfo) -> bool:
    return info.issym() or info.islnk()


def _check_end(path: Path, end: int) -> None:
    """Raise InputError unless a tar holds nothing but zeros after its last member.

    tarfile takes a damaged header, and the zeros between two tars in one file, for the end.
    """
    with path.open("rb") as file:
        file.seek(end)
        while block := file.read(1 << 20):
            if block.count(0) != len(block):
                raise InputError(
                    f"{path} has a damaged header, or a second archive, {end} bytes from its "
                    "beginning: what follows would be lost"
                )


def read(path: Path, name: str, offset: int, size: int) -> io.BytesIO:
    """The bytes of a member.

    Raises:
        InputError: the file ends within it.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise InputError(f"{path} is cut short in {name}")
    return io.BytesIO(data)


def write(file: BinaryIO, members: Iterable[tuple[str, bytes, bytes | None]]) -> None:
    """A tar of members, as they come.

    Args:
        members: name, content and header of each; no header in files of versions before 5, no
            name of what follows the last member.
    """
    ended = False
    for name, content, header in members:
        if not name:
            file.write(tar_headers.tail(header or b""))
            ended = True
            continue
        whole = None if header is None else tar_headers.restored(header, name, len(content))
        file.write(tar_headers.plain(name, len(content)) if whole is None else whole)
        file.write(content)
        file.write(bytes(tar_headers.padding(len(content))))
    if not ended:
        file.write(bytes(tarfile.RECORDSIZE - file.tell() % tarfile.RECORDSIZE))
