"""How much of what a model asks for lies beyond the tables, and what that costs.

The coder clips: latents to the group's limit, a posterior to its window on the grid, widths of
grids, and means and scales of pixel mixtures. Nothing is lost, as both sides clip alike, but the
code is no longer that of the model's own distributions.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bitsback.tables import fine, latent_grid, tables
from bitsback.tables.latent_grid import PER_WIDTH

from ..latents import Latents, Posterior

WARN, FAIL = 1e-6, 1e-3  # shares

LATENTS = "latents beyond their group's limit"
WINDOW = "posterior means beyond the grid's window"
GRIDS = "grid widths outside -48..96 sixteenths of an octave"
SCALES = "steps of grids beyond 2**-12..2**12"
NARROW = "posteriors narrower than 2**-6, the unit of latents"
WIDTHS = "posteriors narrower than 0.29 or wider than 8 steps of the grid"
COMPONENTS = "components of pixel mixtures with means beyond 0..255 or scales beyond 2**-3..2**6"
FINE_SIGMAS = "sigmas on fine grids below 0.29 or above 512 steps of the grid"
FINE_WIDTHS = "posteriors narrower than 0.29 or wider than 512 steps of a fine grid"
# A posterior of another width is still one: its cost is of second order.
TOLERATED = (NARROW, WIDTHS, FINE_WIDTHS)


@dataclasses.dataclass(frozen=True)
class Beyond:
    """Values of one kind that lie beyond the tables.

    Args:
        what: they are.
        count: of them.
        total: values of this kind, those within the tables included.
        cost_bits: that clipping them adds to the code length; NaN where only the model knows.
    """

    what: str
    count: int
    total: int
    cost_bits: float = math.nan

    @property
    def share(self) -> float:
        """Of the values of this kind."""
        return self.count / self.total if self.total else 0.0

    def __add__(self, other: "Beyond") -> "Beyond":
        return Beyond(
            self.what,
            self.count + other.count,
            self.total + other.total,
            self.cost_bits + other.cost_bits,
        )

    def fails(self, bits: float) -> bool:
        """Whether it costs more than 0.1 % of `bits`; where that is unknown, is more than 0.1 %.

        Kinds that are tolerated never fail.
        """
        if math.isnan(self.cost_bits):
            return self.share > FAIL and self.what not in TOLERATED
        return self.cost_bits > FAIL * bits

    def line(self, bits: float) -> str:
        """One sentence; bits: of the chain."""
        cost = "of unknown cost (expected= tells)"
        if not math.isnan(self.cost_bits):
            share = abs(self.cost_bits) / bits if bits else 0.0
            verb = "costs" if self.cost_bits > 0 else "saves"
            cost = f"which {verb} {abs(self.cost_bits):.1f} bits, {share:.4%} of the chain's"
        return f"{self.count} of {self.total} {self.what} ({self.share:.2e}) are clipped, {cost}"


@dataclasses.dataclass(frozen=True)
class Coverage:
    """What lies beyond the tables, by kind; kinds that were not met are absent."""

    kinds: tuple[Beyond, ...] = ()

    def __add__(self, other: "Coverage") -> "Coverage":
        sums = {kind.what: kind for kind in self.kinds}
        for kind in other.kinds:
            sums[kind.what] = sums[kind.what] + kind if kind.what in sums else kind
        return Coverage(tuple(sums.values()))

    @property
    def warned(self) -> tuple[Beyond, ...]:
        """Kinds of which a share of 1e-6 or more is clipped, unless that makes the code shorter.

        It does so where a model was trained with the clipping, as those that ship were.
        """
        return tuple(k for k in self.kinds if k.share >= WARN and not k.cost_bits <= 0)


NOTHING = Coverage()


@runtime_checkable
class Covered(Protocol):
    """A likelihood that knows how much of it lies beyond its tables."""

    def beyond(self, x: NDArray[np.uint8]) -> tuple[int, int, float]:
        """Components that are clipped, those in all, and the bits that it costs images x."""
        ...


def of_latents(on: Latents, q: Posterior, k: NDArray[np.int64]) -> Coverage:
    """Of a group's coded latents, given their posterior and k."""
    if on.group.fine:
        clipped = fine.is_clipped(q.rows, q.base)
        found = [Beyond(WINDOW, int(clipped.sum()), clipped.size)]
        # From the bottom up both sigmas are in units that do not depend on the prior.
        where = FINE_SIGMAS if on.group.bottom_up else FINE_WIDTHS
        low, high = fine.WIDTHS
        for what, gaussian in ((FINE_SIGMAS, on.p), (where, q.q)):
            scales = on.of_coded(gaussian.log_scale)
            outside = (scales < low) | (scales > high)
            found.append(Beyond(what, int(outside.sum()), outside.size))
        return sum((Coverage((kind,)) for kind in found), NOTHING)
    limit = on.group.limit
    free = on.of_coded(on.z(k, latent_grid.UNLIMITED))
    kinds = [Beyond(LATENTS, int((np.abs(free) > limit).sum()), free.size)]
    low, high = tables.PRIOR_WIDTHS
    widths = np.broadcast_to(on.log_width, on.dither.shape)
    if on.group.constant_width:
        # A prior that is narrower than the grid costs next to nothing: see `latents`.
        octaves = on.origin.log_scale.astype(np.int64) - on.p.log_scale
        widths = np.minimum(octaves // PER_WIDTH + widths, -low)
    outside = on.of_coded((widths < -high) | (widths > -low))
    kinds.append(Beyond(GRIDS, int(outside.sum()), outside.size))
    steps = on.of_coded(on.origin.log_scale.astype(np.int64) + PER_WIDTH * on.log_width)
    kinds.append(Beyond(SCALES, int((np.abs(steps) > latent_grid.WIDEST).sum()), steps.size))
    if not on.group.constant_width and free.size:
        centre = on.of_coded(latent_grid.centre(q.q, on.p, on.log_width, on.dither))
        kinds.append(Beyond(WINDOW, int((centre != q.base).sum()), centre.size))
        ratio = q.q.log_scale - on.p.log_scale.astype(np.int64) - PER_WIDTH * on.log_width
        low, high = (PER_WIDTH * width for width in tables.POSTERIOR_WIDTHS)
        beyond = on.of_coded((ratio < low) | (ratio > high))
        narrow = on.of_coded(q.q.log_scale < -latent_grid.Z_BITS * latent_grid.STEPS)
        kinds.append(Beyond(NARROW, int(narrow.sum()), narrow.size))
        kinds.append(Beyond(WIDTHS, int(beyond.sum()), beyond.size))
    return Coverage(tuple(kinds))


def of_pixels(coded: Iterable[tuple[object, NDArray[np.uint8]]]) -> Coverage:
    """Of the passes' likelihoods, each with its pixels; of those that tell."""
    found = NOTHING
    for likelihood, x in coded:
        if isinstance(likelihood, Covered):
            found += Coverage((Beyond(COMPONENTS, *likelihood.beyond(x)),))
    return found
