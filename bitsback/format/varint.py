"""Whole numbers in as few bytes as they need: LEB128, seven bits a byte, the lowest first."""

from bitsback.errors import FormatError


def pack(value: int) -> bytes:
    """A number, 0 or more."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def unpack(data: bytes | memoryview, position: int, whose: str) -> tuple[int, int]:
    """A number below 2**64 at `position`, and the position after it.

    Raises:
        FormatError: the bytes end within it, it is larger, or it takes more bytes than it needs;
            the sentence begins with `whose`.
    """
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise FormatError(f"{whose} ends inside a number")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128 and (byte or not shift) and value < 1 << 64:
            return value, position
        if byte < 128:
            break
    raise FormatError(f"{whose} has a number that is too large or too long")
