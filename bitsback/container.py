"""The bitsback file, version 2, field by field. All integers are little-endian and unsigned.

    offset    size  field
    0         8     magic: 89 42 42 4B 0D 0A 1A 0A ("\\x89BBK\\r\\n\\x1a\\n")
    8         4     n, the length of the header in bytes
    12        n     the header (below)
    12 + n    4     CRC-32 of all bytes before this field
    16 + n          the chunks (see bitsback.chunk), one after another

The header is also the index: where a chunk begins follows from the sizes of those before it.

    2   format version (2)
    32  SHA-256 of the model's weights
    8   first bytes of the SHA-256 of the frequency tables
    8   seed of the dither
    1   length of the model's name in bytes, then the name in UTF-8
    then for each chunk:
    4   pictures in it
    8   its size in bytes

A chunk is decoded with nothing but the header and its own bytes, so that any range of pictures
can be had from the chunks that hold it, and damage to one chunk leaves the others whole.
"""

import itertools
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from bitsback.errors import ChecksumError, FormatError

MAGIC = b"\x89BBK\r\n\x1a\n"
VERSION = 2

_LENGTH = struct.Struct("<I")
_FIXED = struct.Struct("<H32s8sQB")
_ENTRY = struct.Struct("<IQ")


@dataclass(frozen=True)
class Entry:
    """A chunk in the index: its pictures, and its size in bytes."""

    pictures: int
    size: int


@dataclass(frozen=True)
class Header:
    """What all chunks of a file share, and where they lie."""

    model: str
    model_sha256: bytes
    tables_sha256: bytes
    seed: int
    chunks: tuple[Entry, ...]
    format_version: int = VERSION

    @property
    def size(self) -> int:
        """Bytes before the first chunk; they depend only on the name and the number of chunks."""
        body = _FIXED.size + len(self.model.encode()) + len(self.chunks) * _ENTRY.size
        return len(MAGIC) + _LENGTH.size + body + _LENGTH.size

    @property
    def file_size(self) -> int:
        """Bytes of the whole file."""
        return self.size + sum(entry.size for entry in self.chunks)

    @property
    def pictures(self) -> int:
        """Pictures of all chunks."""
        return sum(entry.pictures for entry in self.chunks)

    @property
    def offsets(self) -> list[int]:
        """Where every chunk begins in the file."""
        sizes = (entry.size for entry in self.chunks)
        return list(itertools.accumulate(sizes, initial=self.size))[:-1]

    @property
    def firsts(self) -> list[int]:
        """Number of every chunk's first picture."""
        counts = (entry.pictures for entry in self.chunks)
        return list(itertools.accumulate(counts, initial=0))[:-1]


def pack_header(header: Header) -> bytes:
    """Magic, header and checksum: all bytes before the first chunk.

    Raises:
        FormatError: a field does not fit its place in the format.
    """
    _check(header)
    name = header.model.encode()
    try:
        body = _FIXED.pack(
            header.format_version,
            header.model_sha256,
            header.tables_sha256,
            header.seed,
            len(name),
        )
        body += name
        body += b"".join(_ENTRY.pack(entry.pictures, entry.size) for entry in header.chunks)
    except struct.error as error:
        raise FormatError(f"a header field does not fit the format: {error}") from error
    head = MAGIC + _LENGTH.pack(len(body)) + body
    return head + _LENGTH.pack(zlib.crc32(head))


def read_header(file: BinaryIO, file_size: int) -> Header:
    """Read and check a file's header.

    Args:
        file: at its beginning; left at the first chunk.
        file_size: bytes of the whole file, which no promised size may make us read beyond.

    Raises:
        FormatError: foreign, of another version, or cut off inside the header.
        ChecksumError: the header was altered.
    """
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        if magic and MAGIC.startswith(magic):
            raise _cut()
        raise FormatError("not a bitsback file")
    length = file.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        raise _cut()
    (size,) = _LENGTH.unpack(length)
    if size > file_size - len(MAGIC) - 2 * _LENGTH.size:
        raise _cut()
    body = file.read(size)
    stored = file.read(_LENGTH.size)
    if len(stored) < _LENGTH.size:
        raise _cut()
    if zlib.crc32(magic + length + body) != _LENGTH.unpack(stored)[0]:
        raise ChecksumError("the file's header was altered: its checksum does not match")
    header = _read_body(body)
    _check(header)
    return header


def check_size(header: Header, file_size: int) -> None:
    """Raise FormatError unless the file ends where its last chunk does."""
    missing = header.file_size - file_size
    if missing > 0:
        raise FormatError(f"the file is truncated: {missing} bytes are missing")
    if missing < 0:
        raise FormatError(f"the file has {-missing} bytes after its end")


def _cut() -> FormatError:
    return FormatError("the file is truncated: it ends inside the header")


def _read_body(body: bytes) -> Header:
    if len(body) < 2:
        raise FormatError("the file's header is too short")
    (version,) = struct.unpack_from("<H", body)
    if version != VERSION:
        raise FormatError(
            f"the file has format version {version}, this bitsback reads version {VERSION}"
        )
    try:
        _, model_sha, tables_sha, seed, length = _FIXED.unpack_from(body)
        position = _FIXED.size + length
        model = body[_FIXED.size : position].decode()
        chunks = tuple(itertools.starmap(Entry, _ENTRY.iter_unpack(body[position:])))
    except (struct.error, UnicodeDecodeError) as error:
        raise FormatError("the file's header is malformed") from error
    if len(body) < position:
        raise FormatError("the file's header is malformed")
    return Header(model, model_sha, tables_sha, seed, chunks, version)


def _check(header: Header) -> None:
    if (len(header.model_sha256), len(header.tables_sha256)) != (32, 8):
        raise FormatError("the header's checksums have wrong lengths")
    if not header.chunks or any(entry.pictures < 1 for entry in header.chunks):
        raise FormatError("the header has no chunks, or a chunk without pictures")
