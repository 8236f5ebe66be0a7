"""The lossy file, field by field.

A picture, from the highest bit on:

    3 bits  5
    1       gray: its model has three channels, the picture one
    1       only the highest layer's latents are stored
    1       square
    6       steps that are stored, less one
    12      first bits of the SHA-256 of the model's weights
    LEB128  height, then, unless it is square, width
    rest    the stack (see bitsback.lossy.stack)

A set of pictures of one size has 6 in the first 3 bits, and for the rest

    LEB128  number of pictures
    then for each: LEB128 size of its stack in bytes, and the stack

There is no checksum: a stack that was altered or cut short does not end empty (but for one in some
16 million).
"""

from dataclasses import dataclass

from bitsback import leb128
from bitsback.errors import FormatError

MODEL_BITS = 12
_PICTURE, _SET = 5, 6
_WHOSE = "the lossy file"
LARGEST = 1 << 25  # pixels: 33 million, whose latents are decoded at once


@dataclass(frozen=True)
class Header:
    """What a lossy file says of itself.

    Args:
        model: the first 12 bits of the SHA-256 of the model's weights.
        steps: how many are stored.
        high: whether only the highest layer's latents are.
        gray: whether the picture is gray but the model has three channels.
        bare: whether it is a set whose pictures share this header.
    """

    model: int
    steps: int
    high: bool
    gray: bool
    height: int
    width: int
    bare: bool = False


def model_bits(sha256: bytes) -> int:
    """What a header holds of a model's SHA-256."""
    return int.from_bytes(sha256[:2], "big") >> 16 - MODEL_BITS


def pack(header: Header, stacks: list[bytes]) -> bytes:
    """The bytes of a file; of a picture, if it is not bare, with its one stack."""
    square = header.height == header.width
    bits = _SET if header.bare else _PICTURE
    for value, size in (
        (header.gray, 1),
        (header.high, 1),
        (square, 1),
        (header.steps - 1, 6),
        (header.model, MODEL_BITS),
    ):
        bits = bits << size | value
    found = bits.to_bytes(3, "big") + leb128.pack(header.height)
    found += b"" if square else leb128.pack(header.width)
    if not header.bare:
        return found + stacks[0]
    found += leb128.pack(len(stacks))
    return found + b"".join(leb128.pack(len(stack)) + stack for stack in stacks)


def unpack(data: bytes) -> tuple[Header, list[bytes]]:
    """Inverse of `pack`.

    Raises:
        FormatError: foreign, or cut short.
    """
    bits = int.from_bytes(data[:3], "big")
    if len(data) < 4 or bits >> 21 not in (_PICTURE, _SET):
        raise FormatError("not a lossy bitsback file")
    height, place = leb128.unpack(data, 3, _WHOSE)
    width = height
    if not bits >> 18 & 1:
        width, place = leb128.unpack(data, place, _WHOSE)
        if width == height:
            raise FormatError(f"{_WHOSE} calls a square something else")
    if not 1 <= height * width <= LARGEST:
        raise FormatError(f"{_WHOSE} tells a picture of {height} x {width} pixels")
    header = Header(
        model=bits & (1 << MODEL_BITS) - 1,
        steps=(bits >> MODEL_BITS & 63) + 1,
        high=bool(bits >> 19 & 1),
        gray=bool(bits >> 20 & 1),
        height=height,
        width=width,
        bare=bits >> 21 == _SET,
    )
    if not header.bare:
        return header, [data[place:]]
    count, place = leb128.unpack(data, place, _WHOSE)
    stacks = []
    for _ in range(count):
        size, place = leb128.unpack(data, place, _WHOSE)
        stacks.append(data[place : place + size])
        place += size
        if place > len(data):
            raise FormatError(f"{_WHOSE} is cut short")
    if place != len(data) or not stacks:
        raise FormatError(f"{_WHOSE} is longer than its pictures")
    return header, stacks
