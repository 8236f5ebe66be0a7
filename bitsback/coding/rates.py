"""The rate that a file really reached, beside the rate that the KL promises.

net = bits the message grew by; KL-based = sum over groups of KL(q || p) on the grid plus the
code length of the images under the likelihood's tables. The two differ by the luck of the
popped latents, which has mean zero, and by the rounding of the stack.

Source: eq. 5-11 of Gregor et al., arXiv:1604.08772; bits-back, Townsend et al. (2019).
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from bitsback.side.cost import NO_SIDE, SideCost

from .matching import Check, Part, check
from .reports.coverage import NOTHING, Coverage
from .reports.expected import ByImage, Expected

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

LN2 = math.log(2.0)
# By the log-uniform distribution of heads (see `reports.tally`) the mean of (T / x)**2 is
# 2**-15 / (32 ln 2), and a push's bits lie within (1 - freq / T) T / x of their mean, in nats: a
# third of its square at most is variance.
ROUNDING_VARIANCE = 2.0**-15 / (32 * LN2) / 3 / LN2**2


@dataclasses.dataclass(frozen=True)
class Spread:
    """What may part net from KL-based bits.

    Args:
        variance: of the luck of popped latents, bits**2.
        rounding_bits: how far the stack's rounding may shift the mean.
        pushes: symbols pushed and popped, each of which is rounded.
        simulated_bits: what rounding added to pushes that were simulated, which are not among
            the former.
    """

    variance: float = 0.0
    rounding_bits: float = 0.0
    pushes: int = 0
    simulated_bits: float = 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """The standard error, and the bound of the mean's shift, bits."""
        return math.sqrt(self.variance + ROUNDING_VARIANCE * self.pushes), self.rounding_bits

    def __add__(self, other: "Spread") -> "Spread":
        return Spread(
            self.variance + other.variance,
            self.rounding_bits + other.rounding_bits,
            self.pushes + other.pushes,
            self.simulated_bits + other.simulated_bits,
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
        width_bits: by which rounding the posteriors' widths may shift KL.
    """

    step: int
    layer: int
    popped_bits: float
    pushed_bits: float
    kl_bits: float
    continuous_kl_bits: float
    spread: Spread = Spread()
    width_bits: float = 0.0

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
    """One batch of the chain: its images, net and KL-based bits, and what may part the two."""

    images: int
    net_bits: float
    kl_bits: float
    spread: Spread = Spread()


@dataclasses.dataclass(frozen=True)
class OrderRate:
    """Bits that the order of images gave back, where it is not coded (see `bitsback.chunks.order`).

    Args:
        bits: popped off the message.
        promised_bits: log2 of the number of orders that tell the chain's images apart.
        spread: what may part the two.
    """

    bits: float = 0.0
    promised_bits: float = 0.0
    spread: Spread = Spread()

    def __add__(self, other: "OrderRate") -> "OrderRate":
        promised = self.promised_bits + other.promised_bits
        return OrderRate(self.bits + other.bits, promised, self.spread + other.spread)


@dataclasses.dataclass(frozen=True, repr=False)
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
        by_image: bits of the chain's images, if they were measured and each is one tile.
        coverage: what lies beyond the tables, if it was measured.
        expected: what a float model's own ELBO promises.
        order: what the order of the images gave back.
        side: of the pixels' bits, those of side information.
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
    by_image: ByImage | None = None
    coverage: Coverage = NOTHING
    expected: Expected | None = None
    order: OrderRate = OrderRate()
    side: SideCost = NO_SIDE

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
        coded = self.initial_bits + self.net_bits - self.order.bits
        return coded + self.header_bits + self.head_bits

    def bits_per_dim(self, bits: float) -> float:
        """Bits of the chain per value of the images that it coded; padding is no value."""
        return bits / self.chained_dims if self.chained_dims else 0.0

    def nats_per_image(self, bits: float) -> float:
        """Bits of the chain as nats per image: per value, times an image's values."""
        return self.bits_per_dim(bits) * LN2 * self.dims / max(1, self.images)

    @property
    def pixels_kl_bits(self) -> float:
        """Code length of the chain's pixels under the likelihood's tables."""
        return self.kl_bits - sum(group.kl_bits for group in self.steps)

    def check(self) -> Check:
        """Compare net with KL-based bits: of each step and layer, of the pixels, and in all.

        Where bits are expected, the KL-based ones are compared with these, too.
        """
        rows = [
            (group.name, group.net_bits, group.kl_bits, group.spread)
            for group in self.steps
            if group.popped_bits or group.pushed_bits
        ]
        rows.append(("pixels", self.likelihood_bits, self.pixels_kl_bits, self.pixels))
        parts = [
            Part(name, net, kl + spread.simulated_bits, *spread.limits)
            for name, net, kl, spread in rows
        ]
        rounding = sum(spread.simulated_bits for *_, spread in rows)
        error = math.sqrt(sum(part.standard_error_bits**2 for part in parts))
        bound = sum(part.bound_bits for part in parts)
        parts.append(Part("chain", self.net_bits, self.kl_bits + rounding, error, bound))
        if self.order.spread.pushes:
            given = self.order
            limits = given.spread.limits
            parts.insert(0, Part("order", -given.bits, -given.promised_bits, *limits))
        return check(tuple(parts), self.chained_images, self._expected_parts())

    def _expected_parts(self) -> tuple[Part, ...]:
        """KL-based bits beside the expected ones: of each group, of the pixels, and in all."""
        images, expected = self.by_image, self.expected
        if images is None or expected is None:
            return ()
        names = [group.name for group in self.steps]
        kl = [group.kl_bits for group in self.steps]
        rows = [
            *zip(names, kl, map(images.compared, range(len(kl)), expected.groups), strict=True),
            ("pixels", self.pixels_kl_bits, images.compared(len(kl), expected.likelihood)),
            ("chain", self.kl_bits, images.compared_in_all(expected)),
        ]
        widths = [group.width_bits for group in self.steps] + [0.0, 0.0]
        return tuple(
            Part(name, bits, promised, error, expected.tolerance * abs(promised) + width)
            for (name, bits, (promised, error)), width in zip(rows, widths, strict=True)
        )

    def __repr__(self) -> str:
        check = self.check()
        verdict = "match" if check.passed else "DO NOT MATCH" if check.measured else "not measured"
        net, kl = self.bits_per_dim(self.net_bits), self.bits_per_dim(self.kl_bits)
        file = f"{self.images} images, file {self.file_bits / max(1, self.dims):.4f} bits/dim"
        chain = f"chain of {self.chained_images} tiles, net {net:.4f}, KL {kl:.4f}: {verdict}"
        return f"<RateReport: {file}; {chain}>"

    def _repr_html_(self) -> str:
        """The tables, the legend and the check, as notebooks show them."""
        from .reports.html import fragment

        return fragment(self)

    def to_html(self) -> str:
        """A page of its own: the tables, the legend, the check, and the figure if it is drawn."""
        from .reports.html import page

        return page(self)

    def to_frame(self) -> "DataFrame":
        """A pandas table: a row for each step and layer, the pixels and the chain.

        Its columns are the fields of `reports.rows.Row`.

        Raises:
            InputError: pandas is not installed.
        """
        from .reports.frame import to_frame

        return to_frame(self)

    def plot(self) -> "Figure":
        """A matplotlib figure: where every bit went, and net minus KL along the chain in its band.

        Raises:
            InputError: matplotlib is not installed.
        """
        from .reports.plot import plot

        return plot(self)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON holds it; bits, bits/dim and nats per image."""
        from .reports.summary import to_dict

        return to_dict(self)
