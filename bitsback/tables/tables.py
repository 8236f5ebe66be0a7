"""The integer frequency tables that every probability is a row of.

All rows are cumulative: symbol j owns [row[j], row[j + 1]). They are computed with the correctly
rounded operations of `arithmetic`, so that every machine has the same ones; TABLES_SHA256 is
their digest and part of the file format's version.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import arithmetic

A = TypeVar("A", bound=NDArray[Any])
U32 = NDArray[np.uint32]
Ints = NDArray[np.integer[Any]]

PRECISION = 24
TOTAL = 1 << PRECISION

FIRST, LAST = -128, 127  # the window of grid points k
COLUMNS = LAST - FIRST + 1
FRACTIONS = 32  # cells in which a row's centre may lie
SCALE_STEPS = 16  # widths in an octave
PRIOR_WIDTHS = (-96, 48)
POSTERIOR_WIDTHS = (-29, 48)
_LEAST_WIDTH = 0.05

PIXEL_FRACTIONS = 16
PIXEL_STEPS = 8
PIXEL_SCALES = (-24, 48)
PIXEL_COLUMNS = 512
PIXEL_TOTAL = (1 << 16) - 1
PIXEL_KINDS = {"gaussian": arithmetic.normal_cdf, "logistic": arithmetic.logistic_cdf}

LOGIT_LIMIT = 512
LOGIT_UNIT = 32

TABLES_SHA256 = "ccc5b8349e6c3a95f0d9b5e667ba55f4389fc64695b1b715c186586a461d3329"
# All of their rows are among the present ones: these lack a prior's widths below 1/4.
EARLIER_SHA256 = ("f41642f742a490cd7da806a577838c5cd405ea4235bc84df9fd87f084bfa744f",)


@functools.cache
def prior_table() -> U32:
    """N(c, s**2) on the integers of the window, every one with a frequency of at least 1.

        C[j] = j + floor(Phi((j - 128 - 1/2 - c) / s) (2**24 - 256));  C[0] = 0, C[256] = 2**24

    A symbol of mass P (the tails belong to the end columns) has a frequency above
    P (2**24 - 256), so that it costs at most -log2(1 - 2**-16) < 2.3e-5 bits more than -log2 P.

    Returns:
        uint32 (145 * 32, 257), row (w + 96) * 32 + f: s = 2**(w / 16), w in [-96, 48],
        c = (f + 1/2) / 32 - 1/2.
    """
    low, high = PRIOR_WIDTHS
    scales = arithmetic.exp2_steps(np.arange(low, high + 1), SCALE_STEPS)
    radius = np.full(len(scales), COLUMNS)
    return _frozen(_normal_rows(scales, radius))


@functools.cache
def posterior_table() -> U32:
    """N(c, s**2) on the integers near 0; the dither makes its deviation s_eff.

        s = sqrt(max(s_eff**2 - 1/12, 0.05**2)),  as the dither adds the variance 1/12
        C as in `prior_table` over |k| <= radius; frequency 0 elsewhere

    Returns:
        uint32 (78 * 32, 257), row (w + 29) * 32 + f: s_eff = 2**(w / 16), w in [-29, 48],
        c = (f + 1/2) / 32 - 1/2.
    """
    return _frozen(_normal_rows(_posterior_scales(), posterior_radius()))


@functools.cache
def posterior_radius() -> NDArray[np.int64]:
    """The largest |k| with a positive frequency: ceil(6 s) + 1.

    Returns:
        int64 (78,), one for each width of the posterior table.
    """
    return _frozen(np.ceil(_posterior_scales() * 6.0).astype(np.int64) + 1)


@functools.cache
def component_table(kind: str) -> U32:
    """A pixel distribution's cumulative function at the lower edges of the grey levels.

        T[row, j] = round(cdf((j - 256 - 1/2 - f / 16) / s) (2**16 - 1))

    Args:
        kind: "gaussian" (s its deviation) or "logistic" (s its scale parameter).

    Returns:
        uint32 (73 * 16, 512), row (w + 24) * 16 + f: s = 2**(w / 8) levels, w in [-24, 48]; the
        location is f / 16 of a level above the base, column j the level j - 256 above it. Rows
        are non-decreasing, and need not begin at 0 or end at 2**16 - 1.
    """
    low, high = PIXEL_SCALES
    scales = arithmetic.exp2_steps(np.arange(low, high + 1), PIXEL_STEPS)[:, None, None]
    location = np.arange(PIXEL_FRACTIONS)[:, None] / PIXEL_FRACTIONS
    edges = np.arange(PIXEL_COLUMNS) - (PIXEL_COLUMNS // 2 + 0.5)
    cdf = PIXEL_KINDS[kind]((edges - location) / scales)
    # rounding errors of 1e-16 must not make a row fall
    rising = np.maximum.accumulate(cdf, axis=-1).reshape(-1, PIXEL_COLUMNS)
    return _frozen(np.floor(rising * PIXEL_TOTAL + 0.5).astype(np.uint32))


@functools.cache
def bernoulli_table() -> U32:
    """Frequencies of a 1 out of 2**24: round(sigmoid(l / 32) 2**24), within 1..2**24 - 1.

    Returns:
        uint32 (1025,), entry l + 512 for the logit l / 32, l in [-512, 512].
    """
    logits = np.arange(-LOGIT_LIMIT, LOGIT_LIMIT + 1) / LOGIT_UNIT
    freqs = np.floor(arithmetic.logistic_cdf(logits) * TOTAL + 0.5)
    return _frozen(np.clip(freqs, 1, TOTAL - 1).astype(np.uint32))


def digest() -> str:
    """SHA-256, in hex, of the tables above as little-endian words, one after another."""
    sha256 = hashlib.sha256()
    for table in (
        prior_table(),
        posterior_table(),
        component_table("gaussian"),
        component_table("logistic"),
        bernoulli_table(),
    ):
        sha256.update(table.astype("<u4").tobytes())
    return sha256.hexdigest()


def find(table: U32, rows: Ints, cf: Ints) -> NDArray[np.int64]:
    """The columns whose intervals hold cf.

    Args:
        table: uint32 (R, 257), cumulative.
        rows: integers, any shape.
        cf: integers in [0, 2**24), of rows' shape.

    Returns:
        int64 of rows' shape, in [0, 256).
    """
    start = rows.astype(np.int64) * table.shape[1]
    flat = table.ravel()
    column = np.zeros(rows.shape, np.int64)
    step = COLUMNS
    while (step := step // 2) > 0:
        column += np.where(flat.take(start + column + step) <= cf, step, 0)
    return column


def quantise(probs: Any, precision: int) -> U32:
    """Frequencies out of 2**precision that come closest to probabilities.

        minimise KL(p || f / 2**precision):  every unit of frequency goes where p log(1 + 1/f)
        is largest, p log f being concave

    Args:
        probs: float (..., n), not negative; rows need not sum to 1.
        precision: in 0..24.

    Returns:
        uint32 (..., n): at least 1 where p > 0 and 0 where p = 0; rows sum to 2**precision.
        No other such frequencies have a smaller KL (gains are compared in float64; of equal ones
        the earlier symbol's is taken).

    Raises:
        ValueError: negative, NaN or infinite entries, a row that sums to 0, or one with more
            possible symbols than 2**precision.
    """
    p = np.asarray(probs, np.float64)
    total = 1 << precision
    if not np.isfinite(p).all() or (p < 0.0).any():
        raise ValueError("probabilities must be finite and not negative")
    possible = (p > 0.0).sum(-1)
    if (possible == 0).any():
        raise ValueError("a row of probabilities sums to 0")
    if (possible > total).any():
        raise ValueError(f"{possible.max()} possible symbols do not fit into 2**{precision}")
    freqs = np.zeros(p.shape, np.uint32)
    for index in np.ndindex(p.shape[:-1]):
        freqs[index][p[index] > 0.0] = _quantise_row(p[index][p[index] > 0.0], total)
    return freqs


def _quantise_row(p: arithmetic.F64, total: int) -> NDArray[np.int64]:
    p = p / p.max()
    freqs = np.maximum(np.floor(p / math.fsum(p) * total), 1.0).astype(np.int64)

    def gain(i: int) -> float:
        """What one more unit would save."""
        return float(p[i] * arithmetic.log1p(1.0 / freqs[i]))

    def loss(i: int) -> float:
        """What one unit less would cost."""
        return float(p[i] * arithmetic.log1p(1.0 / (freqs[i] - 1))) if freqs[i] > 1 else math.inf

    # Entries whose frequency has changed since are stale, and renewed when they come up.
    gains = [(-gain(i), i, int(freqs[i])) for i in range(len(p))]
    losses = [(loss(i), i, int(freqs[i])) for i in range(len(p))]
    heapq.heapify(gains)
    heapq.heapify(losses)

    def top(heap: list[tuple[float, int, int]]) -> tuple[float, int, int]:
        while heap[0][2] != freqs[heap[0][1]]:
            heapq.heappop(heap)
        return heap[0]

    def move(i: int, by: int) -> None:
        freqs[i] += by
        heapq.heappush(gains, (-gain(i), i, int(freqs[i])))
        heapq.heappush(losses, (loss(i), i, int(freqs[i])))

    for _ in range(abs(excess := int(freqs.sum()) - total)):
        move(top(losses if excess > 0 else gains)[1], -1 if excess > 0 else 1)
    while -top(gains)[0] > top(losses)[0]:
        giver, taker = top(losses)[1], top(gains)[1]
        move(giver, -1)
        move(taker, 1)
    return freqs


def _posterior_scales() -> arithmetic.F64:
    low, high = POSTERIOR_WIDTHS
    effective = arithmetic.exp2_steps(np.arange(low, high + 1), SCALE_STEPS)
    least = np.float64(_LEAST_WIDTH * _LEAST_WIDTH)
    scales: arithmetic.F64 = np.sqrt(np.maximum(effective * effective - 1.0 / 12.0, least))
    return scales


def _normal_rows(scales: arithmetic.F64, radius: NDArray[np.int64]) -> U32:
    """Rows for all scales and fractions; column 0 of each is k = -128."""
    k = np.arange(FIRST, LAST + 2)
    centres = (np.arange(FRACTIONS) + 0.5) / FRACTIONS - 0.5
    rows = []
    for s, r in zip(scales, radius, strict=True):
        lowest, highest = max(FIRST, -int(r)), min(LAST, int(r))
        # past 9 deviations the mass left is below 2**-60: columns there hold 0 or 1
        cdf = arithmetic.normal_cdf(np.clip(((k - 0.5) - centres[:, None]) / s, -9.0, 9.0))
        cdf[:, k <= lowest], cdf[:, k > highest] = 0.0, 1.0
        rising = np.maximum.accumulate(cdf, axis=-1)
        count = np.clip(k - lowest, 0, highest - lowest + 1)
        spread = TOTAL - (highest - lowest + 1)
        rows.append(count + np.floor(rising * spread).astype(np.int64))
    return np.concatenate(rows).astype(np.uint32)


def _frozen(table: A) -> A:
    table.flags.writeable = False
    return table
