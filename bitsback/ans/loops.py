"""Compiled loops over a message: the rANS steps of `message`, with the look-ups of a codec inside.

Imported through `compiled.loops` only, since it needs numba. A loop takes the heads, which it
changes, the tail's buffer with its size, and symbol parameters; symbols go in blocks of one for
each head, as in `message`. It returns the new size. A pop that needs more words than there are
stops after that block and returns minus the number that was missing; a push returns -1 for a symbol
without an interval. Either way the heads are then spoilt.

No index leaves its array, whatever the message holds: cf is below 2**precision, the callers have
checked rows and tables, and the loops check the symbols.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import float64, int64, uint16, uint32, uint64

Array = np.ndarray[Any, Any]

_U32 = numba.types.Array(uint32, 1, "C", readonly=True)
_U64 = numba.types.Array(uint64, 1, "C", readonly=True)
_I64 = numba.types.Array(int64, 1, "C", readonly=True)
_U16 = numba.types.Array(uint16, 1, "C", readonly=True)
MESSAGE = (uint64[::1], uint32[::1], int64)

# mixing signed and unsigned integers makes floats in numba: all that meets a head is uint64
_ONE, _TOP, _WORD_BITS, _LOW = uint64(1), uint64(63), uint64(32), uint64(1 << 31)
_FLOAT_POWER = uint64(12)  # a head that is not full is below freq * 2**(63 - power)
_SCANNED = 1025  # columns up to which a wrong guess is mended by single steps


@numba.njit(inline="always")
def _quotient(head: int, freq: int) -> int:
    """head // freq for quotients below 2**51: floats are faster, and wrong by one at most."""
    guess = int64(float64(int64(head)) / float64(int64(freq)))
    rest = int64(head) - guess * int64(freq)
    if rest < 0:
        guess -= 1
    elif rest >= int64(freq):
        guess += 1
    return uint64(guess)


@numba.njit(inline="always")
def _push(head: int, start: int, freq: int, power: int, tail: Array, size: int) -> tuple[int, int]:
    """One symbol onto one head, which is returned with the tail's new size."""
    tail[size] = uint32(head)  # counts only if the head is full: cheaper than to branch
    full = uint64(head >= freq << (_TOP - power))
    head >>= full << uint64(5)
    quotient = _quotient(head, freq) if power >= _FLOAT_POWER else head // freq
    return head + quotient * ((_ONE << power) - freq) + start, size + int64(full)


@numba.njit(inline="always")
def pop_head(
    head: int, offset: int, freq: int, power: int, tail: Array, size: int
) -> tuple[int, int]:
    """The symbol at cf - start = offset off one head; a negative size counts missing words."""
    head = (head >> power) * freq + offset
    low = head < _LOW  # read the word in any case: cheaper than to branch
    filled = (head << _WORD_BITS) | uint64(tail[max(size - 1, 0)])
    return (filled if low else head), size - int64(low)


@numba.njit(int64(*MESSAGE, _U64, _U64, _U64), cache=True)
def push_intervals(
    heads: Array, tail: Array, size: int, starts: Array, freqs: Array, powers: Array
) -> int:
    """Push symbols by their intervals; `powers` holds one precision, or one for each symbol."""
    n, count = len(starts), len(heads)
    each = int64(len(powers) > 1)
    for lo in range(0, n, count):
        for i in range(min(lo + count, n) - 1, lo - 1, -1):
            power, start, freq = powers[i * each], starts[i], freqs[i]
            total = _ONE << power
            if freq - _ONE >= total or start > total - freq:  # a freq of 0 wraps round
                return -1
            heads[i - lo], size = _push(heads[i - lo], start, freq, power, tail, size)
    return size


@numba.njit(int64(*MESSAGE, _U32, int64, _I64, _U64, uint64, _U64), cache=True)
def push_rows(
    heads: Array,
    tail: Array,
    size: int,
    table: Array,
    columns: int,
    rows: Array,
    symbols: Array,
    power: int,
    masks: Array,
) -> int:
    """Push symbols under rows of a flat table of cumulative frequencies.

    If there are masks, the last block comes first, and all heads are XORed with the block's masks
    after it.
    """
    n, count = len(rows), len(heads)
    blocks = (n + count - 1) // count
    for block in range(blocks):
        lo = (blocks - 1 - block if len(masks) else block) * count
        for i in range(min(lo + count, n) - 1, lo - 1, -1):
            if symbols[i] >= uint64(columns - 1):
                return -1
            at = rows[i] * columns + int64(symbols[i])
            start = uint64(table[at])
            freq = uint64(table[at + 1]) - start
            if freq == 0:
                return -1
            heads[i - lo], size = _push(heads[i - lo], start, freq, power, tail, size)
        if len(masks):
            for i in range(count):
                heads[i] ^= masks[lo + i]
    return size


@numba.njit(inline="always")
def _search(table: Array, first: int, symbols: int, cf: int) -> int:
    """Place of the last number up to cf, among so many from the first, which is 0."""
    while symbols > 1:
        half = symbols // 2
        if table[first + half] <= cf:
            first += half
        symbols -= half
    return first


@numba.njit(
    [
        int64(*MESSAGE, _U32, int64, guide, int64, _I64, uint64, _U64, int64[::1])
        for guide in (_U16, _U32)
    ],
    cache=True,
)
def pop_rows(
    heads: Array,
    tail: Array,
    size: int,
    table: Array,
    columns: int,
    guide: Array,
    bits: int,
    rows: Array,
    power: int,
    masks: Array,
    symbols: Array,
) -> int:
    """The inverse of `push_rows`; `guide` has a guess for each of a row's 2**bits cells."""
    n, count = len(rows), len(heads)
    shift = power - uint64(bits)
    blocks = (n + count - 1) // count
    for block in range(blocks):
        lo = (block if len(masks) else blocks - 1 - block) * count
        if len(masks):
            for i in range(count):
                heads[i] ^= masks[lo + i]
        for i in range(lo, min(lo + count, n)):
            head = heads[i - lo]
            cf = uint32(head & ((_ONE << power) - _ONE))
            first = rows[i] * columns
            at = first + int64(guide[(rows[i] << bits) + int64(uint64(cf) >> shift)])
            if columns > _SCANNED and (table[at] > cf or table[at + 1] <= cf):
                at = _search(table, first, columns - 1, cf)
            while table[at] > cf:
                at -= 1
            while table[at + 1] <= cf:
                at += 1
            symbols[i] = at - first
            start = uint64(table[at])
            freq = uint64(table[at + 1]) - start
            heads[i - lo], size = pop_head(head, uint64(cf) - start, freq, power, tail, size)
        if size < 0:
            return size
    return size
