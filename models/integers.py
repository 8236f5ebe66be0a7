"""The integer network in torch: integers carried by floats, which never round.

float32 counts exactly to 2**24, float64 to 2**53; `exact.check` proves that no accumulator
leaves that range, whatever order a convolution adds in.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .config import DrawConfig
from .exact import Tensors
from .grids import (
    CANVAS_BITS,
    CANVAS_GAIN,
    CANVAS_LIMIT,
    CELL_BITS,
    CELL_LIMIT,
    GATE_BITS,
    GATE_LIMIT,
    HIDDEN_BITS,
    LOG_SCALE_BITS,
    LOG_SCALE_RANGE,
    PIXEL_BITS,
    SQUASHED_BITS,
)
from .layers import layers
from .squash import sigmoid_table, tanh_table


class IntegerOps:
    """The arithmetic of coding: every value an integer in units of its grid."""

    def __init__(
        self,
        config: DrawConfig,
        tensors: Tensors,
        device: torch.device,
        carrier: torch.dtype = torch.float32,
    ) -> None:
        self.config, self.device, self.carrier = config, device, carrier
        self.layers = layers(config)
        self.weights: dict[str, Tensor] = {}
        self.shifts: dict[str, tuple[Tensor, Tensor]] = {}
        for name, layer in self.layers.items():
            for part in layer.parts:
                weight = self._carry(tensors[f"{name}/{part}"])
                self.weights[f"{name}/{part}"] = weight.to(memory_format=torch.channels_last)
            shift = tensors[f"{name}/exponent"].astype(np.int64) - layer.bits
            half = np.where(shift > 0, 2.0 ** (shift - 1), 0.0)
            offset = self._carry(tensors[f"{name}/bias"] + half)[None, :, None, None]
            unit = self._carry(2.0 ** -shift.astype(np.float64))[None, :, None, None]
            self.shifts[name] = (offset, unit)
        self.initials = {
            name[5:]: self._carry(value)
            for name, value in tensors.items()
            if name.startswith("init/")
        }
        self.sigmoid = self._carry(sigmoid_table())
        self.tanh = self._carry(tanh_table())
        self.limit = round(GATE_LIMIT * 2**GATE_BITS)

    def _carry(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float64)).to(self.device, self.carrier)

    def tensor(self, values: np.ndarray) -> Tensor:
        """An integer array as this arithmetic carries it."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device, self.carrier)

    def array(self, values: Tensor) -> np.ndarray:
        """A carried tensor as int32."""
        found: np.ndarray = values.to(torch.int32).contiguous().cpu().numpy()
        return found

    def initial(self, name: str, batch: int, height: int, width: int) -> Tensor:
        return self.initials[name][None, :, None, None].expand(batch, -1, height, width)

    def zeros(self, channels: int, batch: int, height: int, width: int) -> Tensor:
        shape = (batch, channels, height, width)
        return torch.zeros(shape, dtype=self.carrier, device=self.device)

    def partial(self, layer: str, part: str, sources: list[Tensor]) -> Tensor:
        x = torch.cat(sources, 1) if len(sources) > 1 else sources[0]
        return functional.conv2d(x, self.weights[f"{layer}/{part}"], padding="same")

    def finish(self, layer: str, accumulated: Tensor) -> Tensor:
        kind, (offset, unit) = self.layers[layer], self.shifts[layer]
        found = ((accumulated + offset) * unit).floor_()
        return found.clamp_(kind.low * 2**kind.bits, kind.high * 2**kind.bits)

    def look_up(self, table: Tensor, x: Tensor) -> Tensor:
        """table[x], where x counts from -limit."""
        return table[(x + self.limit).to(torch.int32)]

    def lstm(self, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        squashed = self.look_up(self.sigmoid, gates[:, : gates.shape[1] // 4 * 3])
        i, f, o = squashed.chunk(3, 1)
        g = self.look_up(self.tanh, gates[:, gates.shape[1] // 4 * 3 :])
        # f * cell has SQUASHED + CELL fractional bits, i * g twice SQUASHED.
        total = f * cell + i * g * 2.0 ** (CELL_BITS - SQUASHED_BITS)
        cell = (total * 2.0**-SQUASHED_BITS + 0.5).floor_()
        cell = cell.clamp_(-CELL_LIMIT * 2**CELL_BITS, CELL_LIMIT * 2**CELL_BITS)
        out = self.look_up(self.tanh, (cell * 2.0 ** (GATE_BITS - CELL_BITS) + 0.5).floor_())
        return (o * out * 2.0 ** (HIDDEN_BITS - 2 * SQUASHED_BITS) + 0.5).floor_(), cell

    def means(self, canvas: Tensor) -> Tensor:
        means = canvas[:, : self.config.channels]
        if self.config.likelihood != "bernoulli":
            means = means.clamp(-(2**CANVAS_BITS), 2**CANVAS_BITS)
            return (means * 2.0 ** (PIXEL_BITS - CANVAS_BITS) + 0.5).floor_()
        index = (means * (CANVAS_GAIN * 2.0 ** (GATE_BITS - CANVAS_BITS)) + 0.5).floor_()
        ink = self.look_up(self.sigmoid, index.clamp_(-self.limit, self.limit))
        return (ink * 2.0 ** (PIXEL_BITS - SQUASHED_BITS) + 0.5).floor_()

    def error(self, x: Tensor, means: Tensor) -> Tensor:
        return x - means

    def add_canvas(self, canvas: Tensor, update: Tensor) -> Tensor:
        limit = CANVAS_LIMIT * 2**CANVAS_BITS
        return (canvas + update).clamp_(-limit, limit)

    def add_scale(self, log_scale: Tensor, width: Tensor) -> Tensor:
        low, high = LOG_SCALE_RANGE
        return (log_scale + width).clamp_(low * 2**LOG_SCALE_BITS, high * 2**LOG_SCALE_BITS)

    def down(self, x: Tensor, factor: int) -> Tensor:
        return functional.pixel_unshuffle(x, factor) if factor > 1 else x

    def up(self, x: Tensor, factor: int) -> Tensor:
        return functional.pixel_shuffle(x, factor) if factor > 1 else x
