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

from bitsback.tables import latent_grid

from .bits_back import BatchCost, GroupCost
from .matching import Check, Part, check

LN2 = math.log(2.0)

# A push of [start, start + freq) of T onto a head x adds log2(T / freq) bits and, on average
# over x, (start + freq / 2 - T / 2) / x / ln 2 more. That is nil over symbols which follow the
# table, as popped ones do; others bias it by at most (1 - freq / T) T / 2x. Heads lie
# log-uniformly in [2**31, 2**63), so the mean of T / 2x is 2**-8 / (32 ln 2).
ROUNDING_BITS = 2.0**-8 / (32 * LN2) / LN2
# By the same distribution the mean of (T / x)**2 is 2**-15 / (32 ln 2), and a push's bits lie
# within (1 - freq / T) T / x of their mean, in nats: a third of its square at most is variance.
ROUNDING_VARIANCE = 2.0**-15 / (32 * LN2) / 3 / LN2**2


@dataclasses.dataclass(frozen=True)
class Spread:
    """What may part net from KL-based bits.

    Args:
        variance: of the luck of popped latents, bits**2.
        rounding_bits: how far the stack's rounding may shift the mean.
        pushes: symbols pushed and popped, each of which is rounded.
    """

    variance: float = 0.0
    rounding_bits: float = 0.0
    pushes: int = 0

    @property
    def limits(self) -> tuple[float, float]:
        """The standard error, and the bound of the mean's shift, bits."""
        return math.sqrt(self.variance + ROUNDING_VARIANCE * self.pushes), self.rounding_bits

    def __add__(self, other: "Spread") -> "Spread":
        return Spread(
            self.variance + other.variance,
            self.rounding_bits + other.rounding_bits,
            self.pushes + other.pushes,
        )


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
        spread: what may part net from KL.
    """

    step: int
    layer: int
    popped_bits: float
    pushed_bits: float
    kl_bits: float
    continuous_kl_bits: float
    spread: Spread = Spread()

    @property
    def name(self) -> str:
        """Its step, and its layer if that is not the first."""
        return f"step {self.step}" + (f", layer {self.layer}" if self.layer > 1 else "")

    @property
    def net_bits(self) -> float:
        """What the group really added to the message."""
        return self.pushed_bits - self.popped_bits


@dataclasses.dataclass(frozen=True)
class BatchRate:
    """One batch of the chain: its images, net and KL-based bits."""

    images: int
    net_bits: float
    kl_bits: float


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
        pixels: what may part the pixels' net bits from their code length.
        payload_bits: of the initial bits, those of the manifest and the caller's payload.
        first_bits: of the initial bits, those of batches that do not code all groups, or of tiles
            in a classical code.
        filler_bits: of the initial bits, those that carry nothing.
        header_bits: of the headers and checksums of file and chunks.
        head_bits: of the stacks' last heads and of rounding to whole words.
        classical_dims: values that a classical code took, as it was smaller than the chain.
    """

    images: int
    dims: int
    chained_images: int
    chained_dims: int
    likelihood_bits: float
    steps: tuple[GroupRate, ...]
    batches: tuple[BatchRate, ...]
    pixels: Spread
    payload_bits: int
    first_bits: float
    filler_bits: int
    header_bits: int
    head_bits: float
    classical_dims: int = 0

    @property
    def model_share(self) -> float:
        """The share of the values that went through the model, 0..1."""
        return 1.0 - self.classical_dims / max(1, self.dims)

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
        """Compare net with KL-based bits: of each step and layer, of the pixels, and in all."""
        parts = [
            Part(group.name, group.net_bits, group.kl_bits, *group.spread.limits)
            for group in self.steps
            if group.popped_bits or group.pushed_bits
        ]
        kl = self.kl_bits - sum(group.kl_bits for group in self.steps)
        parts.append(Part("pixels", self.likelihood_bits, kl, *self.pixels.limits))
        error = math.sqrt(sum(part.standard_error_bits**2 for part in parts))
        bound = sum(part.bound_bits for part in parts)
        parts.append(Part("chain", self.net_bits, self.kl_bits, error, bound))
        return check(tuple(parts), self.chained_images)

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
            "model_share": self.model_share,
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
            "check": {
                "measured": check.measured,
                "latents": check.latents,
                "limit": check.limit,
                "parts": [
                    dataclasses.asdict(part) | {"z": part.z, "passed": part.passes(check.limit)}
                    for part in check.parts
                ],
            },
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
        pixels=sum((r.pixels for r in reports), Spread()),
        payload_bits=sum(r.payload_bits for r in reports),
        first_bits=sum(r.first_bits for r in reports),
        filler_bits=sum(r.filler_bits for r in reports),
        header_bits=header_bits + sum(r.header_bits for r in reports),
        head_bits=sum(r.head_bits for r in reports),
        classical_dims=sum(r.classical_dims for r in reports),
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
        old.spread + more.spread,
    )


class Tally:
    """Adds up the costs of batches as they are coded."""

    def __init__(self) -> None:
        self.batches: list[BatchRate] = []
        self.likelihood_bits = 0.0
        self.pixels = Spread()
        self.groups: dict[tuple[int, int], GroupRate] = {}

    def add(self, cost: BatchCost, dims: int) -> None:
        """Count a batch whose images have `dims` values in all."""
        kl = cost.expected_likelihood
        self.pixels += Spread(rounding_bits=rounding_bits(dims, kl), pushes=dims)
        for group in cost.groups:
            on_grid = group_kl_bits(group)
            kl += on_grid
            count = group.rows[0].size
            spread = Spread(group.variance, rounding_bits(count, group.pushed), 2 * count)
            key = (group.group.step, group.group.layer)
            bits = group.popped, group.pushed, on_grid, group.continuous_kl
            _add_group(self.groups, GroupRate(*key, *bits, spread))
        self.likelihood_bits += cost.likelihood
        self.batches.append(BatchRate(cost.images, cost.net, kl))

    def report(self, **known: Any) -> RateReport:
        """The report, given the fields that only the file's writer knows."""
        return RateReport(
            chained_images=sum(batch.images for batch in self.batches),
            likelihood_bits=self.likelihood_bits,
            steps=tuple(self.groups.values()),
            batches=tuple(self.batches),
            pixels=self.pixels,
            **known,
        )
