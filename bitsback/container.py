"""The bitsback file, version 1, field by field. All integers are little-endian and unsigned.

    offset    size  field
    0         8     magic: 89 42 42 4B 0D 0A 1A 0A ("\\x89BBK\\r\\n\\x1a\\n")
    8         4     n, the length of the header in bytes
    12        n     the header (below)
    12 + n    4     CRC-32 of all bytes before this field
    16 + n    8     m, the length of the message in 32-bit words
    24 + n    4 m   the message: the flattened ANS stack (see bitsback.ans)
    24+n+4m   8     BLAKE2b, 8-byte digest, of m and the message (the 8 + 4 m bytes before)

This frame is the same in every version. The header of version 1:

    2   format version (1)
    32  SHA-256 of the model's weights
    8   first bytes of the SHA-256 of the frequency tables
    2   batch: tiles coded side by side
    2   heads of the ANS stack
    8   seed of the dither
    8   payload_bytes: bytes of the payload at the bottom of the stack
    8   classical_bytes: bytes of the classical prefix that lies above it
    4   filler_bytes: bytes of pseudo-random filler above that
    16  BLAKE2b, 16-byte digest, of all decoded tiles' bytes in coding order
    1   length of the model's name in bytes, then the name in UTF-8
    4   number of segments, then for each segment, in coding order:
        4   count: tiles in the segment
        2   height of a tile
        2   width of a tile
        1   channels in the low seven bits, gray in the highest
        4   classical: how many first tiles of it are in the classical prefix

The payload has a format of its own, in bitsback.payload.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import ChecksumError, FormatError
from bitsback.payload import pack_payload, unpack_payload

__all__ = [
    "MAGIC",
    "VERSION",
    "Header",
    "Segment",
    "pack",
    "pack_payload",
    "pixel_checksum",
    "unpack",
    "unpack_payload",
]

MAGIC = b"\x89BBK\r\n\x1a\n"
VERSION = 1

_FIXED = struct.Struct("<H32s8sHHQQQI16s")
_SEGMENT = struct.Struct("<IHHBI")
_FRAME = len(MAGIC) + 4 + 4 + 8 + 8
# No set that anyone codes shrinks more than this; it bounds what a forged header can allocate.
_MOST_PIXELS = 1 << 28
_MOST_SHRINKAGE = 1 << 15


@dataclass(frozen=True)
class Segment:
    """A run of equal tiles, coded one after another in the chain."""

    count: int
    height: int
    width: int
    channels: int
    gray: bool
    classical: int


@dataclass(frozen=True)
class Header:
    """What a decoder must know before it touches the message; sizes in bytes."""

    model: str
    model_sha256: bytes
    tables_sha256: bytes
    segments: tuple[Segment, ...]
    batch: int
    heads: int
    seed: int
    payload_bytes: int
    classical_bytes: int
    filler_bytes: int
    pixels_checksum: bytes
    format_version: int = VERSION


def pixel_checksum(tiles: Iterable[NDArray[np.uint8]]) -> bytes:
    """BLAKE2b-128 of the bytes of all arrays, one after another.

    Args:
        tiles: uint8 arrays of any shape, in coding order.

    Returns:
        16 bytes; how the tiles are divided among the arrays makes no difference.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in tiles:
        digest.update(np.ascontiguousarray(part, dtype=np.uint8).data)
    return digest.digest()


def pack(header: Header, words: NDArray[np.uint32]) -> bytes:
    """Write a file: frame, header and message, with their checksums.

    Args:
        header: its fields within the limits that `unpack` checks.
        words: the flattened message, (m,) uint32.

    Returns:
        The bytes of the file.

    Raises:
        FormatError: a field does not fit its place in the format.
    """
    _check_limits(header, 4 * words.size)
    name = header.model.encode()
    try:
        body = _FIXED.pack(
            header.format_version,
            header.model_sha256,
            header.tables_sha256,
            header.batch,
            header.heads,
            header.seed,
            header.payload_bytes,
            header.classical_bytes,
            header.filler_bytes,
            header.pixels_checksum,
        )
        body += struct.pack("<B", len(name)) + name + struct.pack("<I", len(header.segments))
        for s in header.segments:
            packed_channels = s.channels | s.gray << 7
            body += _SEGMENT.pack(s.count, s.height, s.width, packed_channels, s.classical)
    except struct.error as error:
        raise FormatError(f"a header field does not fit the format: {error}") from error
    head = MAGIC + struct.pack("<I", len(body)) + body
    head += struct.pack("<I", zlib.crc32(head))
    message = struct.pack("<Q", words.size) + words.astype("<u4").tobytes()
    return head + message + _message_digest(message)


def unpack(data: bytes) -> tuple[Header, NDArray[np.uint32]]:
    """Read a file, checking every size against its real length before using it.

    Args:
        data: the bytes of the file.

    Returns:
        The header and the message's words, (m,) uint32.

    Raises:
        FormatError: foreign, truncated, of another version, or with bytes after its end.
        ChecksumError: the header or the message was altered.
    """
    magic = data[: len(MAGIC)]
    if magic != MAGIC:
        if magic and MAGIC.startswith(magic):
            raise FormatError("the file is truncated: it ends inside the header")
        raise FormatError("not a bitsback file")
    if len(data) < _FRAME:
        raise FormatError("the file is truncated: it ends inside the header")
    (header_size,) = struct.unpack_from("<I", data, len(MAGIC))
    header_end = len(MAGIC) + 4 + header_size
    if header_size > len(data) - _FRAME:
        raise FormatError("the file is truncated: it ends inside the header")
    (crc,) = struct.unpack_from("<I", data, header_end)
    if zlib.crc32(data[:header_end]) != crc:
        raise ChecksumError("the file's header was altered: its checksum does not match")
    (size,) = struct.unpack_from("<Q", data, header_end + 4)
    start = header_end + 12
    found = len(data) - start - 8
    if 4 * size > found:
        raise FormatError(f"the file is truncated: {4 * size - found} bytes are missing")
    if 4 * size < found:
        raise FormatError(f"the file has {found - 4 * size} bytes after its end")
    if _message_digest(data[header_end + 4 : -8]) != data[-8:]:
        raise ChecksumError("the file's message was altered: its checksum does not match")
    header = _read_header(data[len(MAGIC) + 4 : header_end])
    _check_limits(header, 4 * size)
    return header, np.frombuffer(data, "<u4", size, start).astype(np.uint32)


def _message_digest(message: bytes) -> bytes:
    return hashlib.blake2b(message, digest_size=8).digest()


def _read_header(body: bytes) -> Header:
    if len(body) < 2:
        raise FormatError("the file's header is too short")
    (version,) = struct.unpack_from("<H", body)
    if version != VERSION:
        raise FormatError(
            f"the file has format version {version}, this bitsback reads version {VERSION}"
        )
    try:
        _, model_sha, tables_sha, batch, heads, seed, payload, classical, filler, pixels = (
            _FIXED.unpack_from(body)
        )
        position = _FIXED.size + 1 + body[_FIXED.size]
        model = body[_FIXED.size + 1 : position].decode()
        (count,) = struct.unpack_from("<I", body, position)
        rows = body[position + 4 :]
        if len(rows) != count * _SEGMENT.size:
            raise FormatError("the file's header has a wrong length")
        segments = tuple(
            Segment(n, height, width, channels & 127, channels > 127, first)
            for n, height, width, channels, first in _SEGMENT.iter_unpack(rows)
        )
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise FormatError("the file's header is malformed") from error
    return Header(
        model=model,
        model_sha256=model_sha,
        tables_sha256=tables_sha,
        segments=segments,
        batch=batch,
        heads=heads,
        seed=seed,
        payload_bytes=payload,
        classical_bytes=classical,
        filler_bytes=filler,
        pixels_checksum=pixels,
        format_version=version,
    )


def _check_limits(header: Header, message_bytes: int) -> None:
    sizes = (len(header.model_sha256), len(header.tables_sha256), len(header.pixels_checksum))
    if sizes != (32, 8, 16):
        raise FormatError("the header's checksums have wrong lengths")
    if header.batch < 1 or header.heads < 1 or not header.segments:
        raise FormatError("the header has no tiles, no heads or an empty batch")
    pixels = 0
    for s in header.segments:
        if min(s.count, s.height, s.width, s.channels) < 1 or s.channels > 127:
            raise FormatError("the header has a segment without pixels")
        if not 0 <= s.classical <= s.count:
            raise FormatError("the header has more classical tiles than tiles")
        pixels += s.count * s.height * s.width * s.channels
    if pixels > _MOST_PIXELS + _MOST_SHRINKAGE * message_bytes:
        raise FormatError("the header promises more pixels than a file can hold")
    # Initial bits are on the stack while tiles are coded and seldom outgrow the final message;
    # the factor leaves room for lucky payloads yet keeps a forged size from filling the memory.
    initial = header.payload_bytes + header.classical_bytes + header.filler_bytes
    if initial > 16 * message_bytes + (1 << 16):
        raise FormatError("the header promises more initial bits than the message can hold")
