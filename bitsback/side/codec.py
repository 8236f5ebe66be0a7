"""Side information on the message.

What a batch's pixels are corrected by is pushed after them, so that a decoder has it before. The
symbols, in the order of popping, are arrays of:

    whether anything is sent, one symbol of 1 bit, and then of each pass and channel its form:
    the number of neighbours, as a place in `COUNTS`, and whether shifts follow, 3 bits
    of those with neighbours, the widths of their weights and of their sums, 3 bits each
    the weights, and in place of the last channel's the sums over channels, which are small where
        differences of channels count, under two-sided geometric distributions of those widths
    the shifts, under another
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import codecs
from bitsback.ans.message import Message
from bitsback.tables.corrections import NODES, SHIFT_LIMIT, WEIGHT_LIMIT, Correction

Int64 = NDArray[np.int64]
Corrections = tuple[tuple[Correction, ...], ...]
"""Of each channel of each pass."""

#: nearest neighbours that weights are sent for
COUNTS = (0, 4, 8, 16)
_FORM_BITS, _WIDTH_BITS = 3, 3
_PRECISION = 24
_SUM_LIMIT = 3 * WEIGHT_LIMIT
_WIDTHS = tuple(2.0**width for width in range(-1, 7))  # mean sizes of weights
_SHIFT_WIDTH = 1.5


@dataclass(frozen=True)
class Shape:
    """What both sides know of the corrections.

    Args:
        known: neighbours of a pixel in each pass.
        channels: that are corrected.
    """

    known: tuple[int, ...]
    channels: int

    @property
    def none(self) -> Corrections:
        """No corrections."""
        return ((Correction(),) * self.channels,) * len(self.known)


def push(message: Message, sent: Corrections, shape: Shape) -> tuple[float, int]:
    """Push corrections.

    Returns:
        Their code length, bits, and the number of symbols.
    """
    if not any(map(any, sent)):
        codecs.uniform(1, 1).push(message, np.array([0]))
        return 1.0, 1
    flat = [(c, one) for channels in sent for c, one in enumerate(channels)]
    near = [known for known in shape.known for _ in range(shape.channels)]
    forms = [
        2 * _place(len(one.weights) // (c + 1), known) + bool(one.shifts)
        for (c, one), known in zip(flat, near, strict=True)
    ]
    shifts = [shift for _, one in flat for shift in one.shifts]
    runs = [run for c, one in flat if one.weights for run in _runs(one.weights, c)]
    widths = [_width(run) for run in runs]
    values = np.concatenate([*runs, np.empty(0, np.int64)])
    _shifts(len(shifts)).push(message, _plain(shifts) + SHIFT_LIMIT)
    _weights(widths, list(map(len, runs))).push(message, values + _SUM_LIMIT)
    codecs.uniform(len(widths), _WIDTH_BITS).push(message, _plain(widths))
    codecs.uniform(len(forms), _FORM_BITS).push(message, _plain(forms))
    codecs.uniform(1, 1).push(message, np.array([1]))
    bits = 1 + _FORM_BITS * len(forms) + sum(bits_of(one, c) for c, one in flat)
    return bits, 1 + len(forms) + len(widths) + len(values) + len(shifts)


def pop(message: Message, shape: Shape) -> Corrections:
    """Inverse of `push`.

    Raises:
        EmptyMessageError: the message is too short.
    """
    if not codecs.uniform(1, 1).pop(message)[1][0]:
        return shape.none
    owners = [(c, known) for known in shape.known for c in range(shape.channels)]
    forms = codecs.uniform(len(owners), _FORM_BITS).pop(message)[1].tolist()
    pairs = list(zip(forms, owners, strict=True))
    counts = [min(COUNTS[form >> 1], known) for form, (_, known) in pairs]
    lengths = [
        length
        for count, (_, (c, _)) in zip(counts, pairs, strict=True)
        if count
        for length in _lengths(count, c)
    ]
    widths = codecs.uniform(len(lengths), _WIDTH_BITS).pop(message)[1].tolist()
    values = _weights(widths, lengths).pop(message)[1] - _SUM_LIMIT
    runs = iter(np.split(values, np.cumsum(lengths)[:-1]))
    moved = sum(form & 1 for form in forms) * len(NODES)
    shifts = _shifts(moved).pop(message)[1] - SHIFT_LIMIT
    of_nodes = iter(shifts.reshape(-1, len(NODES)).tolist())
    flat = []
    for count, (form, (c, _)) in zip(counts, pairs, strict=True):
        weights = _joined([next(runs) for _ in _lengths(count, c)], c) if count else ()
        flat.append(Correction(weights, tuple(next(of_nodes)) if form & 1 else ()))
    size = shape.channels
    return tuple(tuple(flat[first : first + size]) for first in range(0, len(flat), size))


def bits_of(correction: Correction, channel: int) -> float:
    """What a correction takes on the message beside its form, bits."""
    runs = _runs(correction.weights, channel) if correction.weights else []
    bits = sum(_WIDTH_BITS + _bits(run, _WIDTHS[_width(run)], _SUM_LIMIT) for run in runs)
    return bits + _bits(_plain(correction.shifts), _SHIFT_WIDTH, SHIFT_LIMIT)


def cost_of(correction: Correction, channel: int) -> float:
    """`bits_of`, rounded so that no choice hangs on the last digit of a library's logarithm."""
    return round(256 * bits_of(correction, channel)) / 256


def _runs(weights: Sequence[int], channel: int) -> list[Int64]:
    """What is coded of weights: all but the last channel's, and the sums over the channels."""
    rows = _plain(weights).reshape(channel + 1, -1)
    return [rows[:-1].ravel(), rows.sum(0)] if channel else [rows[0]]


def _lengths(count: int, channel: int) -> list[int]:
    return [channel * count, count] if channel else [count]


def _joined(runs: list[Int64], channel: int) -> tuple[int, ...]:
    """Inverse of `_runs`."""
    if not channel:
        return tuple(runs[0].tolist())
    first = runs[0].reshape(channel, -1)
    return (*runs[0].tolist(), *(runs[1] - first.sum(0)).tolist())


def _place(count: int, known: int) -> int:
    """The first place in `COUNTS` that stands for so many neighbours."""
    return [min(most, known) for most in COUNTS].index(count)


def _plain(values: Sequence[int]) -> Int64:
    return np.array(values, np.int64)


def _width(values: Int64) -> int:
    """The number of the width that suits the mean size of the values."""
    mean = max(float(np.abs(values).mean()), 0.5)
    return min(max(0, round(math.log2(mean)) + 1), len(_WIDTHS) - 1)


def _bits(values: Int64, mean: float, limit: int) -> float:
    freqs = np.diff(_table(mean, limit).astype(np.int64))[values + limit]
    return float((_PRECISION - np.log2(freqs)).sum())


def _weights(widths: Sequence[int], lengths: Sequence[int]) -> codecs.Codec[Int64]:
    table = np.stack([_table(mean, _SUM_LIMIT) for mean in _WIDTHS])
    return codecs.categorical(table, np.repeat(_plain(widths), lengths), _PRECISION)


def _shifts(count: int) -> codecs.Codec[Int64]:
    table = _table(_SHIFT_WIDTH, SHIFT_LIMIT)[None]
    return codecs.categorical(table, np.zeros(count, np.int64), _PRECISION)


@functools.cache
def _table(mean: float, limit: int) -> NDArray[np.uint32]:
    """Cumulative frequencies of -limit..limit, which fall by mean / (1 + mean) a step from 0.

    Each has at least 1. By single operations of IEEE 754: the same on every machine.
    """
    ratio = mean / (1.0 + mean)
    falling = [1.0]
    for _ in range(limit):
        falling.append(falling[-1] * ratio)
    masses = falling[:0:-1] + falling
    total, below = 0.0, []
    for mass in masses:
        below.append(total)
        total += mass
    spare = (1 << _PRECISION) - len(masses)
    row = [i + math.floor(part / total * spare) for i, part in enumerate([*below, total])]
    table = np.array(row, np.uint32)
    table.flags.writeable = False
    return table
