"""Known pixels near each pixel of a pass, whatever passes a model has."""

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitsback.tiles.padding import Pixels

#: neighbours of a pixel that may be given weights
MOST = 16
_REACH = 12  # how far away they are looked for, in rows and in columns
_LARGEST_PERIOD = 64

Offset = tuple[int, int]
Line = tuple[int, int]
"""First row (or column) of a pass, and the step from there to the next one."""


def neighbours(
    image: NDArray[np.uint8], passes: Sequence[Pixels], number: int
) -> NDArray[np.uint8]:
    """The neighbours of the pixels of a pass, the nearest first.

    Beyond the image's edge stands the nearest pixel within it that lies in the same rows and
    columns of the passes' pattern.

    Args:
        image: (B, C, H, W); what later passes code is not read.
        passes: rows and columns of the pixels of each pass.
        number: of the pass.

    Returns:
        (B, K, C, H', W') uint8; K is at most `MOST`, and 0 where no pixel is known.
    """
    height, width = image.shape[2:]
    rows, columns = (
        _line(part, side) for part, side in zip(passes[number], image.shape[2:], strict=True)
    )
    shape = len(range(rows[0], height, rows[1])), len(range(columns[0], width, columns[1]))
    lines = tuple((_line(r, height), _line(c, width)) for r, c in passes[: number + 1])
    found = offsets(lines, height, width)
    near = np.empty((len(image), len(found), image.shape[1], *shape), np.uint8)
    for k, (dy, dx) in enumerate(found):
        y, x = _places(*rows, dy, height), _places(*columns, dx, width)
        near[:, k] = image.take(y, 2).take(x, 3)
    return near


def counts(passes: Sequence[Pixels], height: int, width: int) -> tuple[int, ...]:
    """Neighbours of a pixel in each pass over images of this size."""
    ends = range(1, len(passes) + 1)
    return tuple(len(offsets(_lines(passes[:e], height, width), height, width)) for e in ends)


@functools.lru_cache(1 << 8)
def offsets(lines: tuple[tuple[Line, Line], ...], height: int, width: int) -> tuple[Offset, ...]:
    """Rows and columns from a pixel of the last pass to its neighbours, the nearest first.

    Args:
        lines: rows and columns of each pass, the last one being that of the pixels.
        height, width: of the image, which may be too small for some.
    """
    period = tuple(math.lcm(*(line[axis][1] for line in lines)) for axis in (0, 1))
    if max(period) > _LARGEST_PERIOD:
        return ()
    known = np.zeros(period, np.bool_)
    for (row, down), (column, right) in lines[:-1]:
        known[row % down :: down, column % right :: right] = True
    (row, down), (column, right) = lines[-1]
    ys, xs = np.arange(row, period[0] + row, down), np.arange(column, period[1] + column, right)
    found = []
    reach = range(-_REACH, _REACH + 1)
    for dy, dx in sorted(
        ((y, x) for y in reach for x in reach), key=lambda o: (o[0] ** 2 + o[1] ** 2, o)
    ):
        fits = (row + dy) % down < height and (column + dx) % right < width
        if fits and known[(ys[:, None] + dy) % period[0], (xs + dx) % period[1]].all():
            found.append((dy, dx))
            if len(found) == MOST:
                break
    return tuple(found)


def _lines(passes: Sequence[Pixels], height: int, width: int) -> tuple[tuple[Line, Line], ...]:
    return tuple((_line(rows, height), _line(columns, width)) for rows, columns in passes)


def _line(part: slice, side: int) -> Line:
    start, _, step = part.indices(side)
    return start, step


def _places(first: int, step: int, offset: int, side: int) -> NDArray[np.int64]:
    """Where the neighbours lie on one axis, moved by whole steps into the image."""
    wanted = np.arange(first, side, step) + offset
    least = wanted[:1] % step if len(wanted) else 0
    most = least + (side - 1 - least) // step * step
    places: NDArray[np.int64] = np.clip(wanted, least, most)
    return places
