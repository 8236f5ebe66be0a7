"""A report as tables: the parts of the chain, and what the file consists of."""

import dataclasses

from ..matching import FAMILY_LEVEL, Part
from ..rates import RateReport

LEGEND = {
    "net": "bits that the message grew by",
    "KL": "KL(q || p) on the latents' grid, or, where they are inferred from the bottom up, their "
    "code length under p less the entropy of q; of the pixels, their code length under the tables",
    "Gaussian KL": "KL of the Gaussians themselves, without any grid; none where nothing is popped",
    "z": "net minus KL, in standard errors of that difference; the limit below lets chance fail an "
    f"intact file once in {1 / FAMILY_LEVEL:,.0f} times, over all parts together",
    "order": "bits that the order of the images gives back, beside log2 of the number of orders; "
    "the chain's row does not have them",
    "expected": "bits that the model's own ELBO promises",
    "z expected": "KL minus expected, in standard errors of that difference",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A step and layer, the pixels, or the whole chain; bits over all of the chain's images.

    Args:
        part: its name.
        popped_bits, pushed_bits: that latents took off the message under q, and put on it under p.
        net_bits, kl_bits, gaussian_kl_bits, expected_bits: see `LEGEND`; None where there is none.
        z, z_expected: signed; None where nothing was measured or expected.
        passed: whether all that was measured matches.
        bits_per_dim, nats_per_image: of the net bits.
    """

    part: str
    popped_bits: float | None
    pushed_bits: float | None
    net_bits: float
    kl_bits: float
    gaussian_kl_bits: float | None
    z: float | None
    expected_bits: float | None
    z_expected: float | None
    passed: bool
    bits_per_dim: float
    nats_per_image: float


def chain_rows(report: RateReport) -> list[Row]:
    """A row for each step and layer, for the pixels, and for the chain."""
    check = report.check()
    measured = {part.name: part for part in check.parts}
    promised = {part.name: part for part in check.expected}

    def row(
        name: str,
        net: float,
        kl: float,
        gaussian: float | None = None,
        popped: float | None = None,
        pushed: float | None = None,
    ) -> Row:
        own, other = measured.get(name), promised.get(name)
        return Row(
            name,
            popped,
            pushed,
            net,
            kl,
            gaussian,
            _z(own),
            None if other is None else other.promised_bits,
            _z(other),
            all(part.passes(check.limit) for part in (own, other) if part is not None),
            report.bits_per_dim(net),
            report.nats_per_image(net),
        )

    steps = [
        # Where nothing is popped, k is the nearest one: no Gaussian posterior is coded.
        row(
            *(g.name, g.net_bits, g.kl_bits, g.continuous_kl_bits if g.popped_bits else None),
            popped=g.popped_bits,
            pushed=g.pushed_bits,
        )
        for g in report.steps
    ]
    if report.order.spread.pushes:
        steps.insert(0, row("order", -report.order.bits, -report.order.promised_bits))
    pixels = row("pixels", report.likelihood_bits, report.pixels_kl_bits)
    return [*steps, pixels, row("chain", report.net_bits, report.kl_bits)]


def _z(part: Part | None) -> float | None:
    return None if part is None else part.z


def file_rows(report: RateReport) -> dict[str, float]:
    """What the file consists of, and its size, bits; "chain" is the chain's net bits."""
    order = {"order": -report.order.bits} if report.order.spread.pushes else {}
    return {
        "payload": report.payload_bits,
        "first images": report.first_bits,
        "filler": report.filler_bits,
        "chain": report.net_bits,
        **order,
        "header": report.header_bits,
        "stack's head": report.head_bits,
        "file": report.file_bits,
    }


def chain_title(report: RateReport) -> str:
    """Which values the chain's rows are of, and what of the pixels is side information."""
    title = (
        f"chain: {report.chained_images} tiles, {report.chained_dims} of {report.dims} values; "
        f"the others are initial bits or in a classical code"
    )
    if not report.side.symbols:
        return title
    return (
        f"{title}. Of the pixels' bits {report.side.bits:.0f} are side information, which should "
        f"save {report.side.saved:.0f} more than it takes"
    )


def file_title(report: RateReport) -> str:
    """Which images the file's rows are of."""
    rate = report.file_bits / max(1, report.dims)
    return f"file: {report.images} images, {report.dims} values, {rate:.5f} bits/dim"


def shown_legend(report: RateReport) -> dict[str, str]:
    """The legend of the columns that the report has."""
    return {
        name: meaning
        for name, meaning in LEGEND.items()
        if (report.expected is not None or "expected" not in name)
        and (report.order.spread.pushes or name != "order")
    }


def coverage_lines(report: RateReport) -> list[str]:
    """A sentence for each kind of value that is clipped anywhere."""
    return [kind.line(report.kl_bits) for kind in report.coverage.kinds if kind.count]
