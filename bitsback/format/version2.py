"""Files of format version 2, which are still read: their headers and the heads of their chunks.

All numbers are little-endian and of fixed size. Behind magic and length a file's header has

    2   format version (2)
    32  SHA-256 of the model's weights
    8   first bytes of the SHA-256 of the frequency tables
    8   seed of the dither
    1   length of the model's name in bytes, then the name in UTF-8
    then for each chunk 4 bytes, its images, and 8 bytes, its size

and a chunk begins with

    2   n, the length of the rest of its head in bytes
    2   batch
    2   ramp
    2   heads
    8   payload_bytes
    8   classical_bytes
    4   filler_bytes
    16  BLAKE2b, 16-byte digest, of pixels and payload
    then for each segment 4 bytes, its tiles; 2, their height; 2, their width; 1, channels, and
    gray in the highest bit; 4, how many first tiles are in the classical code
"""

import itertools
import struct

from bitsback.errors import FormatError
from bitsback.tiles.segments import Segment

from .chunk_head import ChunkHead

VERSION = 2

# Model's name, its SHA-256, that of the tables, seed, and (images, size) of every chunk.
HeaderFields = tuple[str, bytes, bytes, int, list[tuple[int, int]]]

_HEADER = struct.Struct("<H32s8sQB")
_ENTRY = struct.Struct("<IQ")
_LENGTH = struct.Struct("<H")
_FIXED = struct.Struct("<HHHQQI16s")
_SEGMENT = struct.Struct("<IHHBI")


def unpack_header(body: bytes) -> HeaderFields:
    """The fields behind magic and length.

    Raises:
        FormatError: malformed.
    """
    try:
        _, model_sha, tables_sha, seed, length = _HEADER.unpack_from(body)
        position = _HEADER.size + length
        if len(body) < position:
            raise FormatError("the file's header is malformed")
        name = body[_HEADER.size : position].decode()
        chunks = list(_ENTRY.iter_unpack(body[position:]))
    except (struct.error, UnicodeDecodeError) as error:
        raise FormatError("the file's header is malformed") from error
    return name, model_sha, tables_sha, seed, chunks


def header_size(name: str, chunks: int) -> int:
    """Bytes before the first chunk: the header with magic, length and checksum."""
    return 16 + _HEADER.size + len(name.encode()) + chunks * _ENTRY.size


def unpack_head(body: bytes) -> tuple[ChunkHead, int]:
    """The fields of a chunk's head, and where its message begins.

    Raises:
        FormatError: malformed.
    """
    if len(body) < _LENGTH.size + _FIXED.size:
        raise FormatError("its message is too short")
    (size,) = _LENGTH.unpack_from(body)
    end = _LENGTH.size + size
    if size < _FIXED.size or (size - _FIXED.size) % _SEGMENT.size or end > len(body):
        raise FormatError("its head has a wrong length")
    batch, ramp, stack, *sizes, checksum = _FIXED.unpack_from(body, _LENGTH.size)
    rows = _SEGMENT.iter_unpack(body[_LENGTH.size + _FIXED.size : end])
    segments = tuple(itertools.starmap(_segment, rows))
    payload, classical, filler = sizes
    head = ChunkHead(segments, batch, ramp, stack, payload, classical, filler, (), checksum)
    return head, end


def _segment(count: int, height: int, width: int, packed: int, classical: int) -> Segment:
    return Segment(count, height, width, packed & 127, packed > 127, classical)
