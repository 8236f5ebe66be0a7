"""Convolutions of integers carried by floats: they prove their results, and have other ways.

What a convolution gives here is exact if it only multiplies and adds, in whatever order: no partial
sum leaves the range in which the floats count (`draw.exactness` has the bound). Whether torch only
multiplies and adds depends on its build, the shape, the number of threads and much else that
nobody knows in advance. So the first result of each such case is proven before it is used, and
where the proof fails, the case takes another way from then on: float64, and at last int64.

The proof is Freivalds's: for weights W, biases b and a random integer s[p] for each position p of
the output,

    sum over p of s[p] * y[p]  =  W times (sum over p of s[p] * x[around p])  +  b * sum of s

holds for every output channel; where a y[p] is wrong, it holds by chance once in 2**12. NumPy
computes both sides in float64, in which they are exact, for the first and the last image of the
batch: for each position of the input one product for each tap of the kernel, whatever the number of
output channels.

Source: R. Freivalds, "Probabilistic machines can use less running time", IFIP Congress 1977.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bitsback.errors import ModelError

from . import reference
from .settings import exact_settings

# Sums over a band stay below 2**24 * 2**12 * 2**13, and so are exact in float64.
_FACTORS, _BAND = 2**12, 2**13

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """What a convolution multiplies by and adds.

    Args:
        weight: (O, C, k, k), k odd, channels_last; integers in units of 1 / unit.
        bias: (O,) likewise, or None for none.
        unit: (O,), what makes integers of them; float64.
    """

    weight: Tensor
    bias: Tensor | None
    unit: Tensor
    ways: dict[tuple[object, ...], "Way"] = dataclasses.field(default_factory=dict, repr=False)

    @functools.cached_property
    def doubled(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in float64."""
        return self.weight.double(), None if self.bias is None else self.bias.double()

    @functools.cached_property
    def flat(self) -> tuple[Floats, Floats | float]:
        """Weight, (O, k * k * C), and bias as matrices in float64."""
        weight, bias = self.doubled
        rows = np.asarray(_array(weight), np.float64).transpose(0, 2, 3, 1)  # as they lie in memory
        return rows.reshape(len(rows), -1), 0.0 if bias is None else np.float64(_array(bias))


def joined(kernels: list[Kernel]) -> Kernel:
    """The kernel of convolutions of the same input, whose outputs follow one another."""
    biases = [kernel.bias for kernel in kernels if kernel.bias is not None]
    if len(biases) not in (0, len(kernels)):
        raise ValueError("all kernels have a bias, or none")
    return Kernel(
        torch.cat([kernel.weight for kernel in kernels]),
        torch.cat(biases) if biases else None,
        torch.cat([kernel.unit for kernel in kernels]),
    )


def convolve(x: Tensor, kernel: Kernel) -> Tensor:
    """x, (B, C, H, W) integers, convolved with a kernel, zeros lying around the images.

    Returns:
        (B, O, H, W) in x's dtype and the kernel's units: exactly what int64 gives.

    Raises:
        ModelError: no way to compute it is exact on this device.
    """
    with exact_settings(x.device.type):
        # All that may choose another algorithm; device and dtype are the kernel's.
        case = x.shape, x.stride(), torch.get_num_threads(), torch._C._get_mkldnn_enabled()
        way = kernel.ways.get(case)
        if way is not None:
            return way(x, kernel)
        for way in WAYS:
            y = way(x, kernel)
            if proven(x, kernel, y):
                kernel.ways[case] = way
                return y
    raise ModelError(
        f"this device ({x.device}) does not compute the model exactly: "
        f"a convolution of {tuple(x.shape)} rounds, in float64, too"
    )


Way = Callable[[Tensor, Kernel], Tensor]


def in_its_dtype(x: Tensor, kernel: Kernel) -> Tensor:
    """By torch, in the floats that carry the integers."""
    return functional.conv2d(x, kernel.weight, kernel.bias, padding=kernel.weight.shape[-1] // 2)


def in_float64(x: Tensor, kernel: Kernel) -> Tensor:
    """By torch in float64, where NNPACK, TF32 and bfloat16 do not exist."""
    weight, bias = kernel.doubled
    return functional.conv2d(x.double(), weight, bias, padding=weight.shape[-1] // 2).to(x.dtype)


def in_int64(x: Tensor, kernel: Kernel) -> Tensor:
    """By NumPy in int64: slow."""
    weight, bias = kernel.doubled
    unit = _array(kernel.unit)[:, None, None]
    whole = (_array(weight) * unit[..., None]).astype(np.int64)
    y = reference.convolve(_array(x).astype(np.int64), whole) / unit
    if bias is not None:
        y += _array(bias)[:, None, None]
    found = torch.from_numpy(y).to(x.device, x.dtype)
    return found.contiguous(memory_format=torch.channels_last)


WAYS: tuple[Way, ...] = (in_its_dtype, in_float64, in_int64)


def proven(x: Tensor, kernel: Kernel, y: Tensor) -> bool:
    """Whether y is x convolved with a kernel, as far as the batch's first and last image tell."""
    inputs, outputs = _ends(x), _ends(y)
    (images, height, width, _), size = inputs.shape, kernel.weight.shape[-1]
    rows = max(1, _BAND // (images * width))
    for first in range(0, height, rows):
        last = min(first + rows, height)
        above, below = min(size // 2, first), min(size // 2, height - last)
        taps, factors, total = _factors(size, images, last - first, width, above, below)
        around = _rows(inputs[:, first - above : last + below])
        weight, bias = kernel.flat
        wanted = weight @ (taps @ around).ravel() + bias * total
        if not (factors @ _rows(outputs[:, first:last]) == wanted).all():
            return False
    return True


@functools.lru_cache(64)
def _factors(
    size: int, images: int, rows: int, width: int, above: int, below: int
) -> tuple[Floats, Floats, float]:
    """What the inputs and the outputs of a band of rows are multiplied by.

    Args:
        size: k of the kernel.
        rows: of outputs in the band.
        above, below: rows of inputs beyond these that the band takes.

    Returns:
        Of each tap and input (k * k, n * (above + rows + below) * W); of each output (n * rows *
        W,); and the sum of these.
    """
    side, wide = size // 2, width + 2 * (size // 2)
    random = np.random.Generator(np.random.Philox(key=rows * width))
    factors = random.integers(1, _FACTORS + 1, (images, rows, width)).astype(np.float64)
    # The factor of an input at a tap is that of the output that takes it there, if there is one.
    padded = np.zeros((images, above + rows + below + 2 * side, wide))
    padded[:, above + side : above + side + rows, side : side + width] = factors
    taken = [
        padded[:, i : i + above + rows + below, j : j + width]
        for i, j in itertools.product(range(size)[::-1], repeat=2)
    ]
    return np.stack(taken).reshape(size * size, -1), factors.ravel(), float(factors.sum())


def _ends(values: Tensor) -> NDArray[np.floating]:
    """The first and the last image of a batch, (1 or 2, H, W, C)."""
    step = max(1, len(values) - 1)
    # NumPy indexes faster, but only these two images need to leave another device.
    some = values.numpy()[::step] if values.device.type == "cpu" else _array(values[::step])
    return some.transpose(0, 2, 3, 1)


def _rows(values: NDArray[np.floating]) -> Floats:
    """Values, (n, h, W, C), as a matrix of one row for each position."""
    return values.astype(np.float64).reshape(-1, values.shape[-1])


def _array(values: Tensor) -> NDArray[np.floating]:
    return values.cpu().numpy()
