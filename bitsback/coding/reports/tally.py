"""Reports made: of a chunk from the costs of its batches, of a file from its chunks' reports."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.side.cost import NO_SIDE

from ..rates import LN2, BatchRate, GroupRate, OrderRate, RateReport, Spread
from .costs import BatchCost, GroupCost
from .coverage import NOTHING
from .expected import ByImage

# A push of [start, start + freq) of T onto a head x adds log2(T / freq) bits and, on average
# over x, (start + freq / 2 - T / 2) / x / ln 2 more. That is nil over symbols which follow the
# table, as popped ones do; others bias it by at most (1 - freq / T) T / 2x. Heads lie
# log-uniformly in [2**31, 2**63), so the mean of T / 2x is 2**-8 / (32 ln 2).
ROUNDING_BITS = 2.0**-8 / (32 * LN2) / LN2
# Log-scales in 1/64 octave are rounded half up to widths in 1/16 octave, but for fine grids:
# posteriors are wider by 1/128 octave on average. Their KL is smaller by as many bits, and the
# pixels pay them.
WIDTH_BITS = 2.0**-7
# What float64 loses in a simulated push, and in the message's bits in a batch.
FLOAT_VARIANCE, FLOAT_BITS = 1e-18, 1e-6


def rounding_bits(count: int, bits: float) -> float:
    """What rounding may add to `count` pushes of `bits` in all, from 1 - 2**-b <= b ln 2."""
    return ROUNDING_BITS * min(count, bits * LN2)


def join(reports: Sequence[RateReport], header_bits: int) -> RateReport:
    """The report of a file from those of its chunks, and the bits of the file's own header."""
    groups: dict[tuple[int, int], GroupRate] = {}
    for report in reports:
        for group in report.steps:
            _add_group(groups, group)
    return RateReport(
        images=sum(r.images for r in reports),
        dims=sum(r.dims for r in reports),
        chained_images=sum(r.chained_images for r in reports),
        chained_dims=sum(r.chained_dims for r in reports),
        likelihood_bits=sum(r.likelihood_bits for r in reports),
        steps=tuple(groups.values()),
        batches=tuple(batch for r in reports for batch in r.batches),
        pixels=sum((r.pixels for r in reports), Spread()),
        payload_bits=sum(r.payload_bits for r in reports),
        first_bits=sum(r.first_bits for r in reports),
        filler_bits=sum(r.filler_bits for r in reports),
        header_bits=header_bits + sum(r.header_bits for r in reports),
        head_bits=sum(r.head_bits for r in reports),
        classical_dims=sum(r.classical_dims for r in reports),
        by_image=_by_image(reports),
        coverage=sum((r.coverage for r in reports), NOTHING),
        order=sum((r.order for r in reports), OrderRate()),
        side=sum((r.side for r in reports), NO_SIDE),
    )


def _by_image(reports: Sequence[RateReport]) -> ByImage | None:
    """Bits of all chunks' images; None if a chunk with a chain has none."""
    firsts = itertools.accumulate((r.images for r in reports), initial=0)
    chained = [(n, r.by_image) for n, r in zip(firsts, reports, strict=False) if r.chained_images]
    found = [(first, images) for first, images in chained if images is not None]
    if not found or len(found) < len(chained):
        return None
    numbers = np.concatenate([first + images.numbers for first, images in found])
    return ByImage(numbers, np.concatenate([images.bits for _, images in found]))


def _add_group(groups: dict[tuple[int, int], GroupRate], more: GroupRate) -> None:
    key = (more.step, more.layer)
    old = groups.get(key, GroupRate(*key, 0.0, 0.0, 0.0, 0.0))
    groups[key] = GroupRate(
        *key,
        old.popped_bits + more.popped_bits,
        old.pushed_bits + more.pushed_bits,
        old.kl_bits + more.kl_bits,
        old.continuous_kl_bits + more.continuous_kl_bits,
        old.spread + more.spread,
        old.width_bits + more.width_bits,
    )


class Tally:
    """Adds up the costs of batches as they are coded."""

    def __init__(self) -> None:
        self.batches: list[BatchRate] = []
        self.likelihood_bits = 0.0
        self.pixels = Spread()
        self.groups: dict[tuple[int, int], GroupRate] = {}
        self.coverage = NOTHING
        self.side = NO_SIDE
        self.by_image: list[NDArray[np.float64]] | None = []

    def add(self, cost: BatchCost, dims: int) -> None:
        """Count a batch whose images have `dims` values in all."""
        kl, batch = cost.expected_likelihood, _pixels_spread(cost, dims)
        self.pixels += batch
        images: dict[tuple[int, int], NDArray[np.float64]] = {}
        for group in cost.groups:
            kl += group.kl_bits
            spread = _group_spread(group)
            key = (group.group.step, group.group.layer)
            bits = group.popped, group.pushed, group.kl_bits, group.continuous_kl
            _add_group(self.groups, GroupRate(*key, *bits, spread, _width_bits(group)))
            batch += spread
            images[key] = images.get(key, 0.0) + group.kl
        self.likelihood_bits += cost.likelihood
        self.batches.append(BatchRate(cost.images, cost.net, kl, batch))
        self.coverage += cost.coverage
        self.side += cost.side
        if cost.rounding is None or len(cost.code_length) != cost.images:
            self.by_image = None
        elif self.by_image is not None:
            self.by_image.append(np.stack([*images.values(), cost.code_length], 1))

    def report(self, first: int | None = None, **known: Any) -> RateReport:
        """The report, given the fields that only the file's writer knows.

        Args:
            first: number of the chain's first image, if each image is one tile and they follow
                one another; None otherwise.
        """
        by_image = None
        if first is not None and self.by_image:
            bits = np.concatenate(self.by_image)
            by_image = ByImage(np.arange(first, first + len(bits)), bits)
        return RateReport(
            chained_images=sum(batch.images for batch in self.batches),
            likelihood_bits=self.likelihood_bits,
            steps=tuple(self.groups.values()),
            batches=tuple(self.batches),
            pixels=self.pixels,
            by_image=by_image,
            coverage=self.coverage,
            side=self.side,
            **known,
        )


def _pixels_spread(cost: BatchCost, dims: int) -> Spread:
    return _pushes_spread(dims + cost.side.symbols, cost.expected_likelihood, cost.rounding)


def _width_bits(cost: GroupCost) -> float:
    exact = cost.group.fine or cost.group.constant_width
    return 0.0 if exact else WIDTH_BITS * cost.count


def _group_spread(cost: GroupCost) -> Spread:
    pops = 0 if cost.group.constant_width else cost.count
    luck = Spread(cost.variance, pushes=pops)
    return luck + _pushes_spread(cost.count, cost.pushed, cost.rounding)


def _pushes_spread(count: int, bits: float, simulated: float | None) -> Spread:
    """Of `count` pushes of `bits` in all; simulated: what rounding added to them, if known."""
    if simulated is None:
        return Spread(rounding_bits=rounding_bits(count, bits), pushes=count)
    return Spread(FLOAT_VARIANCE * count, FLOAT_BITS, simulated_bits=simulated)
