"""Modules of floats turned into modules of integers, which give the same numbers everywhere.

Activations are multiples of 2**-12 and weights of 2**-16. Sums of their products are integers in
float64, which counts exactly to 2**53, in whatever order they are added:

    sum(|w_int|) * max(|a_int|) + |bias_int| + 1/2 < 2**53

ELU, sigmoid and tanh are tables. What a module's own `forward` does between its parts stays as it
is: joining, cutting, reshaping, and adding are exact, and so are factors of powers of two.
`adapt(exact=True)` refuses what is not.
"""

import copy
import functools
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bitsback.errors import ModelError
from bitsback.tables import arithmetic

ACTIVATION_BITS, WEIGHT_BITS = 12, 16
LIMIT = 2048  # of an activation; beyond it is clipped
TABLE_LIMIT = 16  # of what a table is asked for: beyond it is as at its end
EXACT = 1 << 53

F64 = NDArray[np.float64]
_KEPT = (nn.Flatten, nn.Unflatten, nn.Identity, nn.ReLU, nn.Dropout, nn.Dropout2d)


def quantise(module: nn.Module, engine: str = "torch") -> nn.Module:
    """A copy of a module that computes in integers, on every machine the same.

    Turned are Linear, Conv2d, ELU, Sigmoid and Tanh; ReLU, Flatten, Unflatten, Identity, dropout
    and nearest Upsample are exact as they are. Parameters that a module has itself are rounded to
    2**-12.

    Args:
        module: in evaluation mode; it stays as it is.
        engine: "torch", sums in float64; or "numpy", in int64: slow, and the same numbers.

    Returns:
        A module of the same structure and class, whose parameters are float64. It takes multiples
        of 2**-12, which `adapt` gives it, and refuses others.

    Raises:
        ModelError: a part cannot be turned, or its sums could leave float64's integers; the
            sentence names all such parts.
    """
    if engine not in ("torch", "numpy"):
        raise ModelError(f"unknown engine {engine!r}: torch or numpy")
    whole = copy.deepcopy(module).double()
    whole.requires_grad_(False)
    wrong: list[str] = []
    turned = _turned(whole, "", engine, wrong)
    if wrong:
        raise ModelError(f"what cannot be turned into integers: {', '.join(wrong)}")
    return turned.eval()


def nearest(values: F64) -> F64:
    """The nearest multiples of 2**-12, of which all numbers of quantised modules are."""
    unit = 2.0**ACTIVATION_BITS
    return np.floor(values * unit + 0.5) / unit


def _turned(module: nn.Module, name: str, engine: str, wrong: list[str]) -> nn.Module:
    said = f"{name or 'the module'} ({type(module).__name__})"
    if isinstance(module, _KEPT) or _is_nearest(module):
        return module
    if isinstance(module, nn.Linear | nn.Conv2d):
        if isinstance(module, nn.Conv2d) and (
            module.groups != 1 or module.padding_mode != "zeros" or isinstance(module.padding, str)
        ):
            wrong.append(f"{said} with groups, or padding that is not a number of zeros")
            return module
        turned = Affine(module, said, engine)
        if turned.reach >= EXACT:
            wrong.append(f"{said} whose sums could reach {turned.reach:.3g} of 2**53")
        return turned
    if isinstance(module, nn.ELU):
        return Table("elu", said, module.alpha)
    if isinstance(module, nn.Sigmoid | nn.Tanh):
        return Table(type(module).__name__.lower(), said)
    children = list(module.named_children())
    if not children and (type(module).__module__.startswith("torch.nn")):
        wrong.append(said)
    for parameter in module.parameters(recurse=False):
        parameter.data = _rounded(parameter.data, ACTIVATION_BITS)
    for child, part in children:
        setattr(module, child, _turned(part, f"{name}.{child}".lstrip("."), engine, wrong))
    return module


def _is_nearest(module: nn.Module) -> bool:
    return isinstance(module, nn.Upsample) and module.mode == "nearest"


def _rounded(values: Tensor, bits: int) -> Tensor:
    """To multiples of 2**-bits, halves up."""
    return torch.floor(values.double() * 2.0**bits + 0.5) * 2.0**-bits


def on_grid(values: Tensor) -> Tensor:
    """To multiples of 2**-12, clipped to |a| <= 2048."""
    return _rounded(values, ACTIVATION_BITS).clamp(-LIMIT, LIMIT)


def _checked(values: Tensor, said: str) -> Tensor:
    """Values that a part is given, clipped.

    Raises:
        ModelError: they are not on the grid: what made them may round elsewhere in another way.
    """
    if not torch.equal(values.double(), _rounded(values, ACTIVATION_BITS)):
        raise ModelError(
            f"{said} is given numbers that are not on the grid of quantised modules: an operation "
            "before it rounds; make it a module of torch.nn, so that it becomes an integer one"
        )
    return values.double().clamp(-LIMIT, LIMIT)


class Affine(nn.Module):
    """A Linear or Conv2d of integers."""

    def __init__(self, module: nn.Linear | nn.Conv2d, said: str, engine: str) -> None:
        super().__init__()
        self.engine, self.module, self.said = engine, module, said
        self.register_buffer("weight", _rounded(module.weight.data, WEIGHT_BITS).flatten(1))
        bias = torch.zeros(len(module.weight)) if module.bias is None else module.bias.data
        self.register_buffer("bias", _rounded(bias, ACTIVATION_BITS + WEIGHT_BITS))
        del self.module.weight, self.module.bias

    @property
    def reach(self) -> float:
        """The largest magnitude of a sum, in units of its last bit."""
        weight, bias = cast(Tensor, self.weight), cast(Tensor, self.bias)
        sums = weight.abs().sum(1) * LIMIT + bias.abs() + 2.0**-ACTIVATION_BITS
        return float(sums.max()) * 2.0 ** (ACTIVATION_BITS + WEIGHT_BITS)

    def forward(self, x: Tensor) -> Tensor:
        """The sums, on the grid."""
        x = _checked(x, self.said)
        if isinstance(self.module, nn.Linear):
            return on_grid(self._sums(x))
        conv = self.module
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(
                x.shape[2:],
                cast(tuple[int, int], conv.padding),
                conv.dilation,
                conv.kernel_size,
                conv.stride,
                strict=True,
            )
        ]
        columns = functional.unfold(
            x, conv.kernel_size, conv.dilation, cast(tuple[int, int], conv.padding), conv.stride
        )
        y = self._sums(columns.transpose(1, 2)).transpose(1, 2)
        return on_grid(y.reshape(len(x), -1, *size))

    def _sums(self, x: Tensor) -> Tensor:
        weight, bias = cast(Tensor, self.weight), cast(Tensor, self.bias)
        if self.engine == "torch":
            return functional.linear(x, weight, bias)
        units = 2.0**ACTIVATION_BITS, 2.0**WEIGHT_BITS
        whole_x = (x.cpu().numpy() * units[0]).astype(np.int64)
        whole_w = (weight.cpu().numpy() * units[1]).astype(np.int64)
        whole_b = (bias.cpu().numpy() * (units[0] * units[1])).astype(np.int64)
        sums = (whole_x @ whole_w.T + whole_b) / (units[0] * units[1])
        return torch.from_numpy(sums).to(x.device)


def _elu(x: F64, alpha: float) -> F64:
    return np.where(x > 0, x, alpha * (arithmetic.exp(np.minimum(x, 0.0)) - 1.0))


def _tanh(x: F64, alpha: float) -> F64:
    return 2.0 * arithmetic.logistic_cdf(2.0 * x) - 1.0


_FUNCTIONS: dict[str, Callable[[F64, float], F64]] = {
    "elu": _elu,
    "sigmoid": lambda x, alpha: arithmetic.logistic_cdf(x),
    "tanh": _tanh,
}


@functools.cache
def _values(name: str, alpha: float) -> Tensor:
    unit = 2.0**ACTIVATION_BITS
    x = np.arange(-TABLE_LIMIT * unit, TABLE_LIMIT * unit + 1) / unit
    return torch.from_numpy(np.floor(_FUNCTIONS[name](x, alpha) * unit + 0.5) / unit)


class Table(nn.Module):
    """A function by table, from the grid to the grid."""

    def __init__(self, name: str, said: str, alpha: float = 1.0) -> None:
        super().__init__()
        self.name, self.said, self.alpha = name, said, alpha

    def forward(self, x: Tensor) -> Tensor:
        """The function; above the table ELU is its argument."""
        x = _checked(x, self.said)
        index = (x.clamp(-TABLE_LIMIT, TABLE_LIMIT) + TABLE_LIMIT) * 2.0**ACTIVATION_BITS
        y = _values(self.name, self.alpha).to(x.device)[index.long()]
        return torch.where(x > TABLE_LIMIT, x, y) if self.name == "elu" else y
