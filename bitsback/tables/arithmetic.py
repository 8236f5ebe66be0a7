"""Elementary functions that give the same bits on every IEEE machine.

Library versions of exp, log and erf differ in their last bits. These use only operations that
IEEE 754 rounds correctly (+, -, *, /, sqrt, floor and scaling by powers of two), each a NumPy
ufunc of its own, so that no compiler can fuse or reorder them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]

_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
# ln 2 in two parts; the first has 32 significant bits: its product with an exponent is exact
_LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_SQRT_2_PI = float.fromhex("0x1.40d931ff62706p+1")

_EXP_TERMS = 14  # (ln 2 / 2)**14 / 14! < 2**-57
_LOG_TERMS = 18  # (1 / 3)**36 < 2**-57
_TAIL = 3.0  # where the continued fraction takes over from the series
_SERIES_TERMS = 34  # 3**69 / 69!! < 2**-57, relative to the sum
_FRACTION_TERMS = 60


def exp(x: ArrayLike) -> F64:
    """The exponential function, to within 4 units in the last place.

        exp(x) = 2**n exp(r);  n = round(x / ln 2),  r = x - n ln 2

    Args:
        x: float64, any shape; values beyond +-746 count as +-746.

    Returns:
        float64 of x's shape; inf above 709.78, and 0 below -745.13.
    """
    x = np.clip(np.asarray(x, np.float64), -746.0, 746.0)
    n = np.floor(x * _LOG2_E + 0.5)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    total = np.ones_like(r)
    for k in range(_EXP_TERMS, 0, -1):
        total = total * r
        total = total / k
        total = total + 1.0
    with np.errstate(over="ignore", under="ignore"):
        rounded: F64 = np.ldexp(total, n.astype(np.int32))
    return rounded


def log1p(x: ArrayLike) -> F64:
    """log(1 + x) for x in [0, 1], to within 4 units in the last place.

        log(1 + x) = 2 atanh(x / (2 + x))

    Args:
        x: float64 in [0, 1], any shape.

    Returns:
        float64 of x's shape.
    """
    x = np.asarray(x, np.float64)
    s = x / (x + 2.0)
    square = s * s
    total = np.zeros_like(s)
    for k in range(2 * _LOG_TERMS - 1, 1, -2):
        total = total + 1.0 / k
        total = total * square
    values: F64 = (total * s + s) * 2.0
    return values


def exp2_steps(n: ArrayLike, steps: int) -> F64:
    """2**(n / steps), to within log2(steps) + 1 units in the last place.

    Products of repeated square roots of 2, so that powers of two are exact.

    Args:
        n: integers, any shape; n / steps in [-1000, 1000].
        steps: a power of two, the steps in an octave.

    Returns:
        float64 of n's shape.
    """
    n = np.asarray(n, np.int64)
    octave = n // steps
    rest = n - octave * steps
    total = np.ones(n.shape)
    root = np.float64(2.0)
    while (steps := steps // 2) > 0:
        root = np.sqrt(root)
        total = np.where(rest & steps, total * root, total)
    values: F64 = np.ldexp(total, octave.astype(np.int32))
    return values


def normal_cdf(x: ArrayLike) -> F64:
    """The standard normal distribution function, relative accuracy 1e-12 in both tails.

        Phi(x) = 1/2 + phi(x) (x + x**3 / 3 + x**5 / (3 5) + ...)      for |x| < 3
        Phi(x) = phi(x) / (-x + 1 / (-x + 2 / (-x + 3 / ...)))          for x <= -3

    Args:
        x: float64, any shape.

    Returns:
        float64 of x's shape, in [0, 1].

    Source: Abramowitz and Stegun, 26.2.11 and 26.2.14.
    """
    x = np.asarray(x, np.float64)
    size = np.abs(x)
    values = np.asarray(np.where(x < 0.0, 0.0, 1.0))
    near = size < _TAIL
    values[near] = _central(x[near])
    far = ~near & (size < 39.0)
    tail = _upper_tail(size[far])
    values[far] = np.where(x[far] < 0.0, tail, 1.0 - tail)
    return values


def logistic_cdf(x: ArrayLike) -> F64:
    """The logistic distribution function 1 / (1 + exp(-x)), accurate in both tails.

    Args:
        x: float64, any shape.

    Returns:
        float64 of x's shape, in [0, 1].
    """
    x = np.asarray(x, np.float64)
    e = exp(-np.abs(x))
    values: F64 = np.where(x < 0.0, e, 1.0) / (e + 1.0)
    return values


def _density(x: F64) -> F64:
    values: F64 = exp(x * x * -0.5) / _SQRT_2_PI
    return values


def _central(x: F64) -> F64:
    square = x * x
    total = np.ones_like(x)
    for k in range(2 * _SERIES_TERMS + 1, 1, -2):
        total = total * square
        total = total / k
        total = total + 1.0
    values: F64 = _density(x) * (total * x) + 0.5
    return values


def _upper_tail(x: F64) -> F64:
    bottom = x
    for k in range(_FRACTION_TERMS, 0, -1):
        bottom = k / bottom
        bottom = bottom + x
    values: F64 = _density(x) / bottom
    return values
