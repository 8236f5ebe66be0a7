"""The bitsback file, versions 4 to 8, field by field. All integers are little-endian and unsigned.

    offset    size  field
    0         8     magic: 89 42 42 4B 0D 0A 1A 0A ("\\x89BBK\\r\\n\\x1a\\n")
    8         4     n, the length of the header in bytes
    12        n     the header (below)
    12 + n    4     CRC-32 of all bytes before this field
    16 + n          the chunks (see bitsback.format.chunk), one after another

The header is also the index: a chunk begins where the sizes of those before it end.

    1       format version: 4; 5 where a chunk has no images, a sidecar has a recipe or a classical
            code leaves out what lies beyond the images' edges; 6 where the model computes in
            floats that round, so that the file decodes on one machine only; 7 where images come in
            any order; 8 of sets of files of which some may travel as they are
    1       1 where chunks have side information (see bitsback.side), which earlier programs take
        for an unknown version; otherwise 0
    8       first bytes of the SHA-256 of the model's weights
    4       first bytes of the SHA-256 of the frequency tables
    LEB128  seed of the dither
    1       length of the model's name in bytes, then the name in UTF-8
    1       from version 6 on: length of what the machine says of itself, then that in UTF-8; from
            version 7 on it may be empty
    then for each chunk:
    LEB128  images in it
    5       its size in bytes
    4       from version 8 on: image files in it that travel as they are

A decoder needs nothing but the header and a chunk's own bytes. So it reads any range of images
from the chunks that hold it, and damage to one chunk leaves the others whole.
"""

import functools
import itertools
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from bitsback.errors import ChecksumError, FormatError

from . import varint, version2

MAGIC = b"\x89BBK\r\n\x1a\n"
VERSION = 4  # 3 differs in the chunks alone (see bitsback.format.chunk)
RECIPES = 5  # a chunk may have no images, and sidecars hold recipes and bare files
MACHINES = 6  # the header names the machine that the file decodes on
ANY_ORDER = 7  # chunks may have their images in any order; the machine may be empty
NEWEST = COUNTS = 8  # the index counts image files that travel as they are

_LENGTH = struct.Struct("<I")
_VERSION = struct.Struct("<BB")
MODEL_BYTES, TABLES_BYTES = 8, 4
_SIZE, _FILES = 5, 4
_WHOSE = "the file's header"


@dataclass(frozen=True)
class ChunkEntry:
    """A chunk in the index.

    Args:
        images: that are coded in it.
        size: of the chunk, bytes.
        image_files: that travel as they are in it; 0 before version 8, which does not count them.
    """

    images: int
    size: int
    image_files: int = 0


@dataclass(frozen=True)
class Header:
    """What all chunks of a file share, and where they lie.

    Args:
        model: its name.
        model_sha256: the first 8 bytes, or in a file of version 2 all 32.
        tables_sha256: the first 4 bytes, or 8.
        seed: of the dither.
        machine: that the file decodes on, as its model says (see `LoadedModel`); empty for all.
        side_information: whether chunks have it.
    """

    model: str
    model_sha256: bytes
    tables_sha256: bytes
    seed: int
    chunks: tuple[ChunkEntry, ...]
    format_version: int = VERSION
    machine: str = ""
    side_information: bool = False

    @functools.cached_property
    def size(self) -> int:
        """Bytes before the first chunk; they do not depend on the chunks' sizes."""
        if self.format_version == version2.VERSION:
            return version2.header_size(self.model, len(self.chunks))
        return len(pack_header(self))

    @functools.cached_property
    def file_size(self) -> int:
        """Bytes of the whole file."""
        return self.size + sum(entry.size for entry in self.chunks)

    @functools.cached_property
    def images(self) -> int:
        """Images of all chunks."""
        return sum(entry.images for entry in self.chunks)

    @functools.cached_property
    def offsets(self) -> list[int]:
        """Where every chunk begins in the file."""
        sizes = (entry.size for entry in self.chunks)
        return list(itertools.accumulate(sizes, initial=self.size))[:-1]

    @functools.cached_property
    def firsts(self) -> list[int]:
        """Number of every chunk's first image."""
        counts = (entry.images for entry in self.chunks)
        return list(itertools.accumulate(counts, initial=0))[:-1]


def pack_header(header: Header) -> bytes:
    """Magic, header and checksum: all bytes before the first chunk.

    Raises:
        FormatError: a field does not fit its place in the format.
    """
    _check(header)
    name, machine = header.model.encode(), header.machine.encode()
    if max(len(name), len(machine)) > 255 or any(
        entry.size >= 1 << 8 * _SIZE for entry in header.chunks
    ):
        raise FormatError(
            "a header field does not fit the format: the model's name, the machine's, or a "
            "chunk's size"
        )
    body = (
        _VERSION.pack(header.format_version, header.side_information)
        + header.model_sha256
        + header.tables_sha256
    )
    body += varint.pack(header.seed) + bytes([len(name)]) + name
    if header.format_version >= MACHINES:
        body += bytes([len(machine)]) + machine
    for entry in header.chunks:
        body += varint.pack(entry.images) + entry.size.to_bytes(_SIZE, "little")
        if header.format_version >= COUNTS:
            body += entry.image_files.to_bytes(_FILES, "little")
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
    if len(body) < _VERSION.size:
        raise FormatError("the file's header is too short")
    version, features = _VERSION.unpack_from(body)
    if features > 1 or (features and version < VERSION):
        raise FormatError("the file has features that this bitsback does not know")
    if version == version2.VERSION:
        name, model_sha, tables_sha, seed, entries = version2.unpack_header(body)
        chunks = tuple(itertools.starmap(ChunkEntry, entries))
        return Header(name, model_sha, tables_sha, seed, chunks, version)
    if version in range(3, NEWEST + 1):
        return _unpack_header(body, version, features == 1)
    raise FormatError(
        f"the file has format version {version}, this bitsback reads versions "
        f"{version2.VERSION} to {NEWEST}"
    )


def _unpack_header(body: bytes, version: int, side_information: bool) -> Header:
    rest = memoryview(body)[_VERSION.size :]  # parts of it are no copies
    model_sha, rest = _split(rest, MODEL_BYTES)
    tables_sha, rest = _split(rest, TABLES_BYTES)
    seed, position = varint.unpack(rest, 0, _WHOSE)
    name, rest = _unpack_text(rest[position:])
    machine, rest = _unpack_text(rest) if version >= MACHINES else ("", rest)
    entries = []
    while rest:
        images, position = varint.unpack(rest, 0, _WHOSE)
        size, rest = _split(rest[position:], _SIZE)
        files, rest = _split(rest, _FILES) if version >= COUNTS else (b"", rest)
        numbers = (int.from_bytes(field, "little") for field in (size, files))
        entries.append(ChunkEntry(images, *numbers))
    digests = bytes(model_sha), bytes(tables_sha)
    return Header(name, *digests, seed, tuple(entries), version, machine, side_information)


def _unpack_text(rest: memoryview) -> tuple[str, memoryview]:
    length, rest = _split(rest, 1)
    text, rest = _split(rest, length[0])
    try:
        return bytes(text).decode(), rest
    except UnicodeDecodeError as error:
        raise FormatError("the file's header is malformed") from error


def _split(data: memoryview, size: int) -> tuple[memoryview, memoryview]:
    if len(data) < size:
        raise FormatError(f"{_WHOSE} is malformed")
    return data[:size], data[size:]


def _check(header: Header) -> None:
    old = header.format_version == version2.VERSION
    sizes = (32, 8) if old else (MODEL_BYTES, TABLES_BYTES)
    if (len(header.model_sha256), len(header.tables_sha256)) != sizes:
        raise FormatError("the header's checksums have wrong lengths")
    if not 0 <= header.seed < 2**64:
        raise FormatError("the header's seed is out of range")
    version = header.format_version
    if version < ANY_ORDER and (version == MACHINES) != bool(header.machine):
        raise FormatError("the header names a machine where it must not, or none where it must")
    least, most = (0 if version >= RECIPES else 1), (1 << 32 if version >= COUNTS else 1)
    if any(not 0 <= entry.image_files < most for entry in header.chunks):
        raise FormatError("the header counts image files where it must not, or too many")
    if not header.chunks or any(not least <= entry.images < 2**32 for entry in header.chunks):
        raise FormatError("the header has no chunks, or one without images or with too many")
