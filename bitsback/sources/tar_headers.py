"""The bytes of a tar between its members' contents: their headers, with owner, time, mode and PAX.

They travel as they are, so that folders, links and every field come back. In a member's own header
what follows from its name and content is left out, as zeros, and filled in again: name, size,
checksum. Source: POSIX.1-2001, pax, "ustar interchange format".
"""

import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bitsback.errors import FormatError
from bitsback.images.safe_names import is_safe, is_safe_link

from .tree import PERMISSIONS, set_time

BLOCK = 512
_MOST_BYTES = 1 << 62  # a position beyond is no number of the system's
_DAMAGED = "a tar's header is damaged"
_NAME, _SIZE, _CHECKSUM = slice(0, 100), slice(124, 136), slice(148, 156)


class Gap(NamedTuple):
    """The bytes before a member's content, and its name and size."""

    header: bytes
    name: str
    size: int


def padding(size: int) -> int:
    """Bytes from the end of a content to the next block."""
    return -size % BLOCK


def thinned(gap: Gap) -> bytes:
    """The header without what `filled` gives back."""
    block = bytearray(gap.header[-BLOCK:])
    for field, value in _known(gap.name, gap.size):
        if block[field] == value:
            block[field] = bytes(len(value))
    if gap.header[-BLOCK:][_CHECKSUM] == _checksum(gap.header[-BLOCK:]):
        block[_CHECKSUM] = bytes(8)
    thin = gap.header[:-BLOCK] + bytes(block)
    return thin if filled(Gap(thin, gap.name, gap.size)) == gap.header else gap.header


def filled(gap: Gap) -> bytes:
    """The header with what is left out of a thinned one."""
    block = bytearray(gap.header[-BLOCK:])
    for field, value in _known(gap.name, gap.size):
        if not any(block[field]):
            block[field] = value
    if not any(block[_CHECKSUM]):
        block[_CHECKSUM] = _checksum(bytes(block))
    return gap.header[:-BLOCK] + bytes(block)


def restored(header: bytes, name: str, size: int) -> bytes:
    """The header of a member as it is written, with its size now.

    Raises:
        FormatError: it is not one of this member, or has others with unsafe names.
    """
    whole = filled(Gap(header, name, size))
    if len(whole) < BLOCK or len(whole) % BLOCK:
        raise FormatError(_DAMAGED)
    infos = _infos(whole)
    if infos and infos[-1].size != size:  # other bytes than those that went in
        block = bytearray(whole[-BLOCK:])
        block[_SIZE] = b"%011o\0" % size
        block[_CHECKSUM] = _checksum(bytes(block))
        whole = whole[:-BLOCK] + bytes(block)
        infos = _infos(whole)
    if not infos or (infos[-1].name, infos[-1].size) != (name, size) or not infos[-1].isreg():
        raise FormatError(_DAMAGED)
    check_others(infos[:-1])
    return whole


def stamp(path: Path, header: bytes, name: str, size: int) -> None:
    """Give a file the mode and the time of its member's header.

    Raises:
        FormatError: as `restored`.
    """
    info = _infos(restored(header, name, size))[-1]
    path.chmod(info.mode & PERMISSIONS)
    set_time(path, round(info.mtime * 1e9))


def tail(header: bytes) -> bytes:
    """What follows the last member.

    Raises:
        FormatError: it has members with contents, or with unsafe names.
    """
    check_others(_infos(header))
    return header


def check_others(infos: Iterable[tarfile.TarInfo]) -> None:
    """Raise FormatError unless members without content are folders and links inside the set."""
    for info in infos:
        if not is_inside(info):
            raise FormatError(f"the file stores an unsafe name, {info.name!r}; nothing was written")


def is_inside(info: tarfile.TarInfo) -> bool:
    """Whether a member is a folder or a link that does not lead out of its tar."""
    name = info.name.removeprefix("./")
    if info.issym():
        return is_safe(name) and is_safe_link(name, info.linkname)
    if info.islnk():
        return is_safe(name) and is_safe(info.linkname.removeprefix("./"))
    return info.isdir() and (name in ("", ".") or is_safe(name))


def members(file: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of an open tar, in order.

    Raises:
        ReadError: one has a size that no file has; below 0, tarfile would read it again for ever.
    """
    for info in file:
        if not 0 <= info.size < _MOST_BYTES:
            raise tarfile.ReadError(f"{info.name} has a size of {info.size} bytes")
        yield info


def _infos(header: bytes) -> list[tarfile.TarInfo]:
    infos = []
    try:
        with tarfile.open(fileobj=io.BytesIO(header), mode="r:", encoding="utf-8") as file:
            for info in members(file):
                infos.append(info)
    except (tarfile.TarError, ValueError, EOFError):
        pass  # the content of the last one is not here
    return infos


def without_times(info: tarfile.TarInfo) -> bytes:
    """The header of a member, without times."""
    info.mtime = 0
    times = ("mtime", "atime", "ctime")
    info.pax_headers = {key: info.pax_headers[key] for key in info.pax_headers if key not in times}
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def plain(name: str, size: int) -> bytes:
    """The header of a file of which nothing but its name is known."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _known(name: str, size: int) -> list[tuple[slice, bytes]]:
    """Fields that a name and a size give, where they fit."""
    coded = name.encode(errors="surrogateescape")
    fields = [(_NAME, coded.ljust(100, b"\0"))] if len(coded) <= 100 else []
    if size < 8**11:
        fields.append((_SIZE, b"%011o\0" % size))
    return fields


def _checksum(block: bytes) -> bytes:
    """The sum of a header's bytes, its own field taken as spaces."""
    return b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 8 * ord(" "))
