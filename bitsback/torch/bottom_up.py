"""A float VAE whose latents are inferred from the bottom up (Bit-Swap), as a model of the protocol.

A latent is taken off the stack before its prior is known. So its grid does not depend on that:

    z = delta (k + u),    |k| <= limit

with a width of its own for each channel, in the latent's own units.

Source: Kingma, Abbeel and Ho, arXiv:1905.06845.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bitsback.coding import model
from bitsback.errors import ModelError
from bitsback.tables import arithmetic, fine, latent_grid

from .floats import F64, WIDTH_UNITS, FloatModel, Images, Int64, Normal, Parts

FINEST, COARSEST = -256, 256  # 16 log2 of the grids' widths
_SIGMAS = 8.0  # that a grid reaches beyond the means of q and p
_SPARE = 1.5  # how many times as far, for other images
_WIDEST = 2.0 ** (fine.WIDTHS[1] / latent_grid.STEPS)  # steps in a prior's sigma


@dataclasses.dataclass(frozen=True)
class BottomUpFloats(FloatModel):
    """The protocol's model over a float VAE whose state is the latent above.

    Args:
        vae: its parts; `posterior` is given the index and what lies below, its step gives z.
        log_widths: of each group (C,), 16 log2 of the grid's width.
        limits: of each group, the largest |k|.
    """

    limits: tuple[int, ...] = ()

    @property
    def groups(self) -> tuple[model.Group, ...]:
        """One for each of the author's latents, the one on top first."""
        return tuple(
            model.Group(index + 1, 1, np.zeros_like(width), fine=True, bottom_up=True, limit=reach)
            for index, (width, reach) in enumerate(
                zip(self.log_widths, (n << latent_grid.Z_BITS for n in self.limits), strict=True)
            )
        )

    def prior(self, index: int, state: Parts) -> latent_grid.Gaussian:
        """p given the latents above, in units of the grid."""
        return self._on_grid(index, self.priors(state))

    def priors(self, state: Parts) -> Normal:
        """Means and log-sigmas of the group after a state, in the author's units."""
        found = [(part.size, part.prior) for part in state if part.prior is not None]
        means, logs = zip(*((mean[:n], log[:n]) for n, (mean, log) in found), strict=True)
        return np.concatenate(means), np.concatenate(logs)

    def posterior(
        self, index: int, memory: Images, state: Parts, p: latent_grid.Gaussian
    ) -> tuple[latent_grid.Gaussian, Images]:
        """Not asked: see `infer`."""
        raise ModelError("the model infers its latents from the bottom up, not from x each")

    def infer(self, index: int, memory: Images | None, state: Parts) -> latent_grid.Gaussian:
        """q given the images, or the latents below, in units of the grid."""
        return self._on_grid(index, self.posteriors(index, memory, state))

    def posteriors(self, index: int, memory: Images | None, state: Parts) -> Normal:
        """Means and log-sigmas of q, in the author's units."""
        means, logs = [], []
        below: Tensor
        for number, part in enumerate(state):
            below = part.state if memory is None else memory[number]
            given = self.vae.run(self.vae.posterior, index, below)
            mean, log_sigma = self.vae.normal("posterior", index, given)
            means.append(mean[: part.size])
            logs.append(log_sigma[: part.size])
        return np.concatenate(means), np.concatenate(logs)

    def step(self, index: int, state: Parts, z: Int64) -> Parts:
        """The states once z, in 2**-6 of the grid, is known."""
        return self.known(index, state, z.astype(np.float64) * 2.0**-6 * self._delta(index))

    def answers(self, images: NDArray[np.uint8]) -> Iterator[NDArray[np.generic]]:
        """What the model says of images and of latents of ones."""
        memory: Images | None = self.observe(images)
        start = self.start(len(images), *images.shape[2:])
        state, last = start, len(self.log_widths) - 1
        for index in reversed(range(last + 1)):
            mean, log_sigma = self.posteriors(index, memory, state)
            yield from (mean, log_sigma)
            memory, state = None, self.known(index, start, np.ones(mean.shape))
            if index == last:
                yield from self.answered(state)
            else:
                yield from self.priors(state)

    def _on_grid(self, index: int, given: Normal) -> latent_grid.Gaussian:
        mean, log_sigma = given
        offset = np.floor(mean / self._delta(index) * 2**latent_grid.MEAN_BITS + 0.5)
        octaves = log_sigma / math.log(2) - self.log_widths[index][:, None, None] / WIDTH_UNITS
        log_scale = np.floor(latent_grid.STEPS * np.clip(octaves, -64, 64) + 0.5)
        most = float(fine.LIMIT << latent_grid.MEAN_BITS)
        offset = np.clip(offset, -2 * most, 2 * most)
        return latent_grid.Gaussian(offset.astype(np.int64), log_scale.astype(np.int64))


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Latents that were drawn from their posterior, and their prior given those above."""

    q: Normal
    z: F64
    p: Normal

    @property
    def nats(self) -> F64:
        """-log p(z) less the entropy of q."""
        (_, log_q), (mean, log_p) = self.q, self.p
        return ((self.z - mean) * np.exp(-log_p)) ** 2 / 2 + log_p - log_q - 0.5


def drawn(
    float_model: BottomUpFloats, x: NDArray[np.uint8], seed: int
) -> tuple[list[Drawn], Parts]:
    """Latents of images x, (N, C, H, W) uint8, drawn from q, and the state after the last ones."""
    random = np.random.default_rng(seed)
    memory: Images | None = float_model.observe(x)
    start = float_model.start(len(x), *x.shape[2:])
    state, found, states = start, list[tuple[Normal, F64]](), list[Parts]()
    for index in reversed(range(len(float_model.log_widths))):
        q = float_model.posteriors(index, memory, state)
        z: F64 = q[0] + np.exp(q[1]) * random.standard_normal(q[0].shape)
        memory, state = None, float_model.known(index, start, z)
        found.append((q, z))
        states.append(state)
    priors = [float_model.priors(above) for above in [*states[1:], start]]
    pairs = zip(found, priors, strict=True)
    return [Drawn(q, z, p) for (q, z), p in pairs][::-1], states[0]


def suited(
    float_model: BottomUpFloats, x: NDArray[np.uint8], fineness: float, quantile: float, seed: int
) -> BottomUpFloats:
    """The model with grids that suit images x, (N, C, H, W) uint8; see `choose_widths`."""
    widths, limits = list[Int64](), list[int]()
    for one in drawn(float_model, x, seed)[0]:
        axes = (0, *range(2, one.z.ndim))
        delta = np.exp(np.quantile(one.q[1], quantile, axis=axes)) / fineness
        ends = [np.abs(mean) + _SIGMAS * np.exp(log_sigma) for mean, log_sigma in (one.q, one.p)]
        reach = _SPARE * np.maximum(*ends).max(axes)
        # All of p and q lies on the grid, and no prior is wider than its tables.
        widest = _SPARE * np.exp(one.p[1].max(axes))
        delta = np.maximum(delta, np.maximum(reach / fine.LIMIT, widest / _WIDEST))
        log_width = np.ceil(WIDTH_UNITS * np.log2(delta)).astype(np.int64)
        widths.append(np.clip(log_width, FINEST, COARSEST))
        steps = reach / arithmetic.exp2_steps(widths[-1], WIDTH_UNITS)
        limits.append(int(np.clip(np.ceil(steps.max()), 1, fine.LIMIT)))
    return dataclasses.replace(float_model, log_widths=tuple(widths), limits=tuple(limits))
