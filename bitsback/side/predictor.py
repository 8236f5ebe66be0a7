"""Weights of known neighbours, by least squares.

Each pixel counts by the inverse square of its scale, and less the farther its level lies from the
mean, as under a logistic.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from bitsback.tables import arithmetic, corrections
from bitsback.tables.corrections import WEIGHT_BITS, WEIGHT_LIMIT, Correction
from bitsback.tables.tables import PIXEL_FRACTIONS, PIXEL_SCALES, PIXEL_STEPS

from . import codec
from .channel import Channel
from .least_squares import System, normal_equations, system

Int64 = NDArray[np.int64]
F64 = NDArray[np.float64]

_ROBUST = 8.0  # squared error, in units of the scale, at which a pixel counts half
_NARROWEST = 4.0  # inverse square of the smallest scale that is told apart
_UNIT = 1 << 12  # of a pixel's weight in the least squares
_RIDGE = 2.0
_NEAREST = 8


def predictor(
    pixels: Channel, near: NDArray[np.uint8], x: NDArray[np.uint8], c: int
) -> tuple[Correction, Int64]:
    """Weights for the number of neighbours that saves most, or none; and the moves of the means.

    Args:
        pixels: of channel c.
        near: their neighbours, (B, K, C, H, W).
        x: their levels, (B, C, H, W).

    Returns:
        The correction, and (n,) moves in 1/16 level.
    """
    mean = corrections.mean_of(pixels.weights, pixels.means)
    features = corrections.features(near, x, c, mean, near.shape[1])
    # The nearest neighbour's features first, so that fewer neighbours are fewer first unknowns.
    order = np.arange(len(features)).reshape(c + 1, -1).T.ravel()
    features = features[order]
    solved = _system(pixels, features, mean, c)
    tried = pixels.tried
    some = pixels.some(tried)
    best, best_move = Correction(), np.zeros(len(mean), np.int64)
    least = some.total(some.length())
    for count in sorted({min(count, near.shape[1]) for count in codec.COUNTS if count}):
        found = _rounded(solved, count * (c + 1))
        sent = Correction(tuple(found.reshape(count, c + 1).T.ravel().tolist()))
        move = corrections.moved(found @ features[: len(found)])
        bits = some.total(some.length(move[tried])) + codec.cost_of(sent, c)
        if bits < least:
            best, best_move, least = sent, move, bits
    return best, best_move


def _system(pixels: Channel, features: Int64, mean: Int64, c: int) -> System:
    """The normal equations; how much a pixel counts is found from the nearest neighbours alone."""
    error = PIXEL_FRACTIONS * pixels.levels - mean
    scales = pixels.scales - PIXEL_SCALES[0]
    precise = np.minimum((pixels.weights * _inverse_squares()[scales]).sum(0) / 256.0, _NARROWEST)

    def solved(some: Int64, left: Int64) -> System:
        square = (left * left).astype(np.float64) * (precise / (_ROBUST * PIXEL_FRACTIONS**2))
        counts = np.floor(precise / (square + 1.0) * _UNIT)
        matrix, right = normal_equations(some.astype(np.float64), error.astype(np.float64), counts)
        matrix[np.diag_indices(len(matrix))] += _RIDGE * _UNIT * PIXEL_FRACTIONS**2
        return system(matrix, right)

    nearest = features[: (c + 1) * _NEAREST]
    first = _rounded(solved(nearest, error), len(nearest))
    return solved(features, error - corrections.moved(first @ nearest))


def _rounded(solved: System, count: int) -> Int64:
    return solved.rounded(count, float(1 << WEIGHT_BITS), WEIGHT_LIMIT)


@functools.cache
def _inverse_squares() -> F64:
    """1 / s**2 of each log-scale of the tables, the least first."""
    scales = np.arange(PIXEL_SCALES[0], PIXEL_SCALES[1] + 1)
    return arithmetic.exp2_steps(-2 * scales, PIXEL_STEPS)
