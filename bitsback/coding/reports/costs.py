"""What coding a batch cost: each group of latents, and all."""

import dataclasses
import itertools
import math

import numpy as np
from numpy.typing import NDArray

from bitsback.side.cost import NO_SIDE, SideCost
from bitsback.tables import fine, latent_grid

from ..latents import Latents, Posterior
from ..model import Group
from .coverage import NOTHING, Coverage

_HALF_LOG_TWO_PI = math.log2(2 * math.pi) / 2


@dataclasses.dataclass(frozen=True)
class GroupCost:
    """Bits of one group in one batch.

    Args:
        popped: bits that the message lost to the posterior.
        pushed: bits that the message gained from the prior.
        count: coded latents.
        kl: KL(q || p) on the grid by image, (B,) bits; of a constant width, the code length of
            its one k; of a bottom-up group, the code length of k less the entropy of q, as p
            depends on k by way of the latents above.
        continuous_kl: the same of the Gaussians themselves (eq. 7), coded channels, bits.
        variance: of pushed - popped, given kl, bits**2.
        rounding: what rounding added to the pushes, simulated; None if not measured.
    """

    group: Group
    popped: float
    pushed: float
    count: int
    kl: NDArray[np.float64]
    continuous_kl: float
    variance: float
    rounding: float | None = None

    @property
    def kl_bits(self) -> float:
        """KL(q || p) on the grid, over all images."""
        return float(self.kl.sum())


@dataclasses.dataclass(frozen=True)
class BatchCost:
    """Bits of one batch: the message's real growth, and what it consists of.

    Args:
        net: bits that the message grew by.
        likelihood: bits that pushing the images added.
        code_length: of every image under the likelihood's tables, (B,).
        groups: costs of the latents, in the order of decoding.
        rounding: what rounding added to the images' pushes, simulated; None if not measured.
        coverage: what lies beyond the tables, if measured.
        side: of the images' bits, those of side information.
    """

    images: int
    net: float
    likelihood: float
    code_length: NDArray[np.float64]
    groups: tuple[GroupCost, ...]
    rounding: float | None = None
    coverage: Coverage = NOTHING
    side: SideCost = NO_SIDE

    @property
    def expected_likelihood(self) -> float:
        """Code length of all images under the likelihood's tables, bits."""
        return float(self.code_length.sum())

    @property
    def taken(self) -> tuple[float, ...]:
        """How far the message falls while latents of the first 0, 1, 2, ... groups are coded.

        Latents from the bottom up are coded all or none, and bits come back in between.
        """
        popped = [group.popped for group in self.groups]
        if not any(group.group.bottom_up for group in self.groups):
            return tuple(itertools.accumulate(popped, initial=0.0))
        pushed = [group.pushed for group in self.groups[1:]] + [self.likelihood]
        level = lowest = 0.0
        for lost, gained in zip(reversed(popped), reversed(pushed), strict=True):
            level -= lost
            lowest = min(lowest, level)
            level += gained
        return (0.0, *[math.inf] * (len(popped) - 1), -lowest)


def group_cost(
    on: Latents, q: Posterior, k: NDArray[np.int64], popped: float, pushed: float
) -> GroupCost:
    """Of latents k, coded under their prior; popped and pushed are measured on the message."""
    p_rows = on.prior_rows
    if on.group.bottom_up:
        entropy, luck = fine.entropy(q.rows, q.base)
        on_grid = fine.code_length(p_rows, on.limits, k) - entropy
        kl = float((_density_bits(on.p, on.z(k)) - _entropy_bits(q.q)).sum())
    elif on.group.constant_width:
        # A posterior as wide as the grid leaves one k: no luck.
        on_grid, luck = latent_grid.code_length(p_rows, k), 0.0
    elif on.group.fine:
        on_grid, luck = fine.moments(q.rows, q.base, p_rows)
    else:
        on_grid = latent_grid.kl_bits(q.rows, q.base, p_rows)
        luck = float(latent_grid.luck_variance(q.rows, q.base, p_rows).sum())
    if not on.group.bottom_up:
        kl = float(on.of_coded(latent_grid.continuous_kl_bits(q.q, on.p)).sum())
    by_image = on_grid.reshape(len(on_grid), -1).sum(1)
    return GroupCost(on.group, popped, pushed, on_grid.size, by_image, kl, luck)


def _density_bits(p: latent_grid.Gaussian, z: NDArray[np.int64]) -> NDArray[np.float64]:
    """-log2 of the density of z, in units of 2**-6, per unit of the grid."""
    offset = z / 2.0**latent_grid.Z_BITS - p.mean / 2.0**latent_grid.MEAN_BITS
    octaves = p.log_scale / latent_grid.STEPS
    return (offset * np.exp2(-octaves)) ** 2 / (2 * math.log(2)) + octaves + _HALF_LOG_TWO_PI


def _entropy_bits(q: latent_grid.Gaussian) -> NDArray[np.float64]:
    return q.log_scale / latent_grid.STEPS + _HALF_LOG_TWO_PI + 1 / (2 * math.log(2))
