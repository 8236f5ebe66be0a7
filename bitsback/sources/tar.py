"""Tar archives of images, such as shards of WebDataset: where members lie, and writing them anew.

Written members have no owner and no time: the same content gives the same bytes.
"""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from bitsback.errors import InputError
from bitsback.images.image_set import ImageSet
from bitsback.keeping import rule
from bitsback.keeping.rule import Policy

from .folders import SourceFile, read_entries


@dataclass(frozen=True)
class Member:
    """A file in a tar: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


def read_tar(path: Path, policy: Policy = rule.DEFAULT) -> ImageSet:
    """The files in a tar, in order.

    Raises:
        InputError: damaged or compressed.
    """
    entries = [
        SourceFile(member.name, partial(read, path, member), member.size)
        for member in members(path)
    ]
    return read_entries("tar", entries, policy)


def members(path: Path) -> list[Member]:
    """The files in a tar, in order; nothing of their content is read.

    Raises:
        InputError: it is damaged or compressed, is several in one, or has members that are neither
            files nor folders.
    """
    files = []
    try:
        with tarfile.open(path, "r:") as file:
            for info in file:
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise InputError(f"{path}: {info.name} is a link or a special file")
                files.append(Member(info.name, info.offset_data, info.size))
            end = file.offset
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a tar without compression: {error}") from error
    _check_end(path, end)
    return files


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


def read(path: Path, member: Member) -> io.BytesIO:
    """The bytes of a member.

    Raises:
        InputError: the file ends within it.
    """
    with path.open("rb") as file:
        file.seek(member.offset)
        data = file.read(member.size)
    if len(data) != member.size:
        raise InputError(f"{path} is cut short in {member.name}")
    return io.BytesIO(data)


def write(file: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    """A tar of members, as they come."""
    with tarfile.open(fileobj=file, mode="w") as out:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
