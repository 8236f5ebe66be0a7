"""The chunks of a PNG that hold no pixels: text, EXIF, colour profile and the like, kept verbatim.

Source: the PNG specification (W3C, third edition), sections 5 and 11.3.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator

from bitsback.format.sidecar import PIXELS, Record

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Pixels and what belongs to a palette or an animation; Pillow writes what is needed of it.
_OF_PIXELS = {b"IHDR", b"PLTE", b"IEND", b"tRNS", b"hIST", b"acTL", b"fcTL", b"fdAT"}
# Their content is in terms of the pixels' mode and depth.
_OF_MODE = {b"bKGD", b"sBIT"}
# A chunk of an unknown kind with an upper case fourth letter belongs to the very pixels, so that it
# is kept with the same ones in the same mode; of these the specification says what they are.
_KNOWN = _OF_MODE | {b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tIME"}


def chunks(data: bytes) -> Iterator[Record]:
    """Types and contents of all chunks of a PNG file.

    Raises:
        ValueError: the file is damaged, or goes on after its end.
    """
    position = len(_SIGNATURE)
    while position < len(data):
        head = data[position : position + 8]
        if len(head) < 8:
            raise ValueError("it is cut short")
        size, kind = struct.unpack(">I4s", head)
        content = data[position + 8 : position + 8 + size]
        check = data[position + 8 + size : position + 12 + size]
        if check != struct.pack(">I", zlib.crc32(kind + content)):
            raise ValueError(f"its chunk {kind.decode('latin-1')} is damaged")
        yield kind, content
        position += 12 + size
        if kind == b"IEND":
            if position != len(data):
                raise ValueError("it has bytes after its end (IEND)")
            return


def kept(data: bytes, same_mode: bool) -> list[Record]:
    """The chunks of a PNG file that are kept; `PIXELS` says where the pixels are among them.

    Args:
        same_mode: whether the pixels are kept in the file's own mode and depth.

    Raises:
        ValueError: as of `chunks`.
    """
    records: list[Record] = []
    known = _KNOWN if same_mode else _KNOWN - _OF_MODE
    for kind, content in chunks(data):
        if kind == PIXELS:
            if (PIXELS, b"") not in records:
                records.append((PIXELS, b""))
        elif kind in known or (kind not in _OF_PIXELS and (same_mode or kind[3:].islower())):
            records.append((kind, content))
    while records and records[-1][0] == PIXELS:
        records.pop()
    return records


def with_chunks(data: bytes, records: Iterable[Record]) -> bytes:
    """A PNG file with chunks put back where they were: before its pixels, and after them.

    Raises:
        ValueError: they are no chunks beside pixels.
    """
    before: list[Record] = []
    after: list[Record] = []
    into = before
    for kind, content in records:
        if kind == PIXELS:
            into = after
        elif kind in _OF_PIXELS or not kind.isalpha():
            raise ValueError(f"{kind!r} is no chunk beside pixels")
        else:
            into.append((kind, content))
    taken = {kind for kind, _ in before}
    out = [_SIGNATURE]
    for kind, content in chunks(data):
        if kind == b"IEND":
            out += map(_packed, after)
        if kind not in taken:
            out.append(_packed((kind, content)))
        if kind == b"IHDR":
            out += map(_packed, before)
    return b"".join(out)


def _packed(chunk: Record) -> bytes:
    kind, content = chunk
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
