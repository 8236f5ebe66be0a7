"""A chunk of a file, field by field: images on their own message, decodable alone.

    the head (below), n bytes
    the message: the flattened ANS stack (see bitsback.ans), 4 m bytes
    BLAKE2b, 8-byte digest, of all bytes before this field

The head; numbers are LEB128 unless a size is given:

    batch: the most tiles coded side by side
    ramp: after n tiles, at most 1 + n // ramp are; 0 if batches are full from the first
    heads of the ANS stack
    payload_bytes: bytes of the payload at the bottom of the stack
    classical_bytes: bytes of tiles in a classical code, which lie above it
    filler_bytes: bytes of pseudo-random filler above that
    n, then n numbers: batches of the chain that code the latents of 0, 1, 2, ... groups; they come
        first, on one head
    BLAKE2b, 8-byte digest, of all decoded tiles' bytes in coding order, then of the payload
    the number of segments, then for each segment, in coding order:
        count: tiles in the segment
        height of a tile
        width of a tile
        channels in the low five bits of 1 byte; in the next ones, from the lowest: whether its
            batches have side information (see bitsback.side), any order, gray
        classical: how many first tiles of it are in the classical code
        n, then n times three numbers: so many images, one after another, of this height and
            width; n is 0 where all images fill their tiles (and absent from files of version 3)

A chunk without segments holds files alone (from version 5 on). The payload has a format of its own,
in bitsback.format.payload.
"""

import hashlib
import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import ChecksumError, FormatError
from bitsback.tiles.padding import ImageRun
from bitsback.tiles.segments import Segment

from . import varint, version2
from .chunk_head import ChunkHead, check_limits

CHECKSUM = 8
BARE_CHUNKS = 5  # the first version of which a chunk may be without tiles
ANY_ORDER = 7  # the first version of which tiles may come in any order (see bitsback.chunks.order)
_DIGEST = 8
_WHOSE = "its head"


def pixel_checksum(
    tiles: Iterable[NDArray[np.uint8]], payload: bytes, size: int = CHECKSUM
) -> bytes:
    """BLAKE2b of the bytes of all arrays, one after another, and of the payload.

    Args:
        tiles: uint8 arrays of any shape, in coding order.
        payload: it says how tiles make images.
        size: of the digest, bytes.

    Returns:
        `size` bytes; how the tiles are divided among the arrays makes no difference.
    """
    digest = hashlib.blake2b(digest_size=size)
    for part in tiles:
        digest.update(np.ascontiguousarray(part, dtype=np.uint8).data)
    digest.update(payload)
    return digest.digest()


def pack_chunk(head: ChunkHead, words: NDArray[np.uint32]) -> bytes:
    """The bytes of a chunk.

    Args:
        head: its fields within the limits that `unpack_chunk` checks.
        words: the flattened message, (m,) uint32.

    Raises:
        FormatError: a field does not fit its place in the format.
    """
    check_limits(head, 4 * words.size)
    if len(head.pixels_checksum) != CHECKSUM:
        raise FormatError("its checksum has a wrong length")
    numbers = head.batch, head.ramp, head.heads
    sizes = head.payload_bytes, head.classical_bytes, head.filler_bytes
    data = b"".join(map(varint.pack, (*numbers, *sizes)))
    data += b"".join(map(varint.pack, (len(head.partial), *head.partial)))
    data += head.pixels_checksum + varint.pack(len(head.segments))
    for s in head.segments:
        data += b"".join(map(varint.pack, (s.count, s.height, s.width)))
        data += bytes([s.channels | s.corrected << 5 | s.any_order << 6 | s.gray << 7])
        fields = itertools.chain((s.classical, len(s.images)), *s.images)
        data += b"".join(map(varint.pack, fields))
    data += words.astype("<u4").tobytes()
    return data + _digest(data)


def unpack_chunk(data: bytes, version: int) -> tuple[ChunkHead, NDArray[np.uint32]]:
    """Inverse of `pack_chunk`; checks every size against the real length before using it.

    Args:
        version: of the file's format.

    Raises:
        ChecksumError: the chunk was altered.
        FormatError: it is not one, or its fields promise what it cannot hold.
    """
    if len(data) <= _DIGEST:
        raise FormatError("its message is too short")
    body = data[:-_DIGEST]
    if _digest(body) != data[-_DIGEST:]:
        raise ChecksumError("its message was altered: the checksum does not match")
    old = version == version2.VERSION
    head, start = version2.unpack_head(body) if old else _unpack_head(body, version)
    rest = len(body) - start
    if rest < 0 or rest % 4:
        raise FormatError("its head has a wrong length")
    check_limits(head, rest)
    if not head.segments and version < BARE_CHUNKS:
        raise FormatError("it has no tiles")
    return head, np.frombuffer(body, "<u4", rest // 4, start).astype(np.uint32)


def _unpack_head(body: bytes, version: int) -> tuple[ChunkHead, int]:
    """The head's fields, and where the message begins."""
    (batch, ramp, heads), position = _numbers(body, 0, 3)
    (payload, classical, filler), position = _numbers(body, position, 3)
    (count,), position = _numbers(body, position, 1)
    partial, position = _numbers(body, position, count)
    checksum, position = _bytes(body, position, CHECKSUM)
    (count,), position = _numbers(body, position, 1)
    segments = []
    for _ in range(count):  # ends at the latest where the bytes do
        (tiles, height, width), position = _numbers(body, position, 3)
        packed, position = _bytes(body, position, 1)
        (first,), position = _numbers(body, position, 1)
        channels, gray = packed[0] & 31, packed[0] > 127
        corrected, any_order = bool(packed[0] & 32), bool(packed[0] & 64)
        images, position = ([], position) if version == 3 else _images(body, position)
        if any_order and version < ANY_ORDER:
            raise FormatError("it has tiles in any order, which its version does not know")
        sizes = tiles, height, width, channels
        segments.append(Segment(*sizes, gray, first, tuple(images), any_order, corrected))
    head = ChunkHead(
        tuple(segments),
        batch,
        ramp,
        heads,
        payload_bytes=payload,
        classical_bytes=classical,
        filler_bytes=filler,
        partial=tuple(partial),
        pixels_checksum=checksum,
    )
    return head, position


def _images(body: bytes, position: int) -> tuple[list[ImageRun], int]:
    (count,), position = _numbers(body, position, 1)
    runs = []
    for _ in range(count):  # ends at the latest where the bytes do
        (images, height, width), position = _numbers(body, position, 3)
        runs.append((images, height, width))
    return runs, position


def _numbers(body: bytes, position: int, count: int) -> tuple[list[int], int]:
    numbers = []
    for _ in range(count):  # ends at the latest where the bytes do
        number, position = varint.unpack(body, position, _WHOSE)
        numbers.append(number)
    return numbers, position


def _bytes(body: bytes, position: int, size: int) -> tuple[bytes, int]:
    field = body[position : position + size]
    if len(field) < size:
        raise FormatError(f"{_WHOSE} is cut short")
    return field, position + size


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()
