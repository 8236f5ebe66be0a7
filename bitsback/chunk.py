"""A chunk of a file, field by field: pictures on a message of their own, decodable alone.

    offset    size  field
    0         2     n, the length of the chunk's head in bytes
    2         n     the head (below)
    2 + n     4 m   the message: the flattened ANS stack (see bitsback.ans)
    2+n+4m    8     BLAKE2b, 8-byte digest, of all bytes before this field

All integers are little-endian and unsigned. The head:

    2   batch: the most tiles coded side by side
    2   ramp: after n tiles, at most 1 + n // ramp are; 0 if the batch is whole from the first
    2   heads of the ANS stack
    8   payload_bytes: bytes of the payload at the bottom of the stack
    8   classical_bytes: bytes of the classical prefix that lies above it
    4   filler_bytes: bytes of pseudo-random filler above that
    16  BLAKE2b, 16-byte digest, of all decoded tiles' bytes in coding order, then of the payload
    then for each segment, in coding order:
    4   count: tiles in the segment
    2   height of a tile
    2   width of a tile
    1   channels in the low seven bits, gray in the highest
    4   classical: how many first tiles of it are in the classical prefix

The payload has a format of its own, in bitsback.payload.
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import ChecksumError, FormatError

# What a link's values may come to, so that a forged batch cannot fill the memory; a batch of one
# tile is always allowed.
MAX_LINK_VALUES = 1 << 20

_LENGTH = struct.Struct("<H")
_FIXED = struct.Struct("<HHHQQI16s")
_SEGMENT = struct.Struct("<IHHBI")
_DIGEST = 8
# Pixels that any chunk may have, and how many more for every byte of its message: a short file
# must not fill the memory. Where a code is smaller still, filler makes up for it.
_MOST_PIXELS = 1 << 26
_MOST_SHRINKAGE = 1 << 9


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
class ChunkHead:
    """What a decoder must know before it touches the message; sizes in bytes."""

    segments: tuple[Segment, ...]
    batch: int
    ramp: int
    heads: int
    payload_bytes: int
    classical_bytes: int
    filler_bytes: int
    pixels_checksum: bytes


def pixel_checksum(tiles: Iterable[NDArray[np.uint8]], payload: bytes) -> bytes:
    """BLAKE2b-128 of the bytes of all arrays, one after another, and of the payload.

    Args:
        tiles: uint8 arrays of any shape, in coding order.
        payload: it says how tiles make pictures.

    Returns:
        16 bytes; how the tiles are divided among the arrays makes no difference.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in tiles:
        digest.update(np.ascontiguousarray(part, dtype=np.uint8).data)
    digest.update(payload)
    return digest.digest()


def link_values(batch: int, segment: Segment) -> int:
    """Values that a link of `batch` tiles has in the network: gray tiles are taken as colour."""
    values = segment.height * segment.width * segment.channels * (3 if segment.gray else 1)
    return min(batch, segment.count) * values


def fewest_bytes(segments: Iterable[Segment]) -> int:
    """Bytes that the message of a chunk with so many pixels must have."""
    pixels = sum(s.count * s.height * s.width * s.channels for s in segments)
    return max(0, -(-(pixels - _MOST_PIXELS) // _MOST_SHRINKAGE))


def pack_chunk(head: ChunkHead, words: NDArray[np.uint32]) -> bytes:
    """The bytes of a chunk.

    Args:
        head: its fields within the limits that `unpack_chunk` checks.
        words: the flattened message, (m,) uint32.

    Raises:
        FormatError: a field does not fit its place in the format.
    """
    _check_limits(head, 4 * words.size)
    try:
        body = _FIXED.pack(
            head.batch,
            head.ramp,
            head.heads,
            head.payload_bytes,
            head.classical_bytes,
            head.filler_bytes,
            head.pixels_checksum,
        )
        for s in head.segments:
            packed_channels = s.channels | s.gray << 7
            body += _SEGMENT.pack(s.count, s.height, s.width, packed_channels, s.classical)
        data = _LENGTH.pack(len(body)) + body + words.astype("<u4").tobytes()
    except struct.error as error:
        raise FormatError(f"a field of a chunk does not fit the format: {error}") from error
    return data + _digest(data)


def unpack_chunk(data: bytes) -> tuple[ChunkHead, NDArray[np.uint32]]:
    """Inverse of `pack_chunk`; checks every size against the real length before using it.

    Raises:
        ChecksumError: the chunk was altered.
        FormatError: it is not one, or its fields promise what it cannot hold.
    """
    if len(data) < _LENGTH.size + _FIXED.size + _DIGEST:
        raise FormatError("its message is too short")
    if _digest(data[:-_DIGEST]) != data[-_DIGEST:]:
        raise ChecksumError("its message was altered: the checksum does not match")
    (size,) = _LENGTH.unpack_from(data)
    start = _LENGTH.size + size
    rest = len(data) - _DIGEST - start
    if rest < 0 or rest % 4 or size < _FIXED.size or (size - _FIXED.size) % _SEGMENT.size:
        raise FormatError("its head has a wrong length")
    fixed = _FIXED.unpack_from(data, _LENGTH.size)
    segments = tuple(
        Segment(n, height, width, channels & 127, channels > 127, first)
        for n, height, width, channels, first in _SEGMENT.iter_unpack(
            data[_LENGTH.size + _FIXED.size : start]
        )
    )
    head = ChunkHead(segments, *fixed)
    _check_limits(head, rest)
    return head, np.frombuffer(data, "<u4", rest // 4, start).astype(np.uint32)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def _check_limits(head: ChunkHead, message_bytes: int) -> None:
    if len(head.pixels_checksum) != 16:
        raise FormatError("its checksum has a wrong length")
    if head.batch < 1 or head.ramp < 0 or head.heads < 1 or not head.segments:
        raise FormatError("it has no tiles, no heads or an empty batch")
    for s in head.segments:
        if min(s.count, s.height, s.width, s.channels) < 1 or s.channels > 127:
            raise FormatError("it has a segment without pixels")
        if not 0 <= s.classical <= s.count:
            raise FormatError("it has more classical tiles than tiles")
        if head.batch > 1 and link_values(head.batch, s) > MAX_LINK_VALUES:
            raise FormatError("it has more tiles side by side than are allowed")
    if message_bytes < fewest_bytes(head.segments):
        raise FormatError("it promises more pixels than it can hold")
    # Initial bits are on the stack while tiles are coded and seldom outgrow the final message;
    # the factor leaves room for lucky payloads yet keeps a forged size from filling the memory.
    initial = head.payload_bytes + head.classical_bytes + head.filler_bytes
    if initial > 16 * message_bytes + (1 << 16):
        raise FormatError("it promises more initial bits than its message can hold")
