"""The tags of a TIFF, read by themselves. Source: TIFF 6.0, section 2, and BigTIFF."""

import struct
from dataclasses import dataclass

from bitsback.keeping.coded import NotKept

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS, STRIP_SIZES, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 320, 322, 323, 324, 325
SUB_IFDS, EXTRA, SAMPLE_FORMAT, JPEG_TABLES, XMP, EXIF, GPS = 330, 338, 339, 347, 700, 34665, 34853
RGB, PALETTE = 2, 3  # of PhotometricInterpretation; gray below, inks and others above
_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MOST_TAGS = 1 << 12


@dataclass(frozen=True)
class Tags:
    """The fields of one directory: by tag their type, count and bytes.

    Args:
        order: "<" or ">".
        places: by tag where its bytes begin in the file, and how many they are.
    """

    order: str
    fields: dict[int, tuple[int, int, bytes]]
    places: dict[int, tuple[int, int]]

    def numbers(self, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """The numbers of a field; the default if it is absent.

        Raises:
            NotKept: they are no integers.
        """
        if tag not in self.fields:
            return default
        kind, count, data = self.fields[tag]
        if kind not in NUMBERS:
            raise NotKept(f"has a damaged tag {tag}")
        return struct.unpack(f"{self.order}{count}{NUMBERS[kind]}", data)

    def number(self, tag: int, default: int | None = None) -> int:
        """The first number of a field.

        Raises:
            NotKept: it is absent and has no default.
        """
        numbers = self.numbers(tag, () if default is None else (default,))
        if not numbers:
            raise NotKept(f"lacks the tag {tag}")
        return numbers[0]


def only_image(data: bytes) -> Tags:
    """The tags of a file of one image.

    Raises:
        NotKept: it holds further images, or is damaged.
    """
    order = "<" if data[:1] == b"I" else ">"
    try:
        big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
        (offset,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
        tags, following = directory(data, offset, order, big)
    except struct.error as error:
        raise NotKept("is a TIFF with damaged tags") from error
    if following or SUB_IFDS in tags.fields:
        raise NotKept("holds several images")
    return tags


def directory(data: bytes, offset: int, order: str, big: bool) -> tuple[Tags, int]:
    """The directory at a place, and the place of the one that follows; 0 for none.

    Raises:
        struct.error: it lies beyond the file's end.
        NotKept: it is damaged.
    """
    head, entry, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    (count,) = struct.unpack_from(order + head, data, offset)
    if count > _MOST_TAGS:
        raise NotKept("has too many tags")
    position, step = offset + struct.calcsize(f"={head}"), struct.calcsize(f"={entry}") + inline
    fields, places = {}, {}
    for place in range(position, position + count * step, step):
        tag, kind, number = struct.unpack_from(order + entry, data, place)
        size = number * (_SIZES[kind] if kind < len(_SIZES) else 0)
        begin = place + step - inline
        if size > inline:
            (begin,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, begin)
        content = data[begin : begin + size]
        if len(content) < size or tag in fields:
            raise NotKept("is a TIFF with damaged tags")
        fields[tag] = kind, number, content
        places[tag] = begin, size
    (following,) = struct.unpack_from(
        f"{order}{'Q' if big else 'I'}", data, position + count * step
    )
    return Tags(order, fields, places), following
