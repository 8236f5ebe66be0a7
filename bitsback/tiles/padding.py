"""The padding of tiles that an image does not fill.

Padding costs nothing: it is not coded, and both sides compute it. In each pass it repeats the last
pixel of its row and column that the pass has within the image, so that it depends on nothing that
is coded later.
"""

import bisect
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .tiles import grid

Pixels = tuple[slice, slice]
"""Rows and columns of an image that are coded together."""

WHOLE: Pixels = (slice(None), slice(None))
"""All of an image's."""

Extent = tuple[int, int]
"""Rows and columns of a tile, from its first ones, that lie in its image."""

Extents = Sequence[Extent]
"""Of several tiles."""

ImageRun = tuple[int, int, int]
"""(n, height, width): n images of this size, one after another."""


def tiles_of(images: Sequence[ImageRun], height: int, width: int) -> int:
    """Number of tiles that images are cut into."""
    return sum(n * math.prod(grid(size, (height, width))) for n, *size in images)


def image_runs(sizes: Sequence[tuple[int, int]], height: int, width: int) -> tuple[ImageRun, ...]:
    """Images as runs of equal ones; none if they all fill their tiles.

    Args:
        sizes: (H, W) of every image, in order.
        height, width: of a tile.
    """
    if all(h % height == 0 and w % width == 0 for h, w in sizes):
        return ()
    return tuple((len(list(same)), h, w) for (h, w), same in itertools.groupby(sizes))


@dataclasses.dataclass(frozen=True)
class Layout:
    """Images and the tiles of one size that they are cut into.

    Args:
        images: runs of them; none if they all fill their tiles.
        height, width: of a tile.
    """

    images: tuple[ImageRun, ...]
    height: int
    width: int

    def extents(self, numbers: Iterable[int]) -> tuple[Extent, ...] | None:
        """Extents of tiles by their numbers, None if they are all whole."""
        if not self.images:
            return None
        extents_of = tuple(self._extent(number) for number in numbers)
        return None if all(e == (self.height, self.width) for e in extents_of) else extents_of

    @functools.cached_property
    def _ends(self) -> list[int]:
        """The number of the first tile after each run."""
        return list(
            itertools.accumulate(tiles_of([r], self.height, self.width) for r in self.images)
        )

    def _extent(self, number: int) -> Extent:
        run = bisect.bisect_right(self._ends, number)
        _, h, w = self.images[run]
        rows, columns = grid((h, w), (self.height, self.width))
        begin = self._ends[run - 1] if run else 0
        row, column = divmod((number - begin) % (rows * columns), columns)
        return min(self.height, h - row * self.height), min(self.width, w - column * self.width)


def known(extents: Extents, shape: tuple[int, ...], where: Pixels = WHOLE) -> NDArray[np.bool_]:
    """Which pixels of a pass lie in the images, bool (B, H', W').

    Args:
        extents: of the tiles.
        shape: (..., H', W') of the pass.
        where: rows and columns of its pixels.
    """
    mask = np.zeros((len(extents), *shape[-2:]), np.bool_)
    for tile, extent in zip(mask, extents, strict=True):
        rows, columns = _within(extent, where)
        tile[:rows, :columns] = True
    return mask


def fill(part: NDArray[np.uint8], extents: Extents, where: Pixels = WHOLE) -> None:
    """Put what both sides put beyond the edges into a pass, (B, C, H', W'), in place.

    Where a pass has no pixel within the image, all are 0.
    """
    for tile, extent in zip(part, extents, strict=True):
        rows, columns = _within(extent, where)
        if rows and columns:
            tile[:, :rows, columns:] = tile[:, :rows, columns - 1 : columns]
            tile[:, rows:] = tile[:, rows - 1 : rows]
        else:
            tile[:] = 0


def fill_passes(x: NDArray[np.uint8], extents: Extents, passes: Sequence[Pixels]) -> None:
    """`fill` all passes of tiles (B, C, H, W), in place."""
    for where in passes:
        fill(x[:, :, *where], extents, where)


def _within(extent: Extent, where: Pixels) -> tuple[int, int]:
    rows, columns = (
        len(range(*lines.indices(side))) for side, lines in zip(extent, where, strict=True)
    )
    return rows, columns
