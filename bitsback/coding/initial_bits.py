"""What lies at the bottom of the stack: the initial bits, useful ones first.

From the bottom: the payload, then all tiles if a classical lossless code makes them smallest (in
files of version 2 as many first ones as a chain needs), then, only where nothing useful is left,
pseudo-random filler; batches of few groups may follow (see `chain`). All of it is whitened with the
file's seed: q must find bits that look uniform, or the latents would not follow it.
"""

import dataclasses

import numpy as np

from bitsback.ans.message import Message
from bitsback.errors import FormatError
from bitsback.format.chunk_head import ChunkHead, Segment
from bitsback.images import classical

_LANE = 0x62696E69  # counter word that keeps these streams apart from the dither's


@dataclasses.dataclass(frozen=True)
class Initial:
    """The initial bits of a chunk, as bytes.

    Args:
        payload: what the caller wants back, framed.
        prefix: classical code of the first tiles of every segment.
        filler: bytes of pseudo-random filler.
    """

    payload: bytes
    prefix: bytes
    filler: int = 0

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.payload) + len(self.prefix) + self.filler

    def message(self, seed: int, chunk: int) -> Message:
        """A message of one head that holds these bits and nothing else."""
        data = self.payload + self.prefix
        data += _stream(seed, chunk, 1, self.filler)
        data += b"\0" * (-len(data) % 4)
        mask = np.frombuffer(_stream(seed, chunk, 0, len(data)), "<u4")
        message = Message.empty(1)
        return Message(message.heads, (np.frombuffer(data, "<u4") ^ mask).astype(np.uint32))


def recover(message: Message, head: ChunkHead, seed: int, chunk: int) -> Initial:
    """The initial bits, from the message that is left when all images are popped.

    Args:
        head: of the chunk; it has the sizes of payload, prefix and filler.

    Raises:
        FormatError: the message is not what a file with these sizes leaves.
    """
    words = np.asarray(message.words, np.uint32)
    payload, prefix = head.payload_bytes, head.classical_bytes
    size = payload + prefix + head.filler_bytes
    clean = message.heads.shape == (1,) and int(message.heads[0]) == 1 << 31
    if not clean or len(words) != -(-size // 4):
        raise FormatError("its message does not end where it began")
    mask = np.frombuffer(_stream(seed, chunk, 0, 4 * len(words)), "<u4")
    data = (words ^ mask).astype("<u4").tobytes()
    return Initial(data[:payload], data[payload : payload + prefix], head.filler_bytes)


def _stream(seed: int, chunk: int, lane: int, size: int) -> bytes:
    philox = np.random.Philox(key=seed, counter=[0, chunk, lane, _LANE])
    return philox.random_raw(-(-size // 8)).astype("<u8").tobytes()[:size]


def encode_prefix(tiles: list[np.ndarray], counts: list[int], binary: bool) -> bytes:
    """Classical code of the first counts[i] tiles (n, h, w, C) of every segment."""
    parts = []
    for segment, count in zip(tiles, counts, strict=True):
        if count:
            code = classical.encode(segment[:count], binary)
            parts.append(len(code).to_bytes(8, "little") + code)
    return b"".join(parts)


def decode_prefix(prefix: bytes, segments: tuple[Segment, ...], binary: bool) -> list[np.ndarray]:
    """Inverse of `encode_prefix`: (classical, h, w, C) uint8 for every segment.

    Raises:
        FormatError: the prefix is damaged.
    """
    found, position = [], 0
    for segment in segments:
        shape = (segment.classical, segment.height, segment.width, segment.channels)
        if not segment.classical:
            found.append(np.empty(shape, np.uint8))
            continue
        size = int.from_bytes(prefix[position : position + 8], "little")
        code = prefix[position + 8 : position + 8 + size]
        if len(code) != size:
            raise FormatError("its classical part is cut short")
        found.append(classical.decode(code, shape, binary))
        position += 8 + size
    if position != len(prefix):
        raise FormatError("its classical part is too long")
    return found
