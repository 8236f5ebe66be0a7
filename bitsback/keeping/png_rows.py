"""The filtered rows of a PNG, made of its samples and back.

A sample row is its bytes as the file has them before filtering. Source: the PNG specification (W3C,
third edition), section 9.
"""

import numpy as np
from numpy.typing import NDArray

from bitsback.tiles.padding import Pixels

from .coded import Levels

Bytes = NDArray[np.uint8]
PAETH = 4


# First row and column of the pixels of each pass, and the steps to the next ones.
_ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def passes(height: int, width: int, interlaced: bool) -> list[Pixels]:
    """Rows and columns of the pixels of each pass that has any (section 8 of the specification)."""
    if not interlaced:
        return [(slice(0, height, 1), slice(0, width, 1))]
    return [
        (slice(top, height, down), slice(left, width, right))
        for top, left, down, right in _ADAM7
        if top < height and left < width
    ]


def packed(levels: Levels, depth: int) -> Bytes:
    """Levels (H, W, C) as sample rows, (H, bytes of a row).

    Args:
        depth: bits of a sample, 1, 2, 4, 8 or 16; of 1, all levels but 0 are a 1.
    """
    values = levels.reshape(len(levels), -1)
    if depth == 16:
        return values.astype(">u2").view(np.uint8)
    if depth == 8:
        return values.astype(np.uint8)
    if depth == 1:
        return np.packbits(values != 0, axis=1)
    each = 8 // depth  # samples of a byte
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    whole = np.pad(values.astype(np.uint8), ((0, 0), (0, -values.shape[1] % each)))
    spread = whole.reshape(len(values), -1, each) & ((1 << depth) - 1)
    return np.bitwise_or.reduce(spread << shifts, axis=2)


def filtered(rows: Bytes, filters: Bytes, step: int) -> bytes:
    """Every row after the byte of its filter, and filtered by it.

    Args:
        rows: (H, bytes of a row).
        filters: 0 to 4 of each row, (H,).
        step: bytes of a pixel, at least 1.
    """
    out = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    out[:, 0] = filters
    above = np.zeros_like(rows)
    above[1:] = rows[:-1]
    for kind in np.unique(filters):
        where = filters == kind
        out[where, 1:] = rows[where] - _predicted(int(kind), rows[where], above[where], step)
    return out.tobytes()


def _predicted(kind: int, rows: Bytes, above: Bytes, step: int) -> Bytes:
    if kind == 0:
        return np.zeros_like(rows)
    if kind == 2:
        return above
    left = _shifted(rows, step)
    if kind == 1:
        return left
    if kind == 3:
        return (left & above) + ((left ^ above) >> 1)  # the mean without a carry
    return _paeth(left, above, _shifted(above, step))


def _shifted(rows: Bytes, step: int) -> Bytes:
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    return left


def _paeth(left: Bytes, above: Bytes, corner: Bytes) -> Bytes:
    a, b, c = (each.astype(np.int16) for each in (left, above, corner))
    from_a, from_b, from_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    upper = np.where(from_b <= from_c, above, corner)
    return np.where((from_a <= from_b) & (from_a <= from_c), left, upper)


def unfiltered(data: bytes, height: int, width: int, step: int) -> Bytes:
    """Inverse of `filtered`: the rows of `width` pixels of `step` bytes, (H, width * step).

    A pixel needs those at its left, above and at the corner, so that pixels on a diagonal are
    computed at once.

    Args:
        data: exactly height * (width * step + 1) bytes.

    Raises:
        ValueError: a row has an unknown filter.
    """
    lines = np.frombuffer(data, np.uint8).reshape(height, width * step + 1)
    filters = lines[:, 0]
    if filters.max(initial=0) > PAETH:
        raise ValueError("a row has an unknown filter")
    coded = lines[:, 1:].reshape(height, width, step)
    # With a row and a column of zeros before the first; column x of row y is on diagonal x + y.
    out = np.zeros((height + 1, width + 1, step), np.uint8)
    is_left, is_above, is_mean, is_paeth = ((filters == kind)[:, None] for kind in (1, 2, 3, 4))
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left, above, corner = out[y + 1, x], out[y, x + 1], out[y, x]
        predicted = np.where(is_left[y], left, 0).astype(np.uint8)
        predicted = np.where(is_above[y], above, predicted)
        mean = (left & above) + ((left ^ above) >> 1)
        predicted = np.where(is_mean[y], mean, predicted)
        predicted = np.where(is_paeth[y], _paeth(left, above, corner), predicted)
        out[y + 1, x + 1] = coded[y, x] + predicted
    return out[1:, 1:].reshape(height, width * step)
