"""Images as segments: runs of equal tiles of one kind, colour before gray."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from . import channels as planes
from . import tiles
from .padding import Extents, ImageRun, Layout, Pixels, fill_passes, image_runs

_MOST_PADDING = 1.25


@dataclasses.dataclass(frozen=True)
class Segment:
    """A run of equal tiles, coded one after another.

    Args:
        count: tiles.
        height, width: of a tile, pixels.
        channels: of its images.
        gray: whether they are gray but the model has three channels.
        classical: how many first tiles are in a classical code instead of lying in the chain.
        images: runs of its images, if some do not fill their tiles (see `padding`).
        any_order: whether its tiles, each an image of one size, are coded in any order, those of
            the chain that follow its beginning.
        corrected: whether the batches of its tiles have side information (see `bitsback.side`).
    """

    count: int
    height: int
    width: int
    channels: int
    gray: bool
    classical: int
    images: tuple[ImageRun, ...] = ()
    any_order: bool = False
    corrected: bool = False

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of its images, where all are alike."""
        return self.images[0][1:] if self.images else (self.height, self.width)

    @functools.cached_property
    def layout(self) -> Layout:
        """Where its images lie in its tiles."""
        return Layout(self.images, self.height, self.width)


@dataclasses.dataclass(frozen=True)
class SomeTiles:
    """Some tiles of a segment.

    Args:
        tiles: (n, h, w, C) uint8.
        extents: what of each lies in its image; None if they are all whole.
    """

    tiles: NDArray[np.uint8]
    extents: Extents | None


@dataclasses.dataclass(frozen=True)
class SegmentTiles:
    """The tiles of a segment.

    Args:
        tiles: (n, h, w, C) uint8, C 1 or 3.
        gray, images, any_order, corrected: as of a `Segment`.
    """

    tiles: NDArray[np.uint8]
    gray: bool
    images: tuple[ImageRun, ...] = ()
    any_order: bool = False
    corrected: bool = False

    def segment(self, classical: int) -> Segment:
        """The segment, with its first `classical` tiles in a classical code."""
        count, height, width, channels = self.tiles.shape
        sizes = count, height, width, channels
        flags = self.any_order, self.corrected
        return Segment(*sizes, self.gray, classical, self.images, *flags)

    def some(self, numbers: NDArray[np.int64] | None = None) -> SomeTiles:
        """The tiles of these numbers, or all."""
        layout = self.segment(0).layout
        if numbers is None:
            return SomeTiles(self.tiles, layout.extents(range(len(self.tiles))))
        return SomeTiles(self.tiles[numbers], layout.extents(numbers))

    def batch(self, where: slice | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Tiles as the model takes them, (B, C of the model, h, w) uint8."""
        x = self.tiles[where].transpose(0, 3, 1, 2)
        return np.ascontiguousarray(np.repeat(x, 3, 1) if self.gray else x)

    def with_padding(self, passes: Sequence[Pixels]) -> "SegmentTiles":
        """The tiles with what a chain puts beyond the images' edges.

        Args:
            passes: rows and columns of the pixels of each of the model's passes.
        """
        extents = self.segment(0).layout.extents(range(len(self.tiles)))
        if extents is None:
            return self
        padded = self.tiles.copy()
        fill_passes(padded.transpose(0, 3, 1, 2), extents, passes)
        return dataclasses.replace(self, tiles=padded)


def tile_side(shapes: Sequence[planes.Shape], sides: Sequence[int], fewest: int) -> int:
    """The largest side of a tile that spends little time beyond the images' edges.

    Larger tiles have fewer edges, at which the network knows less.

    Args:
        shapes: (H, W, C) of every plane of the images.
        sides: of the tiles that the model codes, the smallest first.
        fewest: tiles that the chain needs to earn back its initial bits.
    """
    padded = {side: tiles.count(shapes, (side, side)) * side * side for side in sides}
    least = min(padded.values())
    good = [
        side
        for side, pixels in padded.items()
        if pixels <= _MOST_PADDING * least and pixels >= fewest * side * side
    ]
    return max(good, default=sides[0])


def cut(images: Iterable[NDArray[np.uint8]], side: int, channels: int) -> list[SegmentTiles]:
    """Cut images into square tiles of one size.

    Pixels beyond the edges repeat the last ones, as suits a classical code.

    Args:
        images: (H, W, C) uint8 each, C 1 to 4.
        side: of the tiles.
        channels: of the model's images, 1 or 3.

    Returns:
        The tiles of three channels, then those of one, as far as there are any.
    """
    every = [plane for pixels in images for plane in planes.split(pixels)]
    segments = []
    for own in (3, 1):
        same = [plane for plane in every if plane.shape[2] == own]
        if same:
            sizes = image_runs([(p.shape[0], p.shape[1]) for p in same], side, side)
            segments.append(SegmentTiles(tiles.cut(same, (side, side)), own < channels, sizes))
    return segments
