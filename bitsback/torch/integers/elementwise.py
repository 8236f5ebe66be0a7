"""Activations by table, factors and averages: what takes each value, or few of them, alone."""

import functools
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bitsback.errors import ModelError
from bitsback.tables import arithmetic

from . import grid

TABLE_BITS = 12  # of what a table is asked for
TABLE_LIMIT = 16  # beyond it a function is as at its end, or is its argument
FACTOR_BITS = 20  # of a factor: products with the grid's values stay below 2**53

F64 = NDArray[np.float64]


def _elu(x: F64, alpha: float) -> F64:
    return np.where(x > 0, x, alpha * (arithmetic.exp(np.minimum(x, 0.0)) - 1.0))


def _tanh(x: F64, alpha: float = 0.0) -> F64:
    return 2.0 * arithmetic.logistic_cdf(2.0 * x) - 1.0


def _softplus(x: F64, beta: float) -> F64:
    return np.maximum(x, 0.0) + arithmetic.log1p(arithmetic.exp(-np.abs(beta * x))) / beta


def _gelu_by_tanh(x: F64, alpha: float) -> F64:
    root = 0.7978845608028654  # of 2 / pi
    return 0.5 * x * (1.0 + _tanh(root * (x + 0.044715 * x * x * x)))


_FUNCTIONS: dict[str, Callable[[F64, float], F64]] = {
    "elu": _elu,
    "sigmoid": lambda x, alpha: arithmetic.logistic_cdf(x),
    "tanh": _tanh,
    "silu": lambda x, alpha: x * arithmetic.logistic_cdf(x),
    "gelu": lambda x, alpha: x * arithmetic.normal_cdf(np.clip(x, -9.0, 9.0)),
    "gelu by tanh": _gelu_by_tanh,
    "softplus": _softplus,
}
_BOUNDED = ("sigmoid", "tanh")


@functools.cache
def _values(name: str, alpha: float) -> Tensor:
    unit = 2**TABLE_BITS
    x = np.arange(-TABLE_LIMIT * unit, TABLE_LIMIT * unit + 1) / unit
    return torch.from_numpy(grid.nearest(_FUNCTIONS[name](x, alpha)))


class Table(nn.Module):
    """A function by table, of arguments rounded to 2**-12, from the grid to the grid."""

    def __init__(self, name: str, said: str, alpha: float = 0.0) -> None:
        super().__init__()
        self.name, self.said, self.alpha = name, said, alpha

    def forward(self, x: Tensor) -> Tensor:
        """The function; what is not bounded is its argument above the table."""
        x = grid.checked(x, self.said)
        near = x.clamp(-TABLE_LIMIT, TABLE_LIMIT) + TABLE_LIMIT
        index = torch.floor(near * 2.0**TABLE_BITS + 0.5).long()
        y = _values(self.name, self.alpha).to(x.device)[index]
        if self.name in _BOUNDED:
            return y
        # ELU is its argument from 0 on, and needs no table there.
        identity = 0 if self.name == "elu" else TABLE_LIMIT
        return torch.where(x > identity, grid.rounded(x), y)


class Scale(nn.Module):
    """A factor and an offset for each channel, the second axis; factors of 20 bits.

    Args:
        factor, offset: (C,), or one number for all.
        said: the module, as errors name it.
        negative: of negative values alone, as a leaky ReLU has it.

    Raises:
        ModelError: a number is not finite, or beyond 2**15.
    """

    def __init__(self, factor: F64, offset: F64, said: str, negative: bool = False) -> None:
        super().__init__()
        self.said, self.negative = said, negative
        for values in (factor, offset):
            if not (np.abs(values) <= grid.LIMIT).all():
                raise ModelError(f"{said} has a number that is not finite, or beyond {grid.LIMIT}")
        exponent = np.frexp(factor)[1]
        whole = np.floor(np.ldexp(factor, FACTOR_BITS - exponent) + 0.5)
        self.register_buffer("whole", torch.from_numpy(whole.astype(np.int64)))
        shift = np.clip(exponent - FACTOR_BITS, -grid.POWERS, None).astype(np.int64)
        self.register_buffer("shift", torch.from_numpy(shift))
        self.register_buffer("offset", torch.from_numpy(grid.nearest(offset) * 2**grid.BITS).long())

    def forward(self, x: Tensor) -> Tensor:
        """Factors times values, and offsets, on the grid."""
        x = grid.rounded(grid.checked(x, self.said))
        whole, shift, offset = (cast(Tensor, v) for v in (self.whole, self.shift, self.offset))
        shape = (-1,) + (1,) * (x.ndim - 2) if whole.numel() > 1 else (1,) * x.ndim
        factor = (whole.double() * grid.power(shift)).reshape(shape)
        y = grid.rounded(x * factor) + (offset.double() * 2.0**-grid.BITS).reshape(shape)
        return torch.where(x < 0, grid.clipped(y), x) if self.negative else grid.clipped(y)


class Average(nn.Module):
    """An AvgPool2d: exact sums, each divided and rounded to the grid."""

    def __init__(self, module: nn.AvgPool2d, said: str) -> None:
        super().__init__()
        self.module, self.said = module, said

    def forward(self, x: Tensor) -> Tensor:
        """The averages."""
        pool: Any = self.module
        x = grid.checked(x, self.said)
        sums = functional.avg_pool2d(
            x, pool.kernel_size, pool.stride, pool.padding, divisor_override=1
        )
        count = pool.divisor_override or int(np.prod(np.broadcast_to(pool.kernel_size, 2)))
        return grid.rounded(sums / count)


def of_batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, said: str) -> Scale:
    """The factors and offsets that batch normalisation has in evaluation mode.

    Raises:
        ModelError: it has no running statistics, so that it depends on the batch; or as `Scale`.
    """
    if module.running_mean is None or module.running_var is None:
        raise ModelError(f"{said} has no running statistics: its numbers depend on the batch")
    mean, variance = _array(module.running_mean), _array(module.running_var)
    factor = 1.0 / np.sqrt(variance + module.eps)
    if module.affine:
        factor = factor * _array(module.weight)
    offset = -mean * factor
    if module.affine:
        offset = offset + _array(module.bias)
    return Scale(factor, offset, said)


def of_slope(slope: float | Tensor, said: str) -> Scale:
    """A leaky ReLU, or a PReLU with a slope for each channel."""
    factor = np.atleast_1d(_array(torch.as_tensor(slope)))
    return Scale(factor, np.zeros_like(factor), said, negative=True)


def _array(values: Tensor) -> F64:
    return values.detach().cpu().double().numpy()
