"""A TIFF in pieces as levels and a recipe, and back.

The recipe, of kind `KIND`; numbers are LEB128:

    4 bytes  of the file's SHA-256; 0 where its bytes need not come back
    1 byte   0: what lies beyond the image in a tile is zero; 1: it repeats the last pixels
    4 bytes  zlib's level, memory, strategy, window; all 0 where libtiff compresses
    the number of pieces, and for each, in their order in the file, the bytes between it and the one
             before, and its own
    all bytes of the file outside the pieces

So everything but the pieces comes back as it is. A piece that now takes more bytes than it did, as
another library makes it, goes to the end of the file, and the tags follow. Source: TIFF 6.0.
"""

import itertools
import struct
from collections.abc import Iterator

import numpy as np

from bitsback.format import varint
from bitsback.images.outcomes import Outcome
from bitsback.keeping import deflate
from bitsback.keeping.coded import Coded, Levels, NotKept, alike
from bitsback.keeping.fields import DIGEST, Fields, damaged, digest, not_of_these_pixels

from . import streams, tags
from .pieces import Layout, Piece, layout_of

KIND = b"TIF_"
_UNREAD = "is a TIFF that no independent reader reads"
_MOST = 1 << 31
_MOST_SAMPLES = 1 << 31
_SPARE = 1 << 24  # bytes, of tiles that are larger than their image
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def code(
    data: bytes, search: deflate.Search | None, known: deflate.Settings | None = None
) -> Coded:
    """A TIFF file as pixels and the recipe that gives it back.

    Args:
        search: for settings that give the pieces' own bytes; None if any bytes will do.
        known: settings that do.

    Raises:
        NotKept: its samples are of a kind that is not coded, or it is damaged.
    """
    layout = _layout(data)
    raw = [_unpacked(data, layout, piece) for piece in layout.pieces]
    levels = _levels(raw, layout)
    repeat = _beyond(raw, levels, layout)
    holes = sorted((piece.offset, piece.size) for piece in layout.pieces)
    ends = [0, *(offset + size for offset, size in holes)]
    gaps = [data[end:offset] for end, (offset, _) in zip(ends, holes, strict=False)]
    numbers = [
        number for gap, (_, size) in zip(gaps, holes, strict=True) for number in (len(gap), size)
    ]
    middle = varint.pack(len(holes)) + b"".join(map(varint.pack, numbers))
    ending = middle + b"".join(gaps) + data[ends[-1] :]
    mode = _mode(layout)
    for settings in [known] if known is not None else _candidates(data, raw, layout, search):
        recipe = digest(data) + bytes([repeat]) + bytes(settings) + ending
        if known is not None or write(levels, mode, recipe) == (data, True):
            if search is not None and settings != streams.BY_LIBTIFF:
                search.found(settings)
            return Coded(
                levels, mode, ((KIND, recipe),), Outcome.EXACT, settings, proven=known is None
            )
    settings = deflate.fitting(raw[0]) if layout.compression in _DEFLATES else streams.BY_LIBTIFF
    recipe = bytes(DIGEST) + bytes([repeat]) + bytes(settings) + ending
    return Coded(levels, mode, ((KIND, recipe),), Outcome.SAMPLES)


def write(levels: Levels, mode: str, recipe: bytes) -> tuple[bytes, bool]:
    """The file of a recipe, and whether it has the bytes that the recipe promises, if any.

    Args:
        levels: (H, W, C).
        mode: of the levels.

    Raises:
        FormatError: the recipe is damaged, or another image's.
    """
    fields = Fields(recipe)
    wanted, repeat, settings = fields.take(DIGEST), fields.take(1)[0], fields.take(4)
    numbers = [fields.number(_MOST) for _ in range(2 * fields.number(len(recipe)))]
    out = bytearray()
    if sum(numbers[1::2]) > 2 * levels.nbytes + _SPARE:
        raise damaged("it is of too large a file")
    for gap, size in zip(numbers[::2], numbers[1::2], strict=True):
        out += fields.take(gap) + bytes(size)
    out += recipe[fields.position :]
    try:
        layout = _layout(bytes(out))
        found = tags.only_image(bytes(out))
    except NotKept as error:
        raise damaged("it is of no TIFF") from error
    samples = layout.samples
    if levels.shape != (samples.height, samples.width, samples.channels) or mode != _mode(layout):
        raise not_of_these_pixels()
    if repeat > 1:
        raise damaged("it has an unknown flag")
    made = []
    for piece in layout.pieces:
        data = layout.to_bytes(levels, piece, bool(repeat))
        row = layout.row(piece)
        try:
            made.append(
                streams.pack(
                    data, layout.compression, piece.height, row, deflate.Settings(*settings)
                )
            )
        except Exception as error:  # Pillow's plugins raise whatever their libraries run into
            raise damaged("its settings are unknown here") from error
    _place(out, made, layout, found)
    return bytes(out), wanted == bytes(DIGEST) or digest(bytes(out)) == wanted


def check_same(data: bytes, other: bytes) -> None:
    """Raise NotKept unless a file holds what another does.

    Pillow, which took no part in writing either, reads both. All tags but the pieces' places and
    sizes must be equal, and all bytes of the first outside the pieces must lie where they were.
    """
    one, two = tags.only_image(data), tags.only_image(other)
    layout, again = _layout(data), _layout(other)
    moved = set(layout.fields)
    if {tag: field for tag, field in one.fields.items() if tag not in moved} != {
        tag: field for tag, field in two.fields.items() if tag not in moved
    }:
        raise NotKept("does not come back with its metadata")
    free = np.ones(len(data), bool)
    for piece in layout.pieces:
        free[piece.offset : piece.offset + piece.size] = False
    for tag in moved:
        begin, size = one.places[tag]
        free[begin : begin + size] = False
    before, after = (np.frombuffer(each, np.uint8) for each in (data, other[: len(data)]))
    if len(after) < len(before) or not np.array_equal(before[free], after[free]):
        raise NotKept("does not come back with its metadata")
    mine, others = (
        _levels([_unpacked(each, of, piece) for piece in of.pieces], of)
        for each, of in ((data, layout), (other, again))
    )
    if not np.array_equal(mine, others) or not alike(data, other, "TIFF", _UNREAD):
        raise NotKept("does not come back from its pixels")


_DEFLATES = (streams.DEFLATE, streams.OLD_DEFLATE)


def _layout(data: bytes) -> Layout:
    layout = layout_of(tags.only_image(data))
    samples = layout.samples
    if layout.compression not in streams.KNOWN:
        raise NotKept(f"is a TIFF that is compressed in another way ({layout.compression})")
    if samples.height * samples.width * samples.channels > _MOST_SAMPLES:
        raise NotKept("is a TIFF of an unknown kind")
    holes = sorted((piece.offset, piece.offset + piece.size) for piece in layout.pieces)
    if holes[-1][1] > len(data):
        raise NotKept("is cut short")
    if any(end > begin for (_, end), (begin, _) in itertools.pairwise(holes)):
        raise NotKept("is a TIFF whose pieces overlap")
    return layout


def _mode(layout: Layout) -> str:
    samples = layout.samples
    if samples.bits == 1:
        return "1"
    if samples.palette:
        return "P"
    mode = _MODES[samples.channels]
    return mode if samples.bits == 8 else f"{'I' if mode == 'L' else mode};16"


def _unpacked(data: bytes, layout: Layout, piece: Piece) -> bytes:
    stream = data[piece.offset : piece.offset + piece.size]
    found = streams.unpack(stream, layout.compression, piece.height, layout.row(piece))
    if found is None:
        raise NotKept("is a damaged TIFF")
    return found


def _levels(raw: list[bytes], layout: Layout) -> Levels:
    """The levels of all pieces, (H, W, C)."""
    samples = layout.samples
    kind = np.uint16 if samples.bits == 16 else np.uint8
    levels: Levels = np.zeros((samples.height, samples.width, samples.channels), kind)
    for data, piece in zip(raw, layout.pieces, strict=True):
        part = layout.to_levels(data, piece)
        rows = slice(piece.top, min(piece.top + piece.height, samples.height))
        columns = slice(piece.left, min(piece.left + piece.width, samples.width))
        channel = slice(None) if piece.channel is None else [piece.channel]
        height, width = rows.stop - rows.start, columns.stop - columns.start
        levels[rows, columns, channel] = part[:height, :width]
    return levels


def _beyond(raw: list[bytes], levels: Levels, layout: Layout) -> bool:
    """Whether what lies beyond the image repeats its last pixels, or is zero.

    Raises:
        NotKept: it is neither.
    """
    pairs = list(zip(raw, layout.pieces, strict=True))
    for repeat in (False, True):
        if all(layout.to_bytes(levels, piece, repeat) == data for data, piece in pairs):
            return repeat
    raise NotKept("is a TIFF with samples beyond its pixels")


def _candidates(
    data: bytes, raw: list[bytes], layout: Layout, search: deflate.Search | None
) -> Iterator[deflate.Settings]:
    """Settings under which the first piece becomes its own bytes."""
    if search is None and layout.compression != streams.NONE:
        return
    first = layout.pieces[0]
    stream = data[first.offset : first.offset + first.size]
    if search is not None and layout.compression in _DEFLATES:
        kind = b"TIFF" + stream[:2]
        yield from search.candidates(raw[0], stream, kind)
        search.failed(kind)
    row = layout.row(first)
    if streams.pack(raw[0], layout.compression, first.height, row) == stream:
        yield streams.BY_LIBTIFF


def _place(out: bytearray, made: list[bytes], layout: Layout, found: tags.Tags) -> None:
    """Put pieces where they were, or at the end where they do not fit, and mend the tags.

    Raises:
        FormatError: a tag cannot hold a place or a size.
    """
    places = []
    for stream, piece in zip(made, layout.pieces, strict=True):
        offset = piece.offset if len(stream) <= piece.size else len(out)
        out[offset : offset + len(stream)] = stream
        places.append((offset, len(stream)))
    before = [(piece.offset, piece.size) for piece in layout.pieces]
    if places == before:
        return
    for tag, values in zip(layout.fields, zip(*places, strict=True), strict=True):
        begin, _ = found.places[tag]
        kind, count, _ = found.fields[tag]
        try:
            packed = struct.pack(f"{found.order}{count}{tags.NUMBERS[kind]}", *values)
        except struct.error as error:
            raise damaged("another library makes larger pieces than its tags can tell") from error
        out[begin : begin + len(packed)] = packed
