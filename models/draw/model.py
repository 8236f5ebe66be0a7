"""A conv DRAW as the coder sees it: `bitsback.coding.model.Model` over the integer network."""

from collections.abc import Sequence
from typing import Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from bitsback.coding import model
from bitsback.tables import latent_grid, pixels
from bitsback.tables.tables import Ints
from bitsback.tiles.padding import Pixels

from . import block, equations
from .config import DrawConfig
from .grids import CANVAS_BITS, CANVAS_GAIN, PIXEL_BITS
from .passes.order import passes
from .reference import shift_right
from .state import Array, Gaussians, Memory, Ops, State


class IntegerArithmetic(Ops[Array], Protocol[Array]):
    """`IntegerOps` or `ReferenceOps`: they also turn int arrays into theirs and back."""

    def tensor(self, values: Ints) -> Array: ...
    def array(self, values: Array) -> NDArray[np.int32]: ...


class DrawModel(Generic[Array]):
    """Model protocol over an integer arithmetic.

    Args:
        config: the architecture.
        ops: the arithmetic, with the weights.
        log_widths: (C,) int array for every group, 16 log2(delta) or `latent_grid.NIL`.
    """

    def __init__(
        self, config: DrawConfig, ops: IntegerArithmetic[Array], log_widths: Sequence[Ints]
    ) -> None:
        self.config, self.ops = config, ops
        self.order = equations.groups(config)
        self.groups = tuple(
            model.Group(group.step, group.layer, widths, config.posterior == "constant")
            for group, widths in zip(self.order, log_widths, strict=True)
        )

    @property
    def passes(self) -> tuple[Pixels, ...]:
        """Rows and columns of the pixels of each pass."""
        return tuple(each.where for each in passes(self.config))

    def start(self, batch: int, height: int, width: int) -> State[Array]:
        """The state before step 1."""
        return equations.start(self.ops, self.config, batch, height, width)

    def observe(self, x: NDArray[np.uint8]) -> Memory[Array]:
        """The encoder before step 1; x is uint8 (B, C, H, W)."""
        return equations.observe(self.ops, self.config, self.ops.tensor(to_network(self.config, x)))

    def prior(self, index: int, state: State[Array]) -> latent_grid.Gaussian:
        """p of eq. 4."""
        return self._gaussian(equations.prior(self.ops, self.order[index], state))

    def posterior(
        self, index: int, memory: Memory[Array], state: State[Array], p: latent_grid.Gaussian
    ) -> tuple[latent_grid.Gaussian, Memory[Array]]:
        """q of eq. 3."""
        q, memory = equations.posterior(self.ops, self.config, self.order[index], memory, state)
        return self._gaussian(q), memory

    def step(self, index: int, state: State[Array], z: NDArray[np.int64]) -> State[Array]:
        """Eq. 6 and 7."""
        return equations.step(self.ops, self.config, self.order[index], state, self.ops.tensor(z))

    def likelihood(self, state: State[Array], gray: bool) -> model.Likelihood:
        """The codec of the next pass's pixels, from the canvas."""
        parameters = self.ops.array(equations.pixels(self.ops, self.config, state)).astype(np.int64)
        if not self.config.head_maps:
            return likelihood(self.config, parameters, gray)
        r = self.ops.array(state.r).astype(np.int64)
        seen = [self.ops.array(x).astype(np.int64) for x in state.seen]
        return block_likelihood(self.config, parameters, r, seen, gray)

    def image(self, state: State[Array]) -> NDArray[np.uint8]:
        """The canvas's means as levels; of a binary model, its probabilities of ink."""
        means = self.ops.array(self.ops.means(state.r)).astype(np.int64)
        if self.config.likelihood == "bernoulli":
            return (means * 255 + (1 << (PIXEL_BITS - 1)) >> PIXEL_BITS).astype(np.uint8)
        return np.clip(shift_right(means, self.config.finer_means) + 128, 0, 255).astype(np.uint8)

    def reveal(self, state: State[Array], x: NDArray[np.uint8]) -> State[Array]:
        """The state once a pass's pixels, uint8 (B, C, H', W'), are known."""
        known = self.ops.tensor(to_network(self.config, x))
        return equations.reveal(self.ops, self.config, state, known)

    def _gaussian(self, gaussians: Gaussians[Array]) -> latent_grid.Gaussian:
        return latent_grid.Gaussian(
            self.ops.array(gaussians.mean), self.ops.array(gaussians.log_scale)
        )


def to_network(config: DrawConfig, x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """uint8 pixels as integers on the pixel grid."""
    wide = x.astype(np.int64)
    return wide << PIXEL_BITS if config.likelihood == "bernoulli" else wide - 128


def likelihood(config: DrawConfig, canvas: NDArray[np.int64], gray: bool) -> model.Likelihood:
    """The pixel codec whose parameters are the canvas r, int64 (B, channels of r, H, W).

    Source: eq. 8-10 for the Gaussian; Salimans et al. (2017) for the mixture.
    """
    gain = int(CANVAS_GAIN)
    logits = CANVAS_BITS - 5
    if config.likelihood == "bernoulli":
        return pixels.Bernoulli(shift_right(canvas * gain, logits))
    batch, _, height, width = canvas.shape
    c, m = config.channels, config.mixtures
    pairs = c * (c - 1) // 2
    # The canvas counts sixteenths of a grey level from level 128.
    base = canvas[:, None, :c] + 128 * 16
    if config.likelihood == "gaussian":
        weights = np.zeros((batch, 1, height, width), np.int64)
        means, scales = base, canvas[:, None, c:]
        coefficients = np.zeros((batch, 1, pairs, height, width), np.int64)
    else:
        _, weights, offsets, scales, coefficients = np.split(
            canvas, np.cumsum([c, m, m * c, m * c]), 1
        )
        means = base + offsets.reshape(batch, m, c, height, width)
        scales = scales.reshape(batch, m, c, height, width)
        coefficients = coefficients.reshape(batch, m, pairs, height, width)
        if config.residual and c == 3:
            means = means - _own(coefficients, canvas[:, None, :c])
    return pixels.Mixture(
        kind=config.likelihood,
        weights=np.clip(shift_right(weights * gain, logits), -512, 512),
        means=means,
        log_scales=np.clip(shift_right(scales * gain, CANVAS_BITS - 3), -24, 48),
        coeffs=coefficients,
        gray=gray,
        clips=True,
    )


def _own(k: NDArray[np.int64], means: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codec's terms of earlier channels at their means, (B, M, 3, H, W), in 1/16 level.

    Less those, the terms count from the means, not from level 128.

    Args:
        k: (B, M, 3, H, W) coefficients.
        means: (B, 1, 3, H, W).
    """
    red, green = means[:, :, 0], means[:, :, 1]
    second, third = k[:, :, 0] * red, k[:, :, 1] * red + k[:, :, 2] * green
    return shift_right(np.stack([np.zeros_like(second), second, third], 2), CANVAS_BITS)


def block_likelihood(
    config: DrawConfig,
    parameters: NDArray[np.int64],
    r: NDArray[np.int64],
    seen: list[NDArray[np.int64]],
    gray: bool,
) -> model.Likelihood:
    """The codec of the next pixel of every 2x2 block, given those before it.

    The terms of earlier pixels are added here, rounded to 1/16 level; those of the pixel's own
    channels are the codec's.

    Args:
        parameters: what the head gives, int64 (B, sum of `block.sizes`, H / 2, W / 2).
        r: the canvas, int64 (B, C, H, W).
        seen: the block's pixels before, in the order of coding: levels - 128, (B, C, H / 2, W / 2).

    Source: see `block`.
    """
    (batch, _, height, width), c, m = parameters.shape, config.channels, config.mixtures
    pixel, gain = len(seen), int(CANVAS_GAIN)
    ends = np.cumsum([*block.sizes(config)])[:-1]
    of_block = [
        part.reshape(batch, block.PIXELS, -1, height, width)[:, pixel]
        for part in np.split(parameters, ends, 1)[:-1]
    ]
    weights, offsets, scales = of_block
    coefficients = parameters[:, ends[-1] :]
    where = [passes(config)[i].where for i in range(pixel + 1)]
    means = r[:, :, *where[pixel]]
    # The canvas counts sixteenths of a grey level from level 128, as the means do.
    errors = [16 * x - r[:, :, *place] for x, place in zip(seen, where, strict=False)]
    known = np.concatenate([*errors, -means], 1)
    moves, own = [], []
    for v in range(pixel * c, pixel * c + c):
        k = coefficients[:, v * (v - 1) // 2 :][:, :v]
        moves.append(shift_right((k * known[:, :v]).sum(1), CANVAS_BITS))
        own += [k[:, i] for i in range(pixel * c, v)]
    base = means + np.stack(moves, 1) + 128 * 16
    pairs = (batch, 1, len(own), height, width)
    shape = (batch, m, c, height, width)
    coeffs = np.stack(own, 1).reshape(pairs) if own else np.zeros(pairs, np.int64)
    return pixels.Mixture(
        kind=config.likelihood,
        weights=np.clip(shift_right(weights * gain, CANVAS_BITS - 5), -512, 512),
        means=base[:, None] + offsets.reshape(shape),
        log_scales=np.clip(shift_right(scales.reshape(shape) * gain, CANVAS_BITS - 3), -24, 48),
        coeffs=np.repeat(coeffs, m, 1),
        gray=gray,
        clips=True,
    )
