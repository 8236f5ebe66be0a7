"""sigmoid and tanh as integer tables over integer pre-activations."""

import functools

import numpy as np
from numpy.typing import NDArray

from bitsback.tables import arithmetic

from .grids import GATE_BITS, GATE_LIMIT, SQUASHED_BITS


@functools.cache
def sigmoid_table() -> NDArray[np.int64]:
    """round(sigmoid(i / 2**GATE_BITS) * 2**SQUASHED_BITS), int64, i from -limit to limit."""
    return np.floor(_sigmoid(_grid()) * 2**SQUASHED_BITS + 0.5).astype(np.int64)


@functools.cache
def tanh_table() -> NDArray[np.int64]:
    """round(tanh(i / 2**GATE_BITS) * 2**SQUASHED_BITS), int64, i from -limit to limit."""
    tanh = 2 * _sigmoid(2 * _grid()) - 1
    return np.floor(tanh * 2**SQUASHED_BITS + 0.5).astype(np.int64)


def _grid() -> NDArray[np.float64]:
    limit = round(GATE_LIMIT * 2**GATE_BITS)
    return np.arange(-limit, limit + 1) / 2.0**GATE_BITS


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    sigmoid: NDArray[np.float64] = 1.0 / (1.0 + arithmetic.exp(-x))
    return sigmoid
