"""Linear, Conv2d and ConvTranspose2d as sums of integers below 2**24, which float32 counts.

An input is rounded to integers of B bits, whose unit is a power of two for each image (for each row
of a Linear), by the image's own largest value. Weights are integers whose unit is a power of two
for each output. Sums are over parts of at most 512 inputs, and for each of them

    2**B sum(|w_int|) < 2**24

so that float32 adds them exactly in whatever order. `bitsback.models.exact` computes them, and
proves what torch gives. The parts' sums are added in float64, scaled, rounded to 2**-16, and the
bias comes last.
"""

import dataclasses
import itertools
import math
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bitsback.errors import ModelError
from bitsback.models.exact import convolution

from . import grid

ENGINES = ("torch", "numpy")
EXACT_BITS = 24  # float32 counts to 2**24
PART = 512  # inputs that float32 adds up
# Rounding inputs and weights costs about alike: see `input_bits`.
_BITS_OF_ONE = 13.0
_MOST_SHIFT = grid.POWERS - EXACT_BITS

F64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def input_bits(inputs: int) -> int:
    """B for sums of so many inputs.

    B bits of the input leave 24 - B to sum(|w_int|), so that an input's rounding is 2**-B of the
    largest, and a weight's is about n 2**(B - 24) of the usual one. Both errors are alike where B
    is 12 - log2(n) / 2, and a bit more as the largest input is a few times the usual one.
    """
    return max(4, round(_BITS_OF_ONE - math.log2(inputs) / 2))


@dataclasses.dataclass(frozen=True)
class Weights:
    """A layer's weights as integers.

    Args:
        whole: (O, I) integers.
        shift: (O,), log2 of the weights' units in one.
        bits: B, of the inputs.
        parts: the slices of I that are added up at once.
    """

    whole: Int64
    shift: Int64
    bits: int
    parts: tuple[slice, ...]

    @property
    def reach(self) -> int:
        """The largest magnitude of a sum; float32 counts below 2**24."""
        sums = [np.abs(self.whole[:, part]).sum(1).max(initial=0) for part in self.parts]
        return int(max(sums)) << self.bits

    @classmethod
    def of(cls, weight: F64, said: str) -> "Weights":
        """The integers of the finest units whose sums stay below 2**24.

        The choice takes integers alone, so that every machine makes the same.

        Args:
            weight: (O, I).
            said: the layer, as an error names it.

        Raises:
            ModelError: a weight is not finite, or too large.
        """
        if not np.isfinite(weight).all():
            raise ModelError(f"{said} has a weight that is not finite")
        inputs = weight.shape[1]
        count = -(-inputs // PART)
        ends = [inputs * n // count for n in range(count + 1)]
        parts = tuple(slice(*pair) for pair in itertools.pairwise(ends))
        bits = input_bits(-(-inputs // count))
        largest = np.abs(weight).max(1)
        # Certainly too fine; then coarser by one bit until all sums hold.
        shift = np.clip(EXACT_BITS - bits + 1 - np.frexp(largest)[1], None, _MOST_SHIFT)
        while True:
            if (shift < -_MOST_SHIFT).any():
                raise ModelError(f"{said} has weights that are too large for integers")
            whole = np.floor(weight * np.ldexp(1.0, shift)[:, None] + 0.5).astype(np.int64)
            sums = np.max([np.abs(whole[:, part]).sum(1) for part in parts], axis=0)
            if not (over := sums << bits >= 1 << EXACT_BITS).any():
                return cls(whole, shift.astype(np.int64), bits, parts)
            shift = shift - over


class Affine(nn.Module):
    """A layer of integers: what `gather` makes of an input, times weights, plus biases.

    Args:
        module: the layer of floats.
        said: it, as errors name it.
        engine: "torch" or "numpy".
    """

    def __init__(self, module: nn.Module, said: str, engine: str) -> None:
        super().__init__()
        self.said, self.engine = said, engine
        self.gather = Rows() if isinstance(module, nn.Linear) else windows(cast(Any, module))
        matrices = self.gather.matrices(_array(cast(Tensor, module.weight)))
        weights = [Weights.of(matrix, said) for matrix in matrices]
        self.bits, self.parts = weights[0].bits, weights[0].parts
        self.reach = max(w.reach for w in weights)
        if self.reach >= 1 << EXACT_BITS:
            raise ModelError(f"{said} has sums of up to {self.reach}, beyond 2**24")
        outputs = sum(len(matrix) for matrix in matrices)
        bias = np.zeros(outputs) if module.bias is None else _array(cast(Tensor, module.bias))
        if not (np.abs(bias) <= grid.LIMIT).all():
            raise ModelError(f"{said} has a bias that is not finite, or beyond {grid.LIMIT}")
        self.register_buffer("whole", _tensor(np.stack([w.whole for w in weights]), torch.int32))
        self.register_buffer("shift", _tensor(np.concatenate([w.shift for w in weights])))
        self.register_buffer("offset", _tensor(np.floor(bias * 2.0**grid.BITS + 0.5)))
        self._kernels: dict[torch.device, list[list[convolution.Kernel]]] = {}
        cast(Any, self).register_load_state_dict_post_hook(_forget)

    @property
    def weight(self) -> Tensor:
        """None of its own: raises ModelError."""
        raise ModelError(f"{self.said} became a layer of integers, which can only be called")

    bias = weight

    def forward(self, x: Tensor) -> Tensor:
        """The sums, on the grid."""
        x = grid.checked(x, self.said)
        axes = self.gather.axes(x)
        exponent = torch.frexp(x.abs().amax(axes, keepdim=True))[1]
        down = grid.power(exponent - self.bits)
        groups, size = self.gather.columns(torch.floor(x / down + 0.5).float())
        shift, offset = cast(Tensor, self.shift), cast(Tensor, self.offset)
        sums = [
            torch.stack(
                [
                    self._sums(some[:, part], kernel)
                    for part, kernel in zip(self.parts, kernels, strict=True)
                ]
            ).sum(0)
            for some, kernels in zip(groups, self._of(x.device), strict=True)
        ]
        y = torch.cat(sums, 1) * grid.power(-shift)[:, None]
        y = grid.rounded(self.gather.back(y, size) * down)
        bias = offset.double() * 2.0**-grid.BITS
        return grid.clipped(y + bias.reshape(self.gather.of_outputs))

    def _sums(self, x: Tensor, kernel: convolution.Kernel) -> Tensor:
        """(N, O, L) of integers (N, I, L), in float64."""
        way = convolution.convolve if self.engine == "torch" else convolution.in_int64
        return way(x[:, :, None], kernel)[:, :, 0].double()

    def _of(self, device: torch.device) -> list[list[convolution.Kernel]]:
        """The kernels of all groups and parts."""
        if device not in self._kernels:
            whole = cast(Tensor, self.whole).float()
            unit = torch.ones(whole.shape[1], dtype=torch.float64, device=device)
            self._kernels[device] = [
                [
                    convolution.Kernel(group[:, part, None, None].contiguous(), None, unit)
                    for part in self.parts
                ]
                for group in whole
            ]
        return self._kernels[device]


def _forget(module: nn.Module, keys: object) -> None:
    """Kernels of weights that a state replaces."""
    cast(Affine, module)._kernels.clear()


class Rows:
    """Gathers for a Linear: its rows are the columns."""

    of_outputs = (-1,)

    def matrices(self, weight: F64) -> list[F64]:
        """(O, I) of the only group."""
        return [weight]

    def axes(self, x: Tensor) -> tuple[int, ...]:
        """Those of a row."""
        return (-1,)

    def columns(self, x: Tensor) -> tuple[list[Tensor], tuple[int, ...]]:
        """(1, I, N) of the only group, and the other axes."""
        return [x.reshape(-1, x.shape[-1]).T[None]], tuple(x.shape[:-1])

    def back(self, y: Tensor, size: tuple[int, ...]) -> Tensor:
        """(..., O) of (1, O, N)."""
        return y[0].T.reshape(*size, y.shape[1])


@dataclasses.dataclass(frozen=True)
class Windows:
    """Gathers the windows of a convolution.

    Args:
        kernel, stride, dilation: of it, each (height, width).
        pad: left, right, top, bottom, around what `spread` gives.
        mode: of the padding, as of `torch.nn.functional.pad`.
        groups: of the channels.
        spread: distances of the values with zeros in between; more than 1 if it is transposed.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int, int, int]
    mode: str
    groups: int
    spread: tuple[int, int] | None = None

    of_outputs = (-1, 1, 1)

    def matrices(self, weight: F64) -> list[F64]:
        """(O, I) of each group."""
        if self.spread is None:
            return [part.reshape(len(part), -1) for part in np.split(weight, self.groups)]
        turned = weight[:, :, ::-1, ::-1]
        return [
            part.transpose(1, 0, 2, 3).reshape(part.shape[1], -1)
            for part in np.split(turned, self.groups)
        ]

    def axes(self, x: Tensor) -> tuple[int, ...]:
        """Those of an image."""
        return (1, 2, 3)

    def columns(self, x: Tensor) -> tuple[list[Tensor], tuple[int, ...]]:
        """(N, I, L) of each group, and the height and width of the result."""
        if self.spread is not None:
            images, channels, height, width = x.shape
            down, right = self.spread
            wide = x.new_zeros(images, channels, (height - 1) * down + 1, (width - 1) * right + 1)
            wide[:, :, ::down, ::right] = x
            x = wide
        x = functional.pad(x, self.pad, mode=self.mode)
        size = tuple(
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(x.shape[2:], self.kernel, self.stride, self.dilation, strict=True)
        )
        some = [
            functional.unfold(part, self.kernel, self.dilation, 0, self.stride)
            for part in x.chunk(self.groups, 1)
        ]
        return some, size

    def back(self, y: Tensor, size: tuple[int, ...]) -> Tensor:
        """(N, O, H, W) of (N, O, L)."""
        return y.reshape(*y.shape[:2], *size)


def windows(module: nn.Conv2d | nn.ConvTranspose2d) -> Windows:
    """Those of a convolution."""
    kernel, stride, dilation = (
        cast(tuple[int, int], tuple(v))
        for v in (module.kernel_size, module.stride, module.dilation)
    )
    whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if isinstance(module, nn.ConvTranspose2d):
        around = [w - cast(int, p) for w, p in zip(whole, module.padding, strict=True)]
        more = module.output_padding
        pad = (around[1], around[1] + more[1], around[0], around[0] + more[0])
        ones = (1, 1)
        return Windows(kernel, ones, dilation, pad, "constant", module.groups, stride)
    if module.padding == "same":
        halves = [w // 2 for w in whole]
        pad = (halves[1], whole[1] - halves[1], halves[0], whole[0] - halves[0])
    else:
        sides = (0, 0) if module.padding == "valid" else cast(tuple[int, int], module.padding)
        pad = (sides[1], sides[1], sides[0], sides[0])
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return Windows(kernel, stride, dilation, pad, mode, module.groups)


def _array(values: Tensor) -> F64:
    return values.detach().cpu().double().numpy()


def _tensor(values: NDArray[Any], dtype: torch.dtype = torch.int64) -> Tensor:
    return torch.from_numpy(values).to(dtype)
