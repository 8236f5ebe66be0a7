"""Random integers, the same everywhere, that proofs of convolutions multiply by."""

import functools

import numpy as np
from numpy.typing import NDArray

FACTORS, BAND = 2**12, 2**13


def of_positions(count: int) -> NDArray[np.int64]:
    """A factor for each position, 1 to 2**12."""
    return _random(0, count)


def of_channels(count: int) -> NDArray[np.int64]:
    """A factor for each channel: odd, so that no sum of one becomes 0 modulo 2**64."""
    return _random(1, count) | 1


def _random(key: int, count: int) -> NDArray[np.int64]:
    return _sequence(key, max(BAND, count))[:count]


@functools.lru_cache(4)
def _sequence(key: int, count: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.Philox(key=key)).integers(1, FACTORS + 1, count)
