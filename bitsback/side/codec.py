"""Side information on the message.

What a batch's pixels are corrected by is pushed after them, so that a decoder has it before. The
symbols, in the order of popping, are arrays of:

    whether anything is sent, one symbol of 1 bit, and then of each pass and channel
    the number of neighbours, as a place in `COUNTS`, and whether shifts follow, 3 bits
    of those with neighbours, the width of their weights, 3 bits
    the weights, in the order of `Correction`, under a two-sided geometric distribution
    the shifts, under another
"""

import functools
import math
from collections.abc import Sequence

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
_SHIFT_WIDTH = 1.5  # mean of a shift's size


def push(message: Message, sent: Corrections, known: Sequence[int]) -> tuple[float, int]:
    """Push corrections.

    Args:
        known: neighbours of a pixel in each pass.

    Returns:
        Their code length, bits, and the number of symbols.
    """
    if not any(map(any, sent)):
        codecs.uniform(1, 1).push(message, np.array([0]))
        return 1.0, 1
    flat = [(c, one) for channels in sent for c, one in enumerate(channels)]
    near = [k for channels, k in zip(sent, known, strict=True) for _ in channels]
    shifts = [one.shifts for _, one in flat if one.shifts]
    weights = [one.weights for _, one in flat if one.weights]
    widths = [_width(w) for w in weights]
    forms = [
        2 * _place(len(one.weights) // (c + 1), k) + bool(one.shifts)
        for (c, one), k in zip(flat, near, strict=True)
    ]
    _shifts(len(shifts)).push(message, np.array(shifts, np.int64).reshape(-1) + SHIFT_LIMIT)
    values = np.array([w for ws in weights for w in ws], np.int64)
    _weights(widths, list(map(len, weights))).push(message, values + WEIGHT_LIMIT)
    codecs.uniform(len(widths), _WIDTH_BITS).push(message, np.array(widths, np.int64))
    codecs.uniform(len(forms), _FORM_BITS).push(message, np.array(forms, np.int64))
    codecs.uniform(1, 1).push(message, np.array([1]))
    bits = (
        1 + _FORM_BITS * len(forms) + sum(map(weight_bits, weights)) + sum(map(shift_bits, shifts))
    )
    return bits, 1 + len(forms) + len(widths) + len(values) + len(NODES) * len(shifts)


def pop(message: Message, known: Sequence[int], channels: int) -> Corrections:
    """Inverse of `push`: corrections of so many channels of each pass.

    Raises:
        EmptyMessageError: the message is too short.
    """
    if not codecs.uniform(1, 1).pop(message)[1][0]:
        return ((Correction(),) * channels,) * len(known)
    forms = codecs.uniform(len(known) * channels, _FORM_BITS).pop(message)[1].tolist()
    owners = [(c, k) for k in known for c in range(channels)]
    lengths = [
        (c + 1) * min(COUNTS[form >> 1], k) for form, (c, k) in zip(forms, owners, strict=True)
    ]
    some = [length for length in lengths if length]
    widths = codecs.uniform(len(some), _WIDTH_BITS).pop(message)[1].tolist()
    values = iter((_weights(widths, some).pop(message)[1] - WEIGHT_LIMIT).tolist())
    of_nodes = _shifts(sum(form & 1 for form in forms)).pop(message)[1] - SHIFT_LIMIT
    shifts = iter(of_nodes.reshape(-1, len(NODES)).tolist())
    flat = [
        Correction(
            tuple(next(values) for _ in range(length)), tuple(next(shifts)) if form & 1 else ()
        )
        for form, length in zip(forms, lengths, strict=True)
    ]
    return tuple(tuple(flat[first : first + channels]) for first in range(0, len(flat), channels))


def weight_bits(weights: Sequence[int]) -> float:
    """What weights take on the message, bits."""
    row = _table(_beta(_width(weights)), WEIGHT_LIMIT)
    freqs = np.diff(row.astype(np.int64))[np.array(weights) + WEIGHT_LIMIT]
    return _WIDTH_BITS + float((_PRECISION - np.log2(freqs)).sum())


def shift_bits(shifts: Sequence[int]) -> float:
    """What shifts take on the message, bits."""
    freqs = np.diff(_table(_SHIFT_WIDTH, SHIFT_LIMIT).astype(np.int64))
    return float((_PRECISION - np.log2(freqs[np.array(shifts) + SHIFT_LIMIT])).sum())


def _place(count: int, known: int) -> int:
    """The first place in `COUNTS` that stands for so many neighbours."""
    return [min(most, known) for most in COUNTS].index(count)


def _width(weights: Sequence[int]) -> int:
    """The width whose mean size is nearest to that of the weights."""
    mean = sum(map(abs, weights)) / max(1, len(weights))
    return min(max(0, round(math.log2(max(mean, 0.5)))), (1 << _WIDTH_BITS) - 1)


def _beta(width: int) -> float:
    return float(1 << width)


def _weights(widths: Sequence[int], lengths: Sequence[int]) -> codecs.Codec[Int64]:
    rows = np.repeat(np.array(widths, np.int64), lengths)
    table = np.stack([_table(_beta(w), WEIGHT_LIMIT) for w in range(1 << _WIDTH_BITS)])
    return codecs.categorical(table, rows, _PRECISION)


def _shifts(count: int) -> codecs.Codec[Int64]:
    table = _table(_SHIFT_WIDTH, SHIFT_LIMIT)[None]
    return codecs.categorical(table, np.zeros(count * len(NODES), np.int64), _PRECISION)


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
