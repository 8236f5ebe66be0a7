"""The grid of integer modules: what they give and take are multiples of 2**-16, in float64.

An author's own lines between two modules may join, cut, reshape, add and halve: all this is exact
in float64 and stays on a finer grid, of multiples of 2**-20. What rounds leaves it, and is refused.
"""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitsback.errors import ModelError

BITS = 16
FINE_BITS = 20
LIMIT = 1 << 15  # of a module's results; beyond it they are clipped
POWERS = 64  # exponents of `power`, to both sides

F64 = NDArray[np.float64]


def nearest(values: F64) -> F64:
    """The nearest multiples of 2**-16, halves up."""
    return np.floor(values * 2.0**BITS + 0.5) / 2.0**BITS


def is_fine(values: F64) -> bool:
    """Whether all values are multiples of 2**-20."""
    wide = values * 2.0**FINE_BITS
    return bool(np.array_equal(wide, np.floor(wide)))


def rounded(values: Tensor) -> Tensor:
    """To multiples of 2**-16, halves up, in float64."""
    return torch.floor(values.double() * 2.0**BITS + 0.5) * 2.0**-BITS


def clipped(values: Tensor) -> Tensor:
    """To |value| <= 2**15."""
    return values.clamp(-LIMIT, LIMIT)


def checked(values: Tensor, said: str) -> Tensor:
    """What a module is given, in float64 and clipped.

    Raises:
        ModelError: it is not on the fine grid: what made it may round in another way elsewhere.
            Of other floats than float64, whose own grids are coarse, whole numbers alone are.
    """
    bits = FINE_BITS if values.dtype == torch.float64 else 0
    wide = values.double() * 2.0**bits
    if not torch.equal(wide, torch.floor(wide)):
        raise ModelError(
            f"{said} is given numbers that are not on the grid of integer modules: an operation "
            "before it rounds; make it a module of torch.nn, so that it becomes an integer one"
        )
    return clipped(values.double())


@functools.cache
def _powers(device: torch.device) -> Tensor:
    return torch.from_numpy(np.ldexp(1.0, np.arange(-POWERS, POWERS + 1))).to(device)


def power(exponents: Tensor) -> Tensor:
    """2**exponents, float64, exactly; exponents: integers of at most 64."""
    return _powers(exponents.device)[exponents.long() + POWERS]
