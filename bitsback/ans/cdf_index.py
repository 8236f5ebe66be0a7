"""Tables of cumulative frequencies laid out for coding: where a number's symbol is looked for.

A guide gives each cell of a row's numbers the symbol in its middle: a guess that is checked, and
corrected by search where it is wrong.
"""

from __future__ import annotations

import functools
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .message import U64

Array = NDArray[Any]
I64 = NDArray[np.int64]

_INT64 = np.dtype(np.int64)
_CELL_BITS = 9  # of a row's number of cells in a guide


@dataclass(frozen=True)
class Index:
    """A table of cumulative frequencies C, (R, n + 1), laid out for coding.

    Args:
        cumulative: uint32 (R (n + 1),), C.
        columns: n + 1.
        guide: uint16, or uint32 where n needs it, (R * 2**bits,), the symbol in the middle of each
            of a row's 2**bits cells; small, as all of it is in use at once and should stay in
            the cache.
        bits: see guide.
        precision: of C.
    """

    cumulative: NDArray[np.uint32]
    columns: int
    guide: NDArray[np.unsignedinteger[Any]]
    bits: int
    precision: int

    @functools.cached_property
    def keys(self) -> U64:
        """uint64 (R (n + 1),), row * 2**precision + C: non-decreasing from end to end."""
        return _keys(self.cumulative.reshape(-1, self.columns), self.precision)

    @functools.cached_property
    def freqs(self) -> U64:
        """uint64 (R (n + 1),), the symbols' frequencies; 0 in column n."""
        rows = self.cumulative.reshape(-1, self.columns).astype(np.uint64)
        return np.diff(rows, append=np.uint64(1 << self.precision)).ravel()

    @functools.cached_property
    def shift(self) -> U64:
        """uint64 (), from a number to its cell: precision - bits."""
        return np.array(self.precision - self.bits, np.uint64)

    def locate(self, key: U64, first: I64) -> tuple[I64, U64, U64]:
        """Find the symbols that hold cf.

        Args:
            key: uint64 (m,), row * 2**precision + cf.
            first: int64 (m,), where in `keys` the row begins.

        Returns:
            the symbols' places in `keys`, cf - starts, and freqs.
        """
        at = self.guide.take((key >> self.shift).view(_INT64)) + first
        offset = key - self.keys.take(at)
        freqs = self.freqs.take(at)
        # an interval above the key makes the offset wrap round, so that it is found too
        wrong = (offset >= freqs).nonzero()[0]
        if wrong.size:
            missed = key[wrong]
            right = self.keys.searchsorted(missed, "right") - 1
            at[wrong] = right
            offset[wrong] = missed - self.keys.take(right)
            freqs[wrong] = self.freqs.take(right)
        return at, offset, freqs


remembered: dict[tuple[int, int], tuple[weakref.ref[Array], Index]] = {}


def index(cumulative: Array, precision: int, uses: int) -> Index:
    """The index of a table that is to be used so often; a read-only table's is kept with it."""
    name = id(cumulative), precision
    if name in remembered:
        return remembered[name][1]
    if cumulative.flags.writeable or cumulative.base is not None:
        # a guide that is used but once should not have more cells than there are symbols
        return _make_index(cumulative, precision, (uses // max(len(cumulative), 1)).bit_length())
    made = _make_index(cumulative, precision, _CELL_BITS)
    remembered[name] = weakref.ref(cumulative, lambda _: remembered.pop(name)), made
    return made


def _make_index(cumulative: Array, precision: int, most_bits: int) -> Index:
    columns = cumulative.shape[1]
    size = 1 << precision
    wide = cumulative.astype(np.int64)
    if np.any(wide[:, 0]) or np.any(wide[:, -1] != size) or np.any(np.diff(wide) < 0):
        raise ValueError("every row of a cumulative table must rise from 0 to 2**precision")
    keys = _keys(cumulative, precision)
    bits = min(precision, most_bits, _CELL_BITS, columns.bit_length() + 2)
    middles = np.arange(len(cumulative) << bits) * 2 + 1 << precision >> bits + 1
    row = np.arange(len(cumulative) << bits) >> bits
    symbols = keys.searchsorted(middles.astype(np.uint64), "right") - 1 - row * columns
    return Index(
        cumulative.astype(np.uint32).ravel(),
        columns,
        symbols.astype(np.uint16 if columns <= 1 << 16 else np.uint32),
        bits,
        precision,
    )


def _keys(cumulative: Array, precision: int) -> U64:
    row = np.arange(len(cumulative), dtype=np.uint64)[:, None]
    return (cumulative.astype(np.uint64) + (row << np.uint64(precision))).ravel()
