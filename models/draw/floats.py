"""The network in floats, as it is trained, with fake quantisation on the grids that code."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from . import block
from .config import DrawConfig
from .grids import (
    CANVAS_GAIN,
    CANVAS_LIMIT,
    CELL_BITS,
    CELL_LIMIT,
    EXACT_LIMIT,
    GATE_BITS,
    SQUASHED_BITS,
    WEIGHT_LIMIT,
    Z_BITS,
    Z_LIMIT,
)
from .layers import Layer, Source, initials, layers


def parameters(config: DrawConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Fresh parameters: scaled normal weights, forget gates open, nil canvas updates."""
    fresh = {}
    for name, layer in layers(config).items():
        fan_in = sum(s.channels for part in layer.parts.values() for s in part) * config.kernel**2
        gain = 0.3 if name == "canvas" or name[0] in "pq" else 1.0
        if name.startswith("pass") or name == "head":
            gain = 0.1
        if name.startswith("inner"):
            gain = 1.4
        if name.startswith("outer"):
            gain = 0.0 if config.residual else 0.3
        if config.residual and name.startswith(("seen", "hear", "rise")):
            gain = 0.3
        if config.head_maps and name in ("q1_mean", "q2_mean"):
            gain *= POSTERIOR_GAIN
        for part, sources in layer.parts.items():
            shape = (layer.out, sum(s.channels for s in sources), config.kernel, config.kernel)
            fresh[f"{name}/{part}"] = (
                torch.randn(shape, generator=generator) * gain / math.sqrt(fan_in)
            )
        bias = torch.zeros(layer.out)
        lstm = ("enc", "dec") if config.residual else ("enc", "dec", "seen")
        if name.startswith(lstm):
            bias[layer.out // 4 : layer.out // 2] = 1.0
        if config.head_maps and name in ("q1_scale", "q2_scale"):
            bias[:] = POSTERIOR
        if name.startswith("pass") and config.residual:
            bias[:] = fresh_pass(config)
        if name == "head":
            bias = torch.tensor(block.initial_bias(config, CANVAS_GAIN))
        fresh[f"{name}/bias"] = bias
    for name, (channels, _, _) in initials(config).items():
        value = torch.zeros(channels)
        if name == "r" and config.canvas > config.channels:
            value[config.channels :] = 0.0
            if config.likelihood == "gaussian":
                value[config.channels :] = 5.0 / CANVAS_GAIN
            else:
                k = config.mixtures
                c = config.channels
                value[c : c + k] = 0.0
                spread = torch.linspace(-0.6, 0.6, k) if k > 1 else torch.zeros(1)
                value[c + k : c + k + k * c] = spread.repeat_interleave(c)
                value[c + k + k * c : c + k + 2 * k * c] = 4.0 / CANVAS_GAIN
        if name.startswith("width"):
            value[:] = WIDTH
        fresh[f"init/{name}"] = value
    return fresh


def fresh_pass(config: DrawConfig) -> Tensor:
    """What a residual pass gives the canvas before anything is learned, (channels of r,)."""
    c, m = config.channels, config.mixtures
    bias = torch.zeros(config.canvas)
    scales = c + m + m * c
    bias[scales : scales + m * c] = PASS_SCALE / CANVAS_GAIN
    spread = torch.linspace(-0.1, 0.1, m) if m > 1 else torch.zeros(1)
    bias[c + m : scales] = spread.repeat_interleave(c)
    if c == 3:  # a channel's error is that of the one before it
        bias[scales + m * c :] = torch.tensor([0.9, 0.0, 0.9]).repeat(m)
    return bias


def exponents(layer: Layer, weights: dict[str, Tensor], bias: Tensor) -> Tensor:
    """Per output channel the largest E whose integers obey the exactness bound.

    With w_int = round(w * 2**(E - bits of its source)) and accumulators in units of 2**-E:
    sum(|w_int| * max|a_int|) + |b_int| + rounding offset < 2**24.

    Returns:
        (out,) float tensor of integers.
    """
    total = bias.abs().double()
    finest = torch.full_like(total, 60.0)
    for part, sources in layer.parts.items():
        for weight, source in _by_source(weights[part], sources):
            flat = weight.detach().abs().double().flatten(1)
            total = total + reach(weight.detach().double(), source)
            per_source = torch.floor(torch.log2(WEIGHT_LIMIT / flat.amax(1).clamp_min(1e-12)))
            finest = torch.minimum(finest, per_source + source.bits)
    fan_in = sum(
        weights[part][0, 0].numel() * s.channels * s.limit * 2.0**s.bits
        for part, sources in layer.parts.items()
        for s in sources
    )
    # Rounding moves a weight by at most 1/2: keep room for all of them, and for the offsets.
    room = EXACT_LIMIT - 0.5 * fan_in - 2.0 ** (EXACT_LIMIT.bit_length() - 3)
    bound = torch.floor(torch.log2(room / total.clamp_min(1e-6)))
    return torch.minimum(bound, finest).clamp_max(layer.bits + 21.0)


def _by_source(weight: Tensor, sources: tuple[Source, ...]) -> list[tuple[Tensor, Source]]:
    pieces = torch.split(weight, [s.channels for s in sources], dim=1)
    return list(zip(pieces, sources, strict=True))


def reach(weight: Tensor, source: Source) -> Tensor:
    """The largest magnitude of sum(w * a) for one source, (out,)."""
    flat = weight.flatten(1)
    if source.positive:
        return torch.maximum(flat.clamp_min(0).sum(1), (-flat).clamp_min(0).sum(1)) * source.limit
    return flat.abs().sum(1) * source.limit


def integer_weight(weight: Tensor, sources: tuple[Source, ...], exponent: Tensor) -> Tensor:
    """round(w * 2**(E - bits)), (out, in, k, k), as float64 integers."""
    pieces = []
    for piece, source in _by_source(weight, sources):
        scale = torch.exp2(exponent.double() - source.bits)[:, None, None, None]
        pieces.append(torch.floor(piece.double() * scale + 0.5))
    return torch.cat(pieces, 1)


# log2 of a pixel's scale, in levels, before a residual pass has learned.
PASS_SCALE = 3.0
# log2 sigma of posteriors at the start: constant ones, and the Gaussian ones of models with a head.
WIDTH, POSTERIOR = -3.0, -2.0
# Of the means of the latter: they begin larger, so that the noise does not drown them.
POSTERIOR_GAIN = 3.0


class Round(torch.autograd.Function):
    """floor(x * scale + 1/2) / scale, with the gradient passed straight through."""

    @staticmethod
    def forward(ctx: object, x: Tensor, scale: float) -> Tensor:
        return torch.floor(x * scale + 0.5) / scale

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class Clip(torch.autograd.Function):
    """x clipped to [-limit, limit]; a gradient that leads back from there is passed through.

    Without it hidden maps that once reach the limit stay there: 80 % of them did.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, limit: float) -> Tensor:
        clipped = x.clamp(-limit, limit)
        ctx.save_for_backward(x - clipped)
        return clipped

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (beyond,) = ctx.saved_tensors
        return grads[0].masked_fill(beyond * grads[0] < 0, 0.0), None


@dataclasses.dataclass(frozen=True)
class Part:
    """What one process takes of a batch: part number `rank` of `size` equal ones."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process speaks, validates and writes for all."""
        return self.rank == 0

    def of(self, whole: Tensor) -> Tensor:
        """Its part (B, ...) of a whole (size * B, ...)."""
        return whole.chunk(self.size)[self.rank]

    def drawn(self, draw: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
        """`draw(like)`, (B, ...), as part of the draw for the whole batch, (size * B, ...).

        So each image gets the numbers that one process with all images would give it, whose
        memory layout the whole has; the other parts' numbers are thrown away.
        """
        if self.size == 1:
            return draw(like)
        return self.of(draw(torch.cat([like] * self.size)))


WHOLE = Part()


class FloatOps:
    """The arithmetic of training: reals, rounded to the grids when `quantised`.

    Args:
        dropout: share of the LSTMs' outputs that are nil, the others being larger in return.
        part: which part of a larger batch the images are.
    """

    def __init__(
        self,
        config: DrawConfig,
        params: dict[str, Tensor],
        quantised: bool = False,
        dropout: float = 0.0,
        part: Part = WHOLE,
    ) -> None:
        self.config = config
        self.quantised = quantised
        self.dropout = dropout
        self.part = part
        self.layers = layers(config)
        self.params = self._quantise(params) if quantised else params

    def _quantise(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        rounded = dict(params)
        for name, layer in self.layers.items():
            weights = {part: params[f"{name}/{part}"] for part in layer.parts}
            bias = params[f"{name}/bias"]
            exponent = exponents(layer, weights, bias.detach())
            for part, sources in layer.parts.items():
                grid = torch.cat([torch.full((s.channels,), float(s.bits)) for s in sources])
                grid = grid.to(exponent)[None, :, None, None]
                unit = torch.exp2(grid - exponent[:, None, None, None]).float()
                whole = integer_weight(weights[part].detach(), sources, exponent).float() * unit
                rounded[f"{name}/{part}"] = weights[part] + (whole - weights[part]).detach()
            unit = torch.exp2(-exponent).float()
            whole = torch.floor(bias.detach() / unit + 0.5) * unit
            rounded[f"{name}/bias"] = bias + (whole - bias).detach()
        for name, (_, bits, limit) in initials(self.config).items():
            rounded[f"init/{name}"] = self.round(params[f"init/{name}"].clamp(-limit, limit), bits)
        return rounded

    def round(self, x: Tensor, bits: int) -> Tensor:
        """x on the grid of `bits` fractional bits, if quantised."""
        return Round.apply(x, 2.0**bits) if self.quantised else x  # type: ignore[no-untyped-call]

    def initial(self, name: str, batch: int, height: int, width: int) -> Tensor:
        value = self.params[f"init/{name}"]
        return value[None, :, None, None].expand(batch, -1, height, width)

    def zeros(self, channels: int, batch: int, height: int, width: int) -> Tensor:
        like = self.params["init/r"]
        return like.new_zeros((batch, channels, height, width))

    def convolve(self, sources: list[Tensor], weight: Tensor, bias: Tensor | None) -> Tensor:
        x = torch.cat(sources, 1) if len(sources) > 1 else sources[0]
        return functional.conv2d(x, weight, bias, padding=self.config.kernel // 2)

    def partial(self, layer: str, part: str, sources: list[Tensor]) -> Tensor:
        first = part == next(iter(self.layers[layer].parts))
        bias = self.params[f"{layer}/bias"] if first else None
        return self.convolve(sources, self.params[f"{layer}/{part}"], bias)

    # hardtanh clamps; its gradient is one operation, that of clamp four.
    def finish(self, layer: str, accumulated: Tensor) -> Tensor:
        kind = self.layers[layer]
        return functional.hardtanh(self.round(accumulated, kind.bits), kind.low, kind.high)

    def several(self, layers: tuple[str, ...], sources: list[Tensor]) -> list[Tensor]:
        joined = self.convolve(sources, *self.fused(layers))
        pieces = torch.split(joined, [self.layers[layer].out for layer in layers], 1)
        return [self.finish(layer, piece) for layer, piece in zip(layers, pieces, strict=True)]

    def fused(self, layers: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """Weights and biases of layers of the same sources as those of one convolution."""
        weights = torch.cat([self.params[f"{layer}/h"] for layer in layers])
        return weights, torch.cat([self.params[f"{layer}/bias"] for layer in layers])

    def lstm(self, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        i, f, o, g = gates.chunk(4, 1)
        i, f, o = (self.round(v.sigmoid(), SQUASHED_BITS) for v in (i, f, o))
        g = self.round(g.tanh(), SQUASHED_BITS)
        cell = self.round(f * cell + i * g, CELL_BITS).clamp(-CELL_LIMIT, CELL_LIMIT)
        out = self.round(self.round(cell, GATE_BITS).tanh(), SQUASHED_BITS)
        hidden = self.round(o * out, self.config.hidden_bits)
        return self.dropped(hidden) if self.dropout else hidden, cell

    def dropped(self, hidden: Tensor) -> Tensor:
        return self.part.drawn(lambda x: functional.dropout(x, self.dropout), hidden)

    def means(self, canvas: Tensor) -> Tensor:
        means = canvas[:, : self.config.channels]
        if self.config.likelihood == "bernoulli":
            means = self.round((means * CANVAS_GAIN).clamp(-8, 8), GATE_BITS).sigmoid()
            means = self.round(means, SQUASHED_BITS)
        return self.round(means.clamp(-1, 1), self.config.means_bits)

    def error(self, x: Tensor, means: Tensor) -> Tensor:
        return x - means

    def add_canvas(self, canvas: Tensor, update: Tensor) -> Tensor:
        return (canvas + update).clamp(-CANVAS_LIMIT, CANVAS_LIMIT)

    def add_hidden(self, hidden: Tensor, update: Tensor) -> Tensor:
        if not self.config.residual:
            return functional.hardtanh(hidden + update)
        total: Tensor = Clip.apply(hidden + update, self.config.residual_limit)  # type: ignore[no-untyped-call]
        return total

    def positive(self, hidden: Tensor) -> Tensor:
        return hidden.relu()

    def on_canvas(self, x: Tensor) -> Tensor:
        others = self.config.canvas - self.config.channels
        return functional.pad(x, (0, 0, 0, 0, 0, others))

    def down(self, x: Tensor, factor: int) -> Tensor:
        return functional.pixel_unshuffle(x, factor) if factor > 1 else x

    def up(self, x: Tensor, factor: int) -> Tensor:
        return functional.pixel_shuffle(x, factor) if factor > 1 else x

    def join(self, channels: list[Tensor]) -> Tensor:
        return torch.cat(channels, 1)

    def latent(self, z: Tensor) -> Tensor:
        """A sample on the grid of latents."""
        return self.round(z, Z_BITS).clamp(-Z_LIMIT, Z_LIMIT)
