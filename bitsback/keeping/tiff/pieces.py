"""The pieces of a TIFF's samples, strips or tiles, between bytes and levels.

Source: TIFF 6.0, sections 3 (strips), 14 (the predictor of differences) and 15 (tiles).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.keeping.coded import Levels, NotKept

from . import tags
from .tags import Tags

_DIFFERENCES = 2  # of Predictor
_MOST_PIECES, _SPARE = 1 << 20, 1 << 22


@dataclass(frozen=True)
class Samples:
    """What a TIFF's levels are.

    Args:
        bits: of a sample, 1, 8 or 16.
        planes: whether each channel has pieces of its own.
        palette: whether the levels are indices.
        order: "<" or ">", of samples of 16 bits.
    """

    height: int
    width: int
    channels: int
    bits: int
    planes: bool
    palette: bool
    order: str

    @property
    def dtype(self) -> np.dtype[np.uint8 | np.uint16]:
        """Of the levels in the file."""
        return np.dtype(f"{self.order}u2") if self.bits == 16 else np.dtype(np.uint8)


def samples_of(found: Tags) -> Samples:
    """The kind of a file's samples.

    Raises:
        NotKept: they are not coded.
    """
    if found.number(tags.FILL_ORDER, 1) != 1:
        raise NotKept("is a TIFF of bits in another order")
    if set(found.numbers(tags.SAMPLE_FORMAT, (1,))) != {1}:
        raise NotKept("has levels that are signed or floats")
    channels, bits = found.number(tags.SAMPLES, 1), set(found.numbers(tags.BITS, (1,)))
    photometric = found.number(tags.PHOTOMETRIC, 1)
    palette = photometric == tags.PALETTE and channels == 1 and bits == {8}
    if photometric > tags.RGB and not palette:
        raise NotKept(
            f"has colours that are not gray or RGB (PhotometricInterpretation {photometric})"
        )
    if bits not in ({1}, {8}, {16}) or (bits == {1} and channels != 1):
        raise NotKept(f"has samples of {', '.join(map(str, sorted(bits)))} bits")
    if not 1 <= channels <= 4:
        raise NotKept(f"has {channels} channels")
    height, width = found.number(tags.HEIGHT), found.number(tags.WIDTH)
    if min(height, width) < 1:
        raise NotKept("has no pixels")
    planes = found.number(tags.PLANAR, 1) == 2 and channels > 1
    return Samples(height, width, channels, min(bits), planes, palette, found.order)


@dataclass(frozen=True)
class Piece:
    """A strip or a tile.

    Args:
        offset, size: of its bytes in the file.
        top, left: its first pixel.
        height, width: in pixels; a tile's are whole, also beyond the image.
        channel: the only one that it holds; None for all.
    """

    offset: int
    size: int
    top: int
    left: int
    height: int
    width: int
    channel: int | None


@dataclass(frozen=True)
class Layout:
    """How a file's samples lie.

    Args:
        differences: whether each sample is what is added to the one at its left.
        pieces: in the order of the tags.
        fields: the tags of the pieces' offsets and sizes.
    """

    samples: Samples
    compression: int
    differences: bool
    pieces: tuple[Piece, ...]
    fields: tuple[int, int]

    def row(self, piece: Piece) -> int:
        """Bytes of a row of a piece."""
        channels = 1 if piece.channel is not None else self.samples.channels
        return -(-piece.width * channels * self.samples.bits // 8)

    def to_bytes(self, levels: Levels, piece: Piece, repeat: bool) -> bytes:
        """The bytes of a piece before they are compressed.

        Args:
            levels: (H, W, C) of the image.
            repeat: whether the last pixels are repeated beyond the image; else zeros.
        """
        rows = slice(piece.top, piece.top + piece.height)
        columns = slice(piece.left, piece.left + piece.width)
        part = levels[rows, columns]
        if piece.channel is not None:
            part = part[:, :, [piece.channel]]
        missing = (piece.height - part.shape[0], piece.width - part.shape[1])
        if any(missing):
            sides = ((0, missing[0]), (0, missing[1]), (0, 0))
            part = np.pad(part, sides, mode="edge" if repeat else "constant")
        if self.samples.bits == 1:
            return np.packbits(part[:, :, 0] != 0, axis=1).tobytes()
        if self.differences:
            part = np.concatenate([part[:, :1], part[:, 1:] - part[:, :-1]], axis=1)
        return part.astype(self.samples.dtype).tobytes()

    def to_levels(self, data: bytes, piece: Piece) -> NDArray[np.uint8 | np.uint16]:
        """Inverse of `to_bytes`: (height, width, channels) of a piece, with what lies beyond."""
        if self.samples.bits == 1:
            lines = np.frombuffer(data, np.uint8).reshape(piece.height, -1)
            return np.unpackbits(lines, axis=1)[:, : piece.width, None]
        values = np.frombuffer(data, self.samples.dtype).reshape(piece.height, piece.width, -1)
        native = values.astype(values.dtype.newbyteorder("="))
        if not self.differences:
            return native
        return np.cumsum(native, axis=1, dtype=native.dtype)


def layout_of(found: Tags) -> Layout:
    """The layout of a file of one image.

    Raises:
        NotKept: its samples are not coded, or its tags contradict one another.
    """
    samples = samples_of(found)
    predictor = found.number(tags.PREDICTOR, 1)
    if predictor not in (1, _DIFFERENCES) or (predictor == _DIFFERENCES and samples.bits == 1):
        raise NotKept(f"has samples that are predicted in another way (Predictor {predictor})")
    tiled = tags.TILE_WIDTH in found.fields
    if tiled:
        fields = tags.TILE_OFFSETS, tags.TILE_SIZES
        sides = found.number(tags.TILE_HEIGHT), found.number(tags.TILE_WIDTH)
    else:
        fields = tags.STRIP_OFFSETS, tags.STRIP_SIZES
        sides = min(found.number(tags.ROWS, samples.height), samples.height), samples.width
    offsets, sizes = (found.numbers(field, ()) for field in fields)
    if min(sides) < 1 or len(offsets) != len(sizes) or not 1 <= len(offsets) <= _MOST_PIECES:
        raise NotKept("is a TIFF with damaged tags")
    places = list(_places(samples, sides, tiled))
    if len(places) != len(offsets):
        raise NotKept("is a TIFF with damaged tags")
    whole = sides[0] * sides[1] * len(places)
    if whole > 4 * samples.height * samples.width * samples.channels + _SPARE:
        raise NotKept("has tiles that are far larger than its image")
    pieces = tuple(
        Piece(offset, size, *place)
        for offset, size, place in zip(offsets, sizes, places, strict=True)
    )
    compression = found.number(tags.COMPRESSION, 1)
    return Layout(samples, compression, predictor == _DIFFERENCES, pieces, fields)


def _places(
    samples: Samples, sides: tuple[int, int], tiled: bool
) -> Iterator[tuple[int, int, int, int, int | None]]:
    """Top, left, height, width and channel of each piece."""
    height, width = sides
    tops, lefts = range(0, samples.height, height), range(0, samples.width, width)
    channels = range(samples.channels) if samples.planes else (None,)
    if len(tops) * len(lefts) * len(channels) > _MOST_PIECES:
        raise NotKept("is a TIFF with damaged tags")
    for channel, top, left in itertools.product(channels, tops, lefts):
        yield top, left, height if tiled else min(height, samples.height - top), width, channel
