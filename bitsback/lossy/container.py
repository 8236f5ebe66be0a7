"""The lossy file, version 2, field by field.

An image, from the highest bit on:

    3 bits  3
    1       gray: its model has three channels, the image one
    1       only the highest layer's latents are stored
    1       square
    6       steps that are stored, less one
    12      first bits of the SHA-256 of the model's weights
    LEB128  height, then, unless it is square, width
            the stack (see bitsback.lossy.stack)
    2 bytes BLAKE2b of all bytes before

A set of images of one size has 4 in the first 3 bits, and before the stack

    LEB128  number of images

If the images have 65,536 pixels or more in all, or count as more than 2**21, there follow

    1 bit   whether there is filler
    7       log2 of the number of the stack's heads, at most 12; they are one elsewhere
    LEB128  bytes of filler, and so many zeros, if there is any

On the stack, from its top: the images in batches of min(64, 2**18 // (height * width)), but at
least one; of a batch one region after another (see bitsback.lossy.regions); of a region one
group of latents after another, of all images of the batch.

A file has at most 2**21 pixels, and 512 more for each of its bytes: a short file must not take
long, nor fill the memory. An image counts as 256 pixels at least. Where almost nothing is to be
stored, such as of a blank image of 24 million pixels, filler makes the file long enough. A stack
that was altered or cut short does not end empty, either (but for one in some 16 million).

Version 1 has 5 in place of 3, 6 in place of 4, and no checksum; since its writers knew no limit, it
may have 2**25 pixels, and 2**14 more for each byte.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bitsback.errors import ChecksumError, FormatError
from bitsback.format import varint

MODEL_BITS = 12
_SINGLE, _SET = 3, 4
_SINGLE_1, _SET_1 = 5, 6  # of version 1
CHECKSUM = 2
_MOST_PIXELS, _MOST_SHRINKAGE = (1 << 25, 1 << 21), (1 << 14, 1 << 9)  # of version 1 and 2
_MOST = 1 << 32  # images
_BATCH, _BATCH_PIXELS = 64, 1 << 18  # the most of a batch
_LEAST_PIXELS = 1 << 8  # that an image counts as
_FILLED = 1 << 7
_ONE_HEAD = 1 << 16  # pixels that have no byte for their heads are fewer
_MOST_HEADS = 12  # their log2
_BYTES_PER_HEAD = 512  # of information; each head but the first takes 4 bytes
_WHOSE = "the lossy file"
LARGEST = 1 << 25  # pixels: 33 million, whose latents are decoded at once


@dataclass(frozen=True)
class LossyHeader:
    """What a lossy file says of itself.

    Args:
        model: the first 12 bits of the SHA-256 of the model's weights.
        steps: how many are stored.
        high: whether only the highest layer's latents are.
        gray: whether the image is gray but the model has three channels.
        images: how many, if it is a set that shares this header; None for one image.
        log_heads: log2 of the number of the stack's heads; 0 where all have below 65,536 pixels.
        filler: bytes that are there to make the file long enough.
    """

    model: int
    steps: int
    high: bool
    gray: bool
    height: int
    width: int
    images: int | None = None
    log_heads: int = 0
    filler: int = 0

    @property
    def count(self) -> int:
        """Images in the file."""
        return 1 if self.images is None else self.images

    @property
    def batches(self) -> Iterator[range]:
        """Numbers of the images whose latents are coded together."""
        size = batch_size(self.height, self.width)
        return (range(i, min(i + size, self.count)) for i in range(0, self.count, size))

    @property
    def heads(self) -> int:
        """Of the stack."""
        return 1 << self.log_heads

    @property
    def counted(self) -> int:
        """Pixels, for the limit of a file's."""
        return self.count * max(_LEAST_PIXELS, self.height * self.width)

    def is_large(self, version: int = 2) -> bool:
        """Whether there may be more heads than one, or filler."""
        few = self.count * self.height * self.width < _ONE_HEAD
        return not few or (version > 1 and self.counted > _MOST_PIXELS[version - 1])

    def with_heads_for(self, bits: float) -> "LossyHeader":
        """The same, with as many heads as suit so much information."""
        wanted = int(bits / 8 / _BYTES_PER_HEAD).bit_length() - 1
        return replace(self, log_heads=min(max(0, wanted), _MOST_HEADS) if self.is_large() else 0)

    def with_filler_for(self, stack: int) -> "LossyHeader":
        """The same, with as much filler as a stack of so many bytes needs beside it."""
        lack = self.fewest_bytes() - len(pack(self)) - stack - CHECKSUM
        return replace(self, filler=max(0, lack))

    def fewest_bytes(self, version: int = 2) -> int:
        """Bytes that a file of so many pixels has at least."""
        return max(
            0, -(-(self.counted - _MOST_PIXELS[version - 1]) // _MOST_SHRINKAGE[version - 1])
        )


def batch_size(height: int, width: int) -> int:
    """The most images of a size in a batch."""
    return min(_BATCH, max(1, _BATCH_PIXELS // (height * width)))


def model_bits(sha256: bytes) -> int:
    """What a header holds of a model's SHA-256."""
    return int.from_bytes(sha256[:2], "big") >> 16 - MODEL_BITS


def pack(header: LossyHeader) -> bytes:
    """The bytes of a file before its stack."""
    square = header.height == header.width
    bits = _SINGLE if header.images is None else _SET
    for value, size in (
        (header.gray, 1),
        (header.high, 1),
        (square, 1),
        (header.steps - 1, 6),
        (header.model, MODEL_BITS),
    ):
        bits = bits << size | value
    data = bits.to_bytes(3, "big") + varint.pack(header.height)
    data += b"" if square else varint.pack(header.width)
    data += b"" if header.images is None else varint.pack(header.images)
    if not header.is_large():
        return data
    if not header.filler:
        return data + bytes([header.log_heads])
    filler = varint.pack(header.filler) + bytes(header.filler)
    return data + bytes([_FILLED | header.log_heads]) + filler


def sealed(data: bytes) -> bytes:
    """The bytes of a file, from those of its header and its stack."""
    return data + hashlib.blake2b(data, digest_size=CHECKSUM).digest()


def unpack(data: bytes) -> tuple[LossyHeader, bytes]:
    """Inverse of `pack`, and the stack.

    Raises:
        FormatError: foreign, or cut short, or it tells more pixels than it may.
        ChecksumError: it was altered.
    """
    bits, whole = int.from_bytes(data[:3], "big"), len(data)
    kind = bits >> 21
    if whole < 4 or kind not in (_SINGLE, _SET, _SINGLE_1, _SET_1):
        raise FormatError("not a lossy bitsback file")
    if kind in (_SINGLE, _SET):
        body = data[:-CHECKSUM]
        if sealed(body) != data:
            raise ChecksumError(f"{_WHOSE} was altered: its checksum does not match")
        data = body
    height, place = varint.unpack(data, 3, _WHOSE)
    width = height
    if not bits >> 18 & 1:
        width, place = varint.unpack(data, place, _WHOSE)
        if width == height:
            raise FormatError(f"{_WHOSE} calls a square something else")
    if not 1 <= height * width <= LARGEST:
        raise FormatError(f"{_WHOSE} tells an image of {height} x {width} pixels")
    images = None
    if kind in (_SET, _SET_1):
        images, place = varint.unpack(data, place, _WHOSE)
        if not 1 <= images < _MOST:
            raise FormatError(f"{_WHOSE} tells {images} images")
    header = LossyHeader(
        model=bits & (1 << MODEL_BITS) - 1,
        steps=(bits >> MODEL_BITS & 63) + 1,
        high=bool(bits >> 19 & 1),
        gray=bool(bits >> 20 & 1),
        height=height,
        width=width,
        images=images,
    )
    version = 2 if kind in (_SINGLE, _SET) else 1
    if whole < header.fewest_bytes(version):
        told = f"{header.count} images of {height} x {width} pixels"
        raise FormatError(f"{_WHOSE} tells {told} in {whole} bytes, more than it may")
    if not header.is_large(version):
        return header, data[place:]
    return _with_heads(header, data, place, version)


def _with_heads(
    header: LossyHeader, data: bytes, place: int, version: int
) -> tuple[LossyHeader, bytes]:
    """The header of large images, with what it tells of heads and filler; and the stack."""
    field = data[place] if place < len(data) else _FILLED - 1
    log_heads, is_filled = field % _FILLED, field >= _FILLED
    if log_heads > _MOST_HEADS or (version == 1 and is_filled):
        raise FormatError(f"{_WHOSE} does not tell how many heads its stack has")
    filler, place = varint.unpack(data, place + 1, _WHOSE) if is_filled else (0, place + 1)
    end = place + filler
    if is_filled and (not place < end <= len(data) or any(data[place:end])):
        raise FormatError(f"{_WHOSE} has other filler than zeros")
    return replace(header, log_heads=log_heads, filler=filler), data[end:]
