"""Convolutions of integers carried by floats: they prove their results, and have other ways.

What a convolution gives here is exact if it only multiplies and adds, in whatever order: no partial
sum leaves the range in which the floats count (`draw.exactness` has the bound). Whether torch only
multiplies and adds depends on its build, the shape, the number of threads and much else that
nobody knows in advance. So the first result of each such case is proven before it is used, and
where the proof fails, the case takes another way from then on: float64, and at last int64.

The proof is Freivalds's, from both sides: for weights W, biases b, a random integer s[p] for each
position p of the output and c[o] for each of its channels,

    sum over o and p of c[o] * s[p] * y[o, p]
        =  (c times W) times (sum over p of s[p] * x[around p])  +  (c times b) * (sum of s)

Where one y[o, p] is wrong, it does not hold; where more are, it holds by chance less than once in
2**10. Of the weights only c times W is needed, for all proofs of a kernel. Sums over positions are
float64's, in which they are exact, those over channels int64's modulo 2**64, in units of 2**-12.
The proof is of half of the first and half of the last image of the batch.

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

from . import factors, reference
from .settings import exact_settings

# Sums over a band stay below 2**24 * factors.FACTORS * 2**13, and so are exact in float64.
_BAND = factors.BAND
_FINE = 2.0**12  # parts of a unit that sums over channels tell

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
    def checksum(self) -> "Checksum":
        """What the proof takes of the kernel."""
        rows = _array(self.weight).transpose(0, 2, 3, 1)  # as they lie in memory
        channels = factors.of_channels(len(rows)).astype(np.float64)
        unit = _FINE * np.asarray(_array(self.unit), np.float64)
        bias = 0 if self.bias is None else int(channels * unit @ _array(self.bias))
        weight = (channels * unit) @ rows.reshape(len(rows), -1)
        return Checksum(
            np.concatenate([unit, np.ones(len(weight))]),
            np.concatenate([channels, -weight]).astype(np.int64),
            bias,
            self.weight.shape[-1] // 2,
        )


@dataclasses.dataclass(frozen=True)
class Checksum:
    """What a kernel's sums over positions are multiplied by: first the outputs', then the inputs'.

    Args:
        unit: what makes integers of the sums, (O + k * k * C,): of those of outputs, in units of
            2**-12.
        factors: of each output channel, and less the weights' sum over output channels for each
            tap and input channel, in units of 2**-12; (O + k * k * C,).
        bias: sum over output channels, in units of 2**-12.
        side: rows and columns of inputs beyond an output that it takes.
    """

    unit: Floats
    factors: Ints
    bias: int
    side: int


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
    """Whether y is x convolved with a kernel, as far as parts of the batch tell.

    These are the upper half of the first image and the lower half of the last one, or all of a
    single image.
    """
    # Few calls, since the code of each is out of the processor's caches between two proofs; no
    # `np.errstate` and no `@`, which look at the floating-point flags.
    checksum, inputs, outputs = kernel.checksum, _ends(x), _ends(y)
    images, height, width, channels = inputs.shape
    split = outputs.shape[-1]
    for band in _bands(checksum.side, min(2, images), height, width):
        sums = np.empty(len(checksum.unit))
        np.dot(band.factors, _gathered(outputs, band.outputs), sums[:split])
        around = sums[split:].reshape(-1, channels)
        np.dot(band.taps, _gathered(inputs, band.inputs), around)
        sums *= checksum.unit
        # The squares' sum tells in one call that int64 holds all sums, as it does if y is right.
        if not np.dot(sums, sums) < 2.0**126 and not all(abs(s) < 2**63 for s in sums.tolist()):
            return False
        found = int(np.dot(sums.astype(np.int64), checksum.factors))
        if (found - checksum.bias * band.total) % 2**64:
            return False
    return True


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows that a band takes of the first and the last image.

    Args:
        count: of each image, those beyond it included.
        within: of each image, which of these lie within it, and which rows of it they are.
    """

    count: int
    within: tuple[tuple[slice, slice], ...]


@dataclasses.dataclass(frozen=True)
class Band:
    """Rows of outputs that are proven at once, and the factors of their positions.

    Args:
        inputs, outputs: the rows.
        taps: of each tap and input, ((2 * side + 1)**2, images * rows of inputs * W).
        factors: of each output, (images * rows of outputs * W,), and `total`, the sum of these.
    """

    inputs: Rows
    outputs: Rows
    taps: Floats
    factors: Floats
    total: int


@functools.lru_cache(64)
def _bands(side: int, images: int, height: int, width: int) -> tuple[Band, ...]:
    """The bands of the first and the last image of a batch.

    Args:
        side: rows and columns of inputs beyond an output that it takes.
        images: 1 or 2.
    """
    part = -(-height // images)
    most = max(1, _BAND // (images * width))
    bands = []
    for first in range(0, part, most):
        starts, rows = (first, height - part + first)[:images], min(most, part - first)
        inputs, outputs = (_rows(height, starts, rows, beyond) for beyond in (side, 0))
        bands.append(Band(inputs, outputs, *_factors(side, images, rows, width)))
    return tuple(bands)


def _rows(height: int, starts: tuple[int, ...], rows: int, beyond: int) -> Rows:
    """Some rows of each image, and so many before and after these."""
    within = []
    for start in starts:
        first, last = max(0, start - beyond), min(height, start + rows + beyond)
        at = first - start + beyond
        within.append((slice(at, at + last - first), slice(first, last)))
    return Rows(rows + 2 * beyond, tuple(within))


@functools.lru_cache(64)
def _factors(side: int, images: int, rows: int, width: int) -> tuple[Floats, Floats, int]:
    """What the inputs and the outputs of a band of rows are multiplied by.

    Args:
        side: rows and columns of inputs beyond an output that it takes.
        rows: of outputs in the band, for each image.

    Returns:
        Of each tap and input ((2 * side + 1)**2, images * (rows + 2 * side) * W); of each output
        (images * rows * W,); and the sum of these.
    """
    of_outputs = factors.of_positions(images * rows * width).astype(np.float64)
    of_outputs = of_outputs.reshape(images, rows, width)
    # The factor of an input at a tap is that of the output that takes it there, if there is one.
    padded = np.zeros((images, rows + 4 * side, width + 2 * side))
    padded[:, 2 * side : 2 * side + rows, side : side + width] = of_outputs
    taken = [
        padded[:, i : i + rows + 2 * side, j : j + width]
        for i, j in itertools.product(range(2 * side + 1)[::-1], repeat=2)
    ]
    return np.stack(taken).reshape(len(taken), -1), of_outputs.ravel(), int(of_outputs.sum())


def _ends(values: Tensor) -> NDArray[np.floating]:
    """A batch of which the first and the last image are there, (B or less, H, W, C)."""
    # Only these two need to leave another device.
    some = values.numpy() if values.is_cpu else _array(values[:: max(1, len(values) - 1)])
    return some.transpose(0, 2, 3, 1)


def _gathered(values: NDArray[np.floating], rows: Rows) -> Floats:
    """Rows of the first and the last image: (positions, C), zeros beyond the image."""
    _, _, width, channels = values.shape
    found = np.zeros((len(rows.within), rows.count, width, channels))
    for image, (to, of) in enumerate(rows.within):
        found[image, to] = values[-image, of]  # 0 and -1
    return found.reshape(-1, channels)


def _array(values: Tensor) -> NDArray[np.floating]:
    return values.cpu().numpy()
