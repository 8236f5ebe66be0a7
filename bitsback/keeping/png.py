"""A PNG file as samples and a recipe, and back.

The recipe, of kind `KIND`; numbers are LEB128:

    4 bytes  of the file's SHA-256; 0 where its bytes need not come back
    the length of what lies before the first IDAT chunk, and that, verbatim
    the length of what lies after the last one, and that, verbatim
    the length of what follows the zlib stream in the IDAT chunks, and that
    1 byte   0: the stream is any of the same samples, in one IDAT chunk; nothing follows
             1: of zlib
    4 bytes  zlib's level, memory, strategy, window
    the number of runs of IDAT chunks, for each their count and size; the stream's rest is in a last
    1 byte   for each row, its filter; of an interlaced file, for each row of each pass

So everything but the pixels' stream comes back as it is. Source: the PNG specification (W3C, third
edition).
"""

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitsback.format import varint
from bitsback.images.outcomes import Outcome
from bitsback.tiles.padding import Pixels

from . import deflate, png_rows
from .coded import Coded, Levels, NotKept, seen
from .fields import DIGEST, Fields, damaged, digest, not_of_these_pixels, sized

KIND = b"PNG_"
DAMAGED = "is a damaged PNG"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MODES = {
    (0, 1): "1",
    (0, 2): "L",
    (0, 4): "L",
    (0, 8): "L",
    (0, 16): "I;16",
    (2, 8): "RGB",
    (2, 16): "RGB;16",
    (3, 1): "P",
    (3, 2): "P",
    (3, 4): "P",
    (3, 8): "P",
    (4, 8): "LA",
    (4, 16): "LA;16",
    (6, 8): "RGBA",
    (6, 16): "RGBA;16",
}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MOST_SAMPLES = 1 << 31
_EMPTY_CHUNK = 12
_SETTINGS_RANGE = ((0, 9), (1, 9), (0, 4), (9, 15))


class Layout(NamedTuple):
    """Of IHDR: the sides, the bits of a sample, the channels, and whether rows are interlaced."""

    height: int
    width: int
    depth: int
    channels: int
    mode: str
    interlaced: bool

    @property
    def passes(self) -> list[Pixels]:
        """Rows and columns of the pixels that lie together in the stream."""
        return png_rows.passes(self.height, self.width, self.interlaced)

    @property
    def step(self) -> int:
        """Bytes of a pixel, at least 1."""
        return max(1, self.depth * self.channels // 8)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Rows of each pass, and bytes of each with its filter."""
        sides = [(range(self.height)[y], range(self.width)[x]) for y, x in self.passes]
        bits = self.depth * self.channels
        return [(len(rows), 1 - (-len(columns) * bits // 8)) for rows, columns in sides]

    @property
    def size(self) -> int:
        """Bytes of all rows, and of their filters."""
        return sum(rows * row for rows, row in self.sizes)

    @property
    def filters(self) -> int:
        """Rows of all passes, each of which has a filter."""
        return sum(rows for rows, _ in self.sizes)


class Parts(NamedTuple):
    """A file cut at its pixels: before, the IDAT chunks' contents, after."""

    before: bytes
    contents: list[bytes]
    after: bytes


def code(
    data: bytes, search: deflate.Search | None, known: deflate.Settings | None = None
) -> Coded:
    """A PNG file as pixels and the recipe that gives it back.

    Args:
        search: for settings of zlib that give the stream's own bytes; None if any bytes will do.
        known: settings that do.

    Raises:
        NotKept: its samples are of a kind that is not coded, or it is damaged.
    """
    parts = parts_of(data)
    layout = _layout(parts.before)
    stream = b"".join(parts.contents)
    found = deflate.inflate(stream, layout.size)
    if found is None or len(found[0]) != layout.size:
        raise NotKept(DAMAGED)
    raw, trailing = found
    filters = np.concatenate([lines[:, 0] for lines in _lines(raw, layout)])
    if filters.max() > png_rows.PAETH:
        raise NotKept(DAMAGED)
    levels = _levels(data, raw, layout)
    head = digest(data) + sized(parts.before) + sized(parts.after)
    plain = bytes(DIGEST) + head[DIGEST:] + sized(b"") + b"\0"
    beginning = head + sized(trailing) + b"\1"
    ending = _packed_runs(list(map(len, parts.contents))) + filters.tobytes()
    if known is not None:
        recipe = beginning + bytes(known) + ending
        return Coded(levels, layout.mode, ((KIND, recipe),), Outcome.EXACT, known)
    if search is not None:
        kind = stream[:2] + varint.pack(len(parts.contents[0]))
        for settings in search.candidates(raw, stream, kind):
            recipe = beginning + bytes(settings) + ending
            if write(levels, layout.mode, recipe) == (data, True):
                search.found(settings)
                records = ((KIND, recipe),)
                return Coded(levels, layout.mode, records, Outcome.EXACT, settings, proven=True)
        search.failed(kind)
    # Bits of a row beyond the last pixel, too, must be those of the file.
    if _filtered(levels, filters, layout) != raw:
        raise NotKept("is a PNG whose samples were read in two ways")
    if trailing:
        raise NotKept("is a PNG with bytes behind its pixels")
    return Coded(levels, layout.mode, ((KIND, plain),), Outcome.SAMPLES)


def write(
    levels: Levels, mode: str, recipe: bytes, *, compared: bool = False
) -> tuple[bytes, bool]:
    """The file of a recipe, and whether it has the bytes that the recipe promises, if any.

    Args:
        levels: (H, W, C).
        mode: of the levels.
        compared: whether the file is only read and compared, so that a stream that may be any is
            not made small.

    Raises:
        FormatError: the recipe is damaged, or another image's.
    """
    fields = Fields(recipe)
    wanted, before, after = fields.take(DIGEST), fields.sized(), fields.sized()
    trailing, kind = fields.sized(), fields.take(1)[0]
    try:
        layout = _layout(before)
    except NotKept as error:
        raise damaged("it has no PNG's beginning") from error
    shape = (layout.height, layout.width, layout.channels)
    if levels.shape != shape or layout.mode != mode or kind > 1:
        raise not_of_these_pixels()
    if kind == 0:
        filters = np.full(layout.filters, png_rows.PAETH if layout.depth >= 8 else 0, np.uint8)
        settings, runs = None, None
    else:
        settings = _settings(fields.take(4))
        runs = _runs(fields)
        filters = np.frombuffer(fields.take(layout.filters), np.uint8)
        if filters.max() > png_rows.PAETH:
            raise damaged("it has an unknown filter")
    fields.end()
    rows = _filtered(levels, filters, layout)
    if settings is None:
        settings = deflate.STORED if compared else deflate.fitting(rows)
    stream = deflate.compress(rows, settings) + trailing
    data = before + _chunks(stream, runs) + after
    return data, kind == 0 or digest(data) == wanted


def parts_of(data: bytes) -> Parts:
    """A file cut at its pixels.

    Raises:
        NotKept: it is cut short, or has no pixels.
    """
    if not data.startswith(SIGNATURE):
        raise NotKept("is no PNG")
    position, start, contents = len(SIGNATURE), None, []
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        end = position + _EMPTY_CHUNK + size
        if start is not None and kind != b"IDAT":
            break
        if end > len(data):
            raise NotKept("is a PNG that is cut short")
        if kind == b"IDAT":
            start = position if start is None else start
            contents.append(data[position + 8 : position + 8 + size])
            if data[end - 4 : end] != struct.pack(">I", zlib.crc32(b"IDAT" + contents[-1])):
                raise NotKept(DAMAGED)
        position = end
    if start is None:
        raise NotKept("is a PNG without pixels")
    return Parts(data[:start], contents, data[position:])


def deep_levels(parts: Parts) -> Levels | None:
    """The levels of a file of 16 bits, (H, W, C); None of other depths, which Pillow reads.

    Raises:
        NotKept: it is damaged.
    """
    layout = _layout(parts.before)
    found = deflate.inflate(b"".join(parts.contents), layout.size)
    if found is None or len(found[0]) != layout.size:
        raise NotKept(DAMAGED)
    return _unfiltered(found[0], layout) if layout.depth == 16 else None


def _layout(before: bytes) -> Layout:
    if len(before) < 33 or before[12:16] != b"IHDR" or not before.startswith(SIGNATURE):
        raise NotKept("is a PNG without a header")
    width, height, depth, colour, method, filters, interlaced = struct.unpack_from(
        ">IIBBBBB", before, 16
    )
    mode = _MODES.get((colour, depth))
    if mode is None:
        raise NotKept(f"has samples of {depth} bits")
    if b"acTL" in before[33:]:
        raise NotKept("is an animated PNG")
    channels = _CHANNELS[colour]
    if method or filters or interlaced > 1 or not 0 < width * height * channels <= _MOST_SAMPLES:
        raise NotKept("is a PNG of an unknown kind")
    return Layout(height, width, depth, channels, mode, bool(interlaced))


def _levels(data: bytes, raw: bytes, layout: Layout) -> Levels:
    """The samples: through Pillow, which is fast, but for 16 bits, which it cuts to 8 in colour."""
    if layout.depth == 16:
        return _unfiltered(raw, layout)
    values = seen(data, "PNG", DAMAGED)[0].astype(np.uint8, copy=False)
    if values.size != layout.height * layout.width * layout.channels:
        raise NotKept("is a PNG whose samples were read in two ways")
    if layout.mode == "L" and layout.depth < 8:  # Pillow spreads them over 0 to 255
        values //= 255 // ((1 << layout.depth) - 1)
    return values.reshape(layout.height, layout.width, layout.channels)


def _lines(raw: bytes, layout: Layout) -> Iterator[NDArray[np.uint8]]:
    """The filtered rows of each pass, each after its filter, (rows, bytes of one)."""
    position = 0
    for rows, row in layout.sizes:
        end = position + rows * row
        yield np.frombuffer(raw[position:end], np.uint8).reshape(rows, row)
        position = end


def _unfiltered(raw: bytes, layout: Layout) -> NDArray[np.uint16]:
    """The levels of 16 bits, (H, W, C)."""
    levels = np.empty((layout.height, layout.width, layout.channels), np.uint16)
    for where, lines in zip(layout.passes, _lines(raw, layout), strict=True):
        height, width, _ = levels[where].shape
        rows = png_rows.unfiltered(lines.tobytes(), height, width, layout.step)
        levels[where] = rows.view(">u2").reshape(height, width, -1)
    return levels


def _filtered(levels: Levels, filters: NDArray[np.uint8], layout: Layout) -> bytes:
    """The rows of all passes, each after its filter."""
    out, first = [], 0
    for where in layout.passes:
        rows = png_rows.packed(levels[where], layout.depth)
        out.append(png_rows.filtered(rows, filters[first : first + len(rows)], layout.step))
        first += len(rows)
    return b"".join(out)


def _settings(data: bytes) -> deflate.Settings:
    if any(not low <= n <= high for n, (low, high) in zip(data, _SETTINGS_RANGE, strict=True)):
        raise damaged("zlib has no such settings")
    return deflate.Settings(*data)


def _packed_runs(sizes: list[int]) -> bytes:
    """Runs of equal IDAT chunks; one more takes the rest of the stream."""
    runs = [(len(list(group)), size) for size, group in itertools.groupby(sizes[:-1])]
    fields = (number for run in runs for number in run)
    return varint.pack(len(runs)) + b"".join(map(varint.pack, fields))


def _runs(fields: Fields) -> list[tuple[int, int]]:
    most = 1 << 31
    return [(fields.number(most), fields.number(most)) for _ in range(fields.number(1 << 20))]


def _chunks(stream: bytes, runs: list[tuple[int, int]] | None) -> bytes:
    """IDAT chunks of a stream.

    Raises:
        FormatError: the runs promise absurdly many chunks.
    """
    out, position = [], 0
    runs = runs or []
    if sum(count for count, _ in runs) > len(stream) + (1 << 16):
        raise damaged("it has too many chunks")
    for count, size in runs:
        for _ in range(count):
            out.append(_packed(stream[position : position + size]))
            position += size
    out.append(_packed(stream[position:]))
    return b"".join(out)


def _packed(content: bytes) -> bytes:
    body = b"IDAT" + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
