"""The rate that a file really reached, beside the rate that the KL promises.

net = bits the message grew by; KL-based = sum over groups of KL(q || p) on the grid plus the
code length of the images under the likelihood's tables. The two differ by the luck of the
popped latents, which has mean zero, and by the rounding of the stack.

Source: eq. 5-11 of Gregor et al., arXiv:1604.08772; bits-back, Townsend et al. (2019).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bitsback.tables import latent_grid

from .bits_back import BatchCost, GroupCost

LN2 = math.log(2.0)

# A push of [start, start + freq) of T onto a head x adds log2(T / freq) bits and, on average
# over x, (start + freq / 2 - T / 2) / x / ln 2 more. That is nil over symbols which follow the
# table, as popped ones do; others bias it by at most (1 - freq / T) T / 2x. Heads lie
# log-uniformly in [2**31, 2**63), so the mean of T / 2x is 2**-8 / (32 ln 2).
ROUNDING_BITS = 2.0**-8 / (32 * LN2) / LN2
Z_LIMIT = 4.5


@dataclasses.dataclass(frozen=True)
class GroupRate:
    """Bits of a step and layer, over all images of the chain.

    Args:
        step: from 1.
        layer: from 1.
        popped_bits: taken off the message under q.
        pushed_bits: put on it under p.
        kl_bits: KL(q || p) on the grid.
        continuous_kl_bits: KL of the Gaussians, eq. 7.
    """

    step: int
    layer: int
    popped_bits: float
    pushed_bits: float
    kl_bits: float
    continuous_kl_bits: float

    @property
    def net_bits(self) -> float:
        """What the group really added to the message."""
        return self.pushed_bits - self.popped_bits


@dataclasses.dataclass(frozen=True)
class BatchRate:
    """One batch of the chain: its images, net and KL-based bits, and what rounding may add."""

    images: int
    net_bits: float
    kl_bits: float
    rounding_bits: float


@dataclasses.dataclass(frozen=True)
class Check:
    """Whether net and KL-based bits match, with the numbers.

    Args:
        passed: |mean difference| <= Z_LIMIT standard errors + bound.
        difference_bits: mean of net minus KL-based, bits per tile of the chain.
        standard_error_bits: of that mean, from the scatter over batches.
        bound_bits: what rounding may add, bits per tile of the chain.
        z: the difference beyond the bound in standard errors.
    """

    passed: bool
    difference_bits: float
    standard_error_bits: float
    bound_bits: float
    z: float

    def __str__(self) -> str:
        verdict = "match" if self.passed else "DO NOT MATCH"
        return (
            f"net and KL-based rate {verdict}: {self.difference_bits:+.4f} bits per tile, "
            f"standard error {self.standard_error_bits:.4f}, rounding bound "
            f"{self.bound_bits:.4f}, z = {self.z:.2f} (limit {Z_LIMIT})"
        )


@dataclasses.dataclass(frozen=True)
class RateReport:
    """Where every bit of a file went.

    Args:
        images: images in the file.
        dims: their values (pixels times channels).
        chained_images: tiles that the chain coded, the others being initial bits.
        chained_dims: values of the images in those tiles.
        likelihood_bits: what pushing the images added to the message.
        steps: the latents' bits by step and layer.
        batches: by batch of the chain.
        payload_bits: of the initial bits, those of the manifest and the caller's payload.
        first_bits: of the initial bits, those of batches that do not code all groups, or of tiles
            in a classical code.
        filler_bits: of the initial bits, those that carry nothing.
        header_bits: of the headers and checksums of file and chunks.
        head_bits: of the stacks' last heads and of rounding to whole words.
    """

    images: int
    dims: int
    chained_images: int
    chained_dims: int
    likelihood_bits: float
    steps: tuple[GroupRate, ...]
    batches: tuple[BatchRate, ...]
    payload_bits: int
    first_bits: float
    filler_bits: int
    header_bits: int
    head_bits: float

    @property
    def net_bits(self) -> float:
        """Bits that the message grew by, over the whole chain."""
        return sum(batch.net_bits for batch in self.batches)

    @property
    def kl_bits(self) -> float:
        """KL-based bits of the whole chain, latents and likelihood."""
        return sum(batch.kl_bits for batch in self.batches)

    @property
    def initial_bits(self) -> float:
        """Bits on the stack before the first pop."""
        return self.payload_bits + self.first_bits + self.filler_bits

    @property
    def overhead_bits(self) -> float:
        """Bits that carry neither images nor payload."""
        return self.filler_bits + self.header_bits + self.head_bits

    @property
    def file_bits(self) -> float:
        """Size of the file."""
        return self.initial_bits + self.net_bits + self.header_bits + self.head_bits

    def bits_per_dim(self, bits: float) -> float:
        """Bits of the chain per value of the images that it coded; padding is no value."""
        return bits / self.chained_dims if self.chained_dims else 0.0

    def nats_per_image(self, bits: float) -> float:
        """Bits of the chain as nats per image: per value, times an image's values."""
        return self.bits_per_dim(bits) * LN2 * self.dims / max(1, self.images)

    def check(self) -> Check:
        """Compare net with KL-based bits: a z-test over the batches, plus the rounding bound.

        A chain of few batches gives the test little power; one of 100 images shows an error of a
        fraction of a percent.
        """
        if not self.batches:
            return Check(True, 0.0, 0.0, 0.0, 0.0)
        count = self.chained_images
        differences = np.array([batch.net_bits - batch.kl_bits for batch in self.batches])
        mean = float(differences.sum()) / count
        error = math.sqrt(float((differences**2).sum())) / count
        bound = sum(batch.rounding_bits for batch in self.batches) / count
        if len(self.batches) > 1:
            centred = differences - differences.mean()
            scatter = float((centred**2).sum()) * len(centred) / (len(centred) - 1)
            error = math.sqrt(scatter) / count
        beyond = max(0.0, abs(mean) - bound)
        z = beyond / error if error > 0 else (math.inf if beyond else 0.0)
        return Check(z <= Z_LIMIT, mean, error, bound, z)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it; bits, bits/dim and nats per image."""
        check = self.check()

        def rates(bits: float) -> dict[str, float]:
            return {
                "bits": bits,
                "bits_per_dim": self.bits_per_dim(bits),
                "nats_per_image": self.nats_per_image(bits),
            }

        return {
            "images": self.images,
            "dims": self.dims,
            "chained_images": self.chained_images,
            "chained_dims": self.chained_dims,
            "net_bits_per_dim": self.bits_per_dim(self.net_bits),
            "kl_bits_per_dim": self.bits_per_dim(self.kl_bits),
            "file_bits_per_dim": self.file_bits / max(1, self.dims),
            "nats_per_image": self.nats_per_image(self.net_bits),
            "file_bits": self.file_bits,
            "net_bits": self.net_bits,
            "kl_bits": self.kl_bits,
            "initial_bits": self.initial_bits,
            "initial": {
                "payload_bits": self.payload_bits,
                "first_bits": self.first_bits,
                "filler_bits": self.filler_bits,
            },
            "overhead_bits": self.overhead_bits,
            "header_bits": self.header_bits,
            "head_bits": self.head_bits,
            "likelihood": rates(self.likelihood_bits),
            "match": check.passed,
            "check": dataclasses.asdict(check),
            "steps": [
                {
                    "step": group.step,
                    "layer": group.layer,
                    "popped_bits": group.popped_bits,
                    "pushed_bits": group.pushed_bits,
                    "net": rates(group.net_bits),
                    "kl": rates(group.kl_bits),
                    "continuous_kl": rates(group.continuous_kl_bits),
                }
                for group in self.steps
            ],
        }


def group_kl_bits(cost: GroupCost) -> float:
    """KL(q || p) of a group on its grid, bits; of a constant width, the cost of its one k."""
    if cost.group.constant_width:
        return cost.pushed
    return float(latent_grid.kl_bits(*cost.rows).sum())


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
        payload_bits=sum(r.payload_bits for r in reports),
        first_bits=sum(r.first_bits for r in reports),
        filler_bits=sum(r.filler_bits for r in reports),
        header_bits=header_bits + sum(r.header_bits for r in reports),
        head_bits=sum(r.head_bits for r in reports),
    )


def _add_group(groups: dict[tuple[int, int], GroupRate], more: GroupRate) -> None:
    key = (more.step, more.layer)
    old = groups.get(key, GroupRate(*key, 0.0, 0.0, 0.0, 0.0))
    groups[key] = GroupRate(
        *key,
        old.popped_bits + more.popped_bits,
        old.pushed_bits + more.pushed_bits,
        old.kl_bits + more.kl_bits,
        old.continuous_kl_bits + more.continuous_kl_bits,
    )


class Tally:
    """Adds up the costs of batches as they are coded."""

    def __init__(self) -> None:
        self.batches: list[BatchRate] = []
        self.likelihood_bits = 0.0
        self.groups: dict[tuple[int, int], GroupRate] = {}

    def add(self, cost: BatchCost, dims: int) -> None:
        """Count a batch whose images have `dims` values in all."""
        kl = cost.expected_likelihood
        rounding = rounding_bits(dims, cost.expected_likelihood)
        for group in cost.groups:
            on_grid = group_kl_bits(group)
            kl += on_grid
            rounding += rounding_bits(group.rows[0].size, group.pushed)
            key = (group.group.step, group.group.layer)
            _add_group(
                self.groups,
                GroupRate(*key, group.popped, group.pushed, on_grid, group.continuous_kl),
            )
        self.likelihood_bits += cost.likelihood
        self.batches.append(BatchRate(cost.images, cost.net, kl, rounding))

    def report(self, **known: Any) -> RateReport:
        """The report, given the fields that only the file's writer knows."""
        return RateReport(
            chained_images=sum(batch.images for batch in self.batches),
            likelihood_bits=self.likelihood_bits,
            steps=tuple(self.groups.values()),
            batches=tuple(self.batches),
            **known,
        )
