"""Integer weights by least squares, the same on every machine.

Sums of products are of whole numbers below 2**53, so that float64 holds them exactly in whatever
order a library adds them; all else are single operations of IEEE 754 (see `tables.arithmetic`).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def normal_equations(features: F64, target: F64, weights: F64) -> tuple[F64, F64]:
    """A W A' and A W b of whole numbers.

    Args:
        features: A, (K, n), whole numbers of at most 13 bits and a sign.
        target: b, (n,), the same.
        weights: W, (n,), whole numbers of at most 10 bits; n is at most 2**16.

    Returns:
        (K, K) and (K,).
    """
    weighted = features * weights
    return weighted @ features.T, weighted @ target


def factored(matrix: F64) -> tuple[F64, F64]:
    """L D L' of a symmetric positive definite matrix: L with a unit diagonal, and D."""
    rest = matrix.copy()
    size = len(rest)
    lower, diagonal = np.eye(size), np.empty(size)
    for i in range(size):
        diagonal[i] = rest[i, i]
        column = rest[i + 1 :, i] / diagonal[i]
        lower[i + 1 :, i] = column
        rest[i + 1 :, i + 1 :] -= column[:, None] * rest[i, i + 1 :]
    return lower, diagonal


@dataclass(frozen=True)
class System:
    """matrix w = right, factored once for all leading parts of it.

    Args:
        lower: of L D L', unit diagonal; the leading part of it is that of the leading part.
        wanted: D^-1 L^-1 right.
    """

    lower: F64
    wanted: F64

    def rounded(self, count: int, unit: float, limit: int) -> Int64:
        """Whole numbers w, within the limit, for which w / unit all but solves the leading part.

        The unknowns are rounded one after another, and those that follow make up for it: of the
        whole numbers near the solution, these keep the sum of squares low.

        Args:
            count: of the first unknowns; the others are 0.

        Source: Babai (1986), nearest plane.
        """
        wanted = self.wanted[:count] * unit
        found = []
        for i in range(count - 1, -1, -1):
            nearest = min(max(math.floor(wanted[i] + 0.5), -limit), limit)
            found.append(nearest)
            if nearest:
                wanted[:i] -= self.lower[i, :i] * float(nearest)
        return np.array(found[::-1], np.int64)


def system(matrix: F64, right: F64) -> System:
    """The system of a symmetric positive definite matrix."""
    lower, diagonal = factored(matrix)
    forward = right.copy()
    for i in range(len(forward)):
        forward[i + 1 :] -= lower[i + 1 :, i] * forward[i]
    return System(lower, forward / diagonal)
