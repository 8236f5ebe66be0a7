"""The integer network in torch: integers carried by floats, which never round.

float32 counts exactly to 2**24, float64 to 2**53; `exactness.check` proves that no accumulator
leaves that range, whatever order a convolution adds in, and `exact.convolution` that adding is all
that it does. Powers of two scale floats without rounding, so weights and tables hold the scales of
what is made of them: an accumulator counts in units of its layer's output, and rounding it is a
floor. All tensors are channels_last.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bitsback.models.exact import convolution
from bitsback.models.exact.convolution import Kernel
from bitsback.tables.tables import Ints

from .config import DrawConfig
from .exactness import Tensors
from .grids import (
    CANVAS_BITS,
    CANVAS_GAIN,
    CANVAS_LIMIT,
    CELL_BITS,
    CELL_LIMIT,
    GATE_BITS,
    GATE_LIMIT,
    PIXEL_BITS,
    SQUASHED_BITS,
)
from .layers import layers
from .reference import shift_right
from .squash import sigmoid_table, tanh_table

_G_BITS = CELL_BITS - SQUASHED_BITS


class IntegerOps:
    """The arithmetic of coding: every value an integer in units of its grid.

    Args:
        config, tensors: the network, which `exactness.check` has accepted.
        device: where it is evaluated.
        carrier: the floats that hold the integers.
    """

    def __init__(
        self,
        config: DrawConfig,
        tensors: Tensors,
        device: torch.device,
        carrier: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.device, self.carrier = config, device, carrier
        self.layers = layers(config)
        # The convolution of a layer's first part adds its bias.
        self.kernels: dict[str, Kernel] = {}
        for name, layer in self.layers.items():
            shift = tensors[f"{name}/exponent"].astype(np.int64) - layer.bits
            bias = tensors[f"{name}/bias"] + np.where(shift > 0, 2.0 ** (shift - 1), 0.0)
            for index, part in enumerate(layer.parts):
                weight = tensors[f"{name}/{part}"] * 2.0 ** -shift[:, None, None, None]
                self.kernels[f"{name}/{part}"] = Kernel(
                    self._carry(weight).contiguous(memory_format=torch.channels_last),
                    self._carry(bias * 2.0**-shift) if index == 0 else None,
                    torch.from_numpy(2.0**shift).to(device),
                )
        self.fused: dict[tuple[str, ...], Kernel] = {}
        self.initials = {
            name[5:]: self._carry(value)
            for name, value in tensors.items()
            if name.startswith("init/")
        }
        tanh = tanh_table()
        limit = round(GATE_LIMIT * 2**GATE_BITS)
        # i, f and o in units of 1, g in those of the cell: their products need no further scale.
        self.gates = self._carry(
            np.concatenate([sigmoid_table() / 2**SQUASHED_BITS, tanh * 2.0**_G_BITS])
        )
        self.offsets = {
            maps: self._carry(np.repeat([limit, limit + len(tanh)], [3 * maps, maps]))
            for maps in {config.maps, config.maps2, config.pass_maps}
        }
        self.cell_limit = round(CELL_LIMIT * 2**CELL_BITS)
        cells = np.arange(-self.cell_limit, self.cell_limit + 1)
        squashed = tanh[shift_right(cells, CELL_BITS - GATE_BITS) + limit]
        self.tanh_cell = self._carry(squashed * 2.0 ** (config.hidden_bits - SQUASHED_BITS))
        self.canvas_limit = round(CANVAS_LIMIT * 2**CANVAS_BITS)
        canvas = np.arange(-self.canvas_limit, self.canvas_limit + 1)
        logits = shift_right(canvas * int(CANVAS_GAIN), CANVAS_BITS - GATE_BITS)
        ink = sigmoid_table()[np.clip(logits, -limit, limit) + limit]
        self.ink = self._carry(shift_right(ink, SQUASHED_BITS - PIXEL_BITS))

    def _carry(self, values: NDArray[np.integer | np.floating]) -> Tensor:
        return torch.from_numpy(values.astype(np.float64)).to(self.device, self.carrier)

    def tensor(self, values: Ints) -> Tensor:
        """An integer array as this arithmetic carries it."""
        carried = torch.from_numpy(np.ascontiguousarray(values)).to(self.device, self.carrier)
        return carried.contiguous(memory_format=torch.channels_last)

    def array(self, values: Tensor) -> NDArray[np.int32]:
        """A carried tensor as int32."""
        integers: NDArray[np.int32] = values.to(torch.int32).contiguous().cpu().numpy()
        return integers

    def initial(self, name: str, batch: int, height: int, width: int) -> Tensor:
        value = self.initials[name][None, :, None, None].expand(batch, -1, height, width)
        return value.contiguous(memory_format=torch.channels_last)

    def zeros(self, channels: int, batch: int, height: int, width: int) -> Tensor:
        zero = torch.zeros((batch, height, width, channels), dtype=self.carrier, device=self.device)
        return zero.permute(0, 3, 1, 2)

    def convolve(self, sources: list[Tensor], kernel: Kernel) -> Tensor:
        """The one operation whose order of additions is not ours."""
        x = torch.cat(sources, 1) if len(sources) > 1 else sources[0]
        return convolution.convolve(x, kernel)

    def partial(self, layer: str, part: str, sources: list[Tensor]) -> Tensor:
        return self.convolve(sources, self.kernels[f"{layer}/{part}"])

    def finish(self, layer: str, accumulated: Tensor) -> Tensor:
        kind = self.layers[layer]
        return accumulated.floor_().clamp_(kind.low * 2**kind.bits, kind.high * 2**kind.bits)

    # Layers of the same sources in one convolution: few output channels cost as much as many.
    def several(self, layers: tuple[str, ...], sources: list[Tensor]) -> list[Tensor]:
        if layers not in self.fused:
            kernels = [self.kernels[f"{layer}/h"] for layer in layers]
            self.fused[layers] = convolution.joined(kernels)
        joined = self.convolve(sources, self.fused[layers])
        pieces = torch.split(joined, [self.layers[layer].out for layer in layers], 1)
        return [self.finish(layer, piece) for layer, piece in zip(layers, pieces, strict=True)]

    def look_up(self, table: Tensor, index: Tensor) -> Tensor:
        """table[index]; channels vary fastest in memory, so that flattening is no copy."""
        index = index.to(torch.int32).permute(0, 2, 3, 1)
        return table.index_select(0, index.reshape(-1)).view(index.shape).permute(0, 3, 1, 2)

    # Large new tensors cost more than the arithmetic on them: the gates are overwritten.
    def lstm(self, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        offset = self.offsets[cell.shape[1]][None, :, None, None]
        i, f, o, g = self.look_up(self.gates, gates.add_(offset)).chunk(4, 1)
        cell = torch.addcmul(i.mul_(g), f, cell).add_(0.5).floor_()
        cell = cell.clamp_(-self.cell_limit, self.cell_limit)
        out = self.look_up(self.tanh_cell, cell + self.cell_limit)
        return out.mul_(o).add_(0.5).floor_(), cell

    def means(self, canvas: Tensor) -> Tensor:
        means = canvas[:, : self.config.channels]
        if self.config.likelihood == "bernoulli":
            return self.look_up(self.ink, means + self.canvas_limit)
        means = means.clamp(-(2**CANVAS_BITS), 2**CANVAS_BITS)
        return means.mul_(2.0 ** (self.config.means_bits - CANVAS_BITS)).add_(0.5).floor_()

    def error(self, x: Tensor, means: Tensor) -> Tensor:
        return x * 2.0**self.config.finer_means - means

    def add_canvas(self, canvas: Tensor, update: Tensor) -> Tensor:
        return (canvas + update).clamp_(-self.canvas_limit, self.canvas_limit)

    def add_hidden(self, hidden: Tensor, update: Tensor) -> Tensor:
        limit = self.config.residual_limit * 2**self.config.hidden_bits
        return (hidden + update).clamp_(-limit, limit)

    def positive(self, hidden: Tensor) -> Tensor:
        return hidden.clamp_min(0)

    def on_canvas(self, x: Tensor) -> Tensor:
        others = self.config.canvas - self.config.channels
        return functional.pad(x * 2.0 ** (CANVAS_BITS - PIXEL_BITS), (0, 0, 0, 0, 0, others))

    def down(self, x: Tensor, factor: int) -> Tensor:
        return functional.pixel_unshuffle(x, factor) if factor > 1 else x

    def up(self, x: Tensor, factor: int) -> Tensor:
        return functional.pixel_shuffle(x, factor) if factor > 1 else x

    def join(self, channels: list[Tensor]) -> Tensor:
        return torch.cat(channels, 1)
