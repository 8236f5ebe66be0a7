"""The initial bits at the bottom of the stack, useful ones first.

From the bottom: the payload; then, if a classical lossless code is smallest, all tiles (in files of
version 2 as many first tiles as a chain needs); then, only where nothing useful is left,
pseudo-random filler. Batches of few groups may follow (see `chain`). A stream from the file's seed
whitens all of it, since latents popped off bits that are not uniform would not follow q.
"""

import dataclasses

import numpy as np

from bitsback.ans.message import Message
from bitsback.errors import FormatError

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

    def message(self, seed: int, chunk: int) -> Message:
        """A message of one head that holds these bits and nothing else."""
        data = self.payload + self.prefix
        data += _stream(seed, chunk, 1, self.filler)
        data += b"\0" * (-len(data) % 4)
        mask = np.frombuffer(_stream(seed, chunk, 0, len(data)), "<u4")
        message = Message.empty(1)
        return Message(message.heads, (np.frombuffer(data, "<u4") ^ mask).astype(np.uint32))


@dataclasses.dataclass(frozen=True)
class InitialSizes:
    """Bytes of the payload, the prefix and the filler of some initial bits."""

    payload: int
    prefix: int
    filler: int


def recover(message: Message, sizes: InitialSizes, seed: int, chunk: int) -> Initial:
    """The initial bits, from the message that is left when all images are popped.

    Args:
        seed: of the file's dither.
        chunk: number of the chunk in its file.

    Raises:
        FormatError: the message is not what initial bits of these sizes leave.
    """
    words = np.asarray(message.words, np.uint32)
    size = sizes.payload + sizes.prefix + sizes.filler
    clean = message.heads.shape == (1,) and int(message.heads[0]) == 1 << 31
    if not clean or len(words) != -(-size // 4):
        raise FormatError("its message does not end where it began")
    mask = np.frombuffer(_stream(seed, chunk, 0, 4 * len(words)), "<u4")
    data = (words ^ mask).astype("<u4").tobytes()
    end = sizes.payload + sizes.prefix
    return Initial(data[: sizes.payload], data[sizes.payload : end], sizes.filler)


def _stream(seed: int, chunk: int, lane: int, size: int) -> bytes:
    philox = np.random.Philox(key=seed, counter=[0, chunk, lane, _LANE])
    return philox.random_raw(-(-size // 8)).astype("<u8").tobytes()[:size]
