"""What a decoder must know of a chunk before it touches the message, and the limits of that."""

from collections.abc import Iterable
from dataclasses import dataclass

from bitsback.coding.initial_bits import InitialSizes
from bitsback.errors import FormatError
from bitsback.tiles.padding import tiles_of
from bitsback.tiles.segments import Segment

# The most values of a batch, so that a forged head cannot fill the memory. A batch of one tile is
# always allowed.
MAX_BATCH_VALUES = 1 << 20

# Pixels that any chunk may have, and how many more for every byte of its message: a short file
# must not fill the memory. Where a code is smaller still, filler makes up for it.
_MOST_PIXELS = 1 << 26
#: images of a chunk whose order is not coded: many fewer than the intervals of a number
MOST_IN_ANY_ORDER = 1 << 20
_MOST_SHRINKAGE = 1 << 9


@dataclass(frozen=True)
class ChunkHead:
    """The fields before the message; sizes in bytes.

    Args:
        batch: the most tiles coded side by side.
        ramp: after n tiles, at most 1 + n // ramp are; 0 if batches are full from the first.
        heads: of the ANS stack.
        payload_bytes: at the bottom of the stack.
        classical_bytes: of tiles in a classical code, above that.
        filler_bytes: of pseudo-random filler above that.
        partial: batches of the chain that code the latents of 0, 1, 2, ... groups and lie on one
            head, before those of all groups.
        pixels_checksum: BLAKE2b of all decoded tiles' bytes in coding order, then of the payload.
    """

    segments: tuple[Segment, ...]
    batch: int
    ramp: int
    heads: int
    payload_bytes: int
    classical_bytes: int
    filler_bytes: int
    partial: tuple[int, ...]
    pixels_checksum: bytes

    @property
    def initial(self) -> InitialSizes:
        """Sizes of the initial bits."""
        return InitialSizes(self.payload_bytes, self.classical_bytes, self.filler_bytes)


def batch_values(batch: int, segment: Segment) -> int:
    """Values that a batch of `batch` tiles has in the network: gray tiles are taken as colour."""
    values = segment.height * segment.width * segment.channels * (3 if segment.gray else 1)
    return min(batch, segment.count) * values


def fewest_bytes(segments: Iterable[Segment]) -> int:
    """Bytes that the message of a chunk with so many pixels must have."""
    pixels = sum(s.count * s.height * s.width * s.channels for s in segments)
    return max(0, -(-(pixels - _MOST_PIXELS) // _MOST_SHRINKAGE))


def check_limits(head: ChunkHead, message_bytes: int) -> None:
    """Refuse fields that no encoder writes, or that a message of so many bytes cannot hold.

    Raises:
        FormatError: the sentence says which.
    """
    if not 1 <= head.batch < 2**16 or not 0 <= head.ramp < 2**16 or not 1 <= head.heads < 2**16:
        raise FormatError("it has an empty batch or no heads, or too many")
    if not head.segments and (head.classical_bytes or head.partial):
        raise FormatError("it has no tiles, but their codes")
    if any(not 0 <= batches < 2**32 for batches in head.partial):
        raise FormatError("it has too many batches of few groups")
    for s in head.segments:
        sizes = s.count < 2**32 and max(s.height, s.width) < 2**16 and s.channels < 2**5
        if min(s.count, s.height, s.width, s.channels) < 1 or not sizes:
            raise FormatError("it has a segment without pixels, or with too many")
        if not 0 <= s.classical <= s.count:
            raise FormatError("it has more classical tiles than tiles")
        if any(not 1 <= n < 2**32 for run in s.images for n in run):
            raise FormatError("it has images without pixels, or with too many")
        if s.images and tiles_of(s.images, s.height, s.width) != s.count:
            raise FormatError("it has other tiles than its images need")
        alike = len(head.segments) == 1 and s.count < MOST_IN_ANY_ORDER and len(s.images) < 2
        whole = s.image_size[0] <= s.height and s.image_size[1] <= s.width
        if s.any_order and not (alike and whole):
            raise FormatError("it has tiles in any order that are no images of one size")
        if head.batch > 1 and batch_values(head.batch, s) > MAX_BATCH_VALUES:
            raise FormatError("it has more tiles side by side than are allowed")
    if message_bytes < fewest_bytes(head.segments):
        raise FormatError("it promises more pixels than it can hold")
    # Initial bits are on the stack while tiles are coded and seldom outgrow the final message;
    # the factor leaves room for lucky payloads yet keeps a forged size from filling the memory.
    sizes_of = head.payload_bytes, head.classical_bytes, head.filler_bytes
    if min(sizes_of) < 0 or sum(sizes_of) > 16 * message_bytes + (1 << 16):
        raise FormatError("it promises more initial bits than its message can hold")
