"""Convolutions of integers carried by floats: they prove their results, and have other ways.

What a convolution gives here is exact if it only multiplies and adds, in whatever order: no partial
sum leaves the range in which the floats count (`draw.exactness` has the bound). Whether torch only
multiplies and adds depends on its build, the shape, the number of threads and much else that
nobody knows in advance. So the first result of each such case is proven before it is used, and
where the proof fails, the case takes another way from then on: float64, and at last int64.

The proof is Freivalds's: for weights W, biases b and a vector r of random integers,

    sum over o of r[o] * y[o]  =  (sum over o of r[o] * W[o]) convolved with x  +  r . b

holds at every position of an image, for all output channels at once; where a y[o] is wrong, it
holds with a probability below 2**-12. NumPy computes both sides in float64, in which they are
exact, for the price of one output channel, and for the first and the last image of the batch.

Source: R. Freivalds, "Probabilistic machines can use less running time", IFIP Congress 1977.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bitsback.errors import ModelError

from . import reference
from .settings import exact_settings

# Projections stay below 2**24 * 2**12 * channels: exact in float64 up to 2**17 channels.
_FACTORS = 2**12

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
    def factors(self) -> Floats:
        """r in the units of y, (O,)."""
        random = np.random.Generator(np.random.Philox(key=len(self.unit)))
        return random.integers(1, _FACTORS + 1, len(self.unit)) * _array(self.unit)

    @functools.cached_property
    def projected(self) -> tuple[Floats, float]:
        """Sums over o of r[o] W[o], (k, k, C), and of r[o] b[o]."""
        weight, bias = self.doubled
        taps = np.einsum("o,ocij->ijc", self.factors, _array(weight))
        return taps, 0.0 if bias is None else float(self.factors @ _array(bias))


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
        # All that may choose another algorithm.
        case = (
            *(x.shape, x.stride(), x.dtype, x.device),
            *(torch.get_num_threads(), torch.backends.mkldnn.enabled),
        )
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
    some = slice(None, None, max(1, len(x) - 1))
    inputs, outputs = _array(x[some]), _array(y[some])
    images, channels, height, width = inputs.shape
    taps, bias = kernel.projected
    size = len(taps)
    rows, columns = height + size - 1, width + size - 1
    padded = np.zeros((images, rows, columns, channels))
    middle = slice(size // 2, size // 2 + height), slice(size // 2, size // 2 + width)
    padded[:, *middle] = inputs.transpose(0, 2, 3, 1)
    # One row for each tap, one column for each place of its input; windows that reach over an edge
    # into what follows are of no output.
    places = images * rows * columns
    parts = np.zeros(size * size * places + (size - 1) * (columns + 1))
    np.matmul(
        taps.reshape(-1, channels),
        padded.reshape(-1, channels).T,
        out=parts[: size * size * places].reshape(-1, places),
    )
    steps = (8 * (size * places + columns), 8 * (places + 1), 8)  # to a window's next row, column
    windows = np.ndarray((size, size, places), np.float64, parts, strides=steps)
    wanted = windows.sum((0, 1)).reshape(images, rows, columns)[:, :height, :width]
    found = outputs.transpose(0, 2, 3, 1).astype(np.float64) @ kernel.factors
    return np.array_equal(found, wanted + bias)


def _array(values: Tensor) -> NDArray[np.floating]:
    return values.cpu().numpy()
