"""The integer network in NumPy's int64, slow and plain: what the fast ones must equal."""

import functools

import numpy as np
from numpy.typing import NDArray

from bitsback.models.exact import blas
from bitsback.models.exact.reference import Int64, convolve
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
from .squash import sigmoid_table, tanh_table


def shift_right(values: Int64, bits: int) -> Int64:
    """floor(values / 2**bits + 1/2)."""
    return (values + (1 << bits >> 1)) >> bits


class ReferenceOps:
    """The arithmetic of coding on int64 arrays; shifts in place of scaled floors."""

    def __init__(self, config: DrawConfig, tensors: Tensors) -> None:
        self.config = config
        self.layers = layers(config)
        self.tensors = {name: value.astype(np.int64) for name, value in tensors.items()}
        self.limit = round(GATE_LIMIT * 2**GATE_BITS)

    def tensor(self, values: Ints) -> Int64:
        """An integer array as this arithmetic carries it."""
        return values.astype(np.int64)

    def array(self, values: Int64) -> NDArray[np.int32]:
        """A carried array as int32."""
        return np.ascontiguousarray(values.astype(np.int32))

    def initial(self, name: str, batch: int, height: int, width: int) -> Int64:
        value = self.tensors[f"init/{name}"][None, :, None, None]
        return np.broadcast_to(value, (batch, value.shape[1], height, width))

    def zeros(self, channels: int, batch: int, height: int, width: int) -> Int64:
        return np.zeros((batch, channels, height, width), np.int64)

    def partial(self, layer: str, part: str, sources: list[Int64]) -> Int64:
        return convolve(np.concatenate(sources, 1), self.tensors[f"{layer}/{part}"])

    def finish(self, layer: str, accumulated: Int64) -> Int64:
        kind = self.layers[layer]
        shift = self.tensors[f"{layer}/exponent"] - kind.bits
        half = (np.int64(1) << shift) >> 1
        offset = (self.tensors[f"{layer}/bias"] + half)[None, :, None, None]
        rounded = (accumulated + offset) >> shift[None, :, None, None]
        return np.clip(rounded, int(kind.low * 2**kind.bits), int(kind.high * 2**kind.bits))

    def several(self, layers: tuple[str, ...], sources: list[Int64]) -> list[Int64]:
        return [self.finish(layer, self.partial(layer, "h", sources)) for layer in layers]

    def lstm(self, gates: Int64, cell: Int64) -> tuple[Int64, Int64]:
        i, f, o, g = np.split(gates + self.limit, 4, 1)
        i, f, o, g = sigmoid_table()[i], sigmoid_table()[f], sigmoid_table()[o], tanh_table()[g]
        total = f * cell + ((i * g) << (CELL_BITS - SQUASHED_BITS))
        limit = int(CELL_LIMIT) << CELL_BITS
        cell = np.clip(shift_right(total, SQUASHED_BITS), -limit, limit)
        out = tanh_table()[shift_right(cell, CELL_BITS - GATE_BITS) + self.limit]
        return shift_right(o * out, 2 * SQUASHED_BITS - self.config.hidden_bits), cell

    def means(self, canvas: Int64) -> Int64:
        means = canvas[:, : self.config.channels]
        if self.config.likelihood != "bernoulli":
            means = np.clip(means, -(1 << CANVAS_BITS), 1 << CANVAS_BITS)
            return shift_right(means, CANVAS_BITS - self.config.means_bits)
        index = shift_right(means * int(CANVAS_GAIN), CANVAS_BITS - GATE_BITS)
        ink = sigmoid_table()[np.clip(index, -self.limit, self.limit) + self.limit]
        return shift_right(ink, SQUASHED_BITS - PIXEL_BITS)

    def error(self, x: Int64, means: Int64) -> Int64:
        return (x << self.config.finer_means) - means

    def add_canvas(self, canvas: Int64, update: Int64) -> Int64:
        limit = int(CANVAS_LIMIT) << CANVAS_BITS
        return np.clip(canvas + update, -limit, limit)

    def add_hidden(self, hidden: Int64, update: Int64) -> Int64:
        limit = int(self.config.residual_limit * 2**self.config.hidden_bits)
        return np.clip(hidden + update, -limit, limit)

    def positive(self, hidden: Int64) -> Int64:
        return np.maximum(hidden, 0)

    def on_canvas(self, x: Int64) -> Int64:
        others = self.config.canvas - self.config.channels
        return np.pad(x << (CANVAS_BITS - PIXEL_BITS), ((0, 0), (0, others), (0, 0), (0, 0)))

    def down(self, x: Int64, factor: int) -> Int64:
        b, c, h, w = x.shape
        blocks = x.reshape(b, c, h // factor, factor, w // factor, factor)
        return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(b, -1, h // factor, w // factor)

    def up(self, x: Int64, factor: int) -> Int64:
        b, c, h, w = x.shape
        blocks = x.reshape(b, c // factor**2, factor, factor, h, w)
        return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(b, -1, h * factor, w * factor)

    def join(self, channels: list[Int64]) -> Int64:
        return np.concatenate(channels, 1)


class BlasOps(ReferenceOps):
    """`ReferenceOps`, its convolutions by matrix products in floats: ten times as fast."""

    @functools.cached_property
    def _kernels(self) -> dict[str, blas.Kernel]:
        return {name: blas.Kernel(value) for name, value in self.tensors.items() if value.ndim == 4}

    def partial(self, layer: str, part: str, sources: list[Int64]) -> Int64:
        """A layer's convolution of these inputs, before its bias."""
        return blas.convolve(np.concatenate(sources, 1), self._kernels[f"{layer}/{part}"])
