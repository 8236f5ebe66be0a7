"""Tar archives of images, such as shards of WebDataset: where members lie, and writing them anew.

Written members have no owner and no time: the same content gives the same bytes.
"""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bitsback.errors import InputError
from bitsback.pictures import SUFFIXES


@dataclass(frozen=True)
class Member:
    """A file in a tar: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Scanned:
    """Members of a tar, in order.

    Args:
        images: those with an image's suffix.
        before: the others, before each image, and after the last one.
    """

    images: list[Member]
    before: list[list[Member]]


def scan(path: Path) -> Scanned:
    """Look through a tar; nothing of its members is read.

    Raises:
        InputError: it is damaged or compressed, has no images, or members that are no files.
    """
    found = Scanned([], [[]])
    try:
        with tarfile.open(path, "r:") as file:
            for each in file:
                if each.isdir():
                    continue
                if not each.isreg() or each.issparse():
                    raise InputError(f"{path}: {each.name} is a link or a special file")
                member = Member(each.name, each.offset_data, each.size)
                if PurePosixPath(each.name).suffix.lower() in SUFFIXES:
                    found.images.append(member)
                    found.before.append([])
                else:
                    found.before[-1].append(member)
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a tar without compression: {error}") from error
    if not found.images:
        raise InputError(f"{path} holds no images")
    return found


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
