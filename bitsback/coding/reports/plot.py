"""A report as a figure."""

from typing import TYPE_CHECKING

import numpy as np

from bitsback.errors import InputError

from ..rates import RateReport, Spread
from .rows import chain_rows, file_rows, file_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_ROWS = 40


def figure_type() -> "type[Figure]":
    """Matplotlib's figures.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("figures need matplotlib: pip install 'bitsback[figures]'") from error
    return Figure


def plot(report: RateReport) -> "Figure":
    """See `RateReport.plot`."""
    steps = min(_MOST_ROWS, len(report.steps)) + 2
    figure = figure_type()((11, max(4.0, 1.2 + 0.22 * steps)), layout="constrained")
    file, chain, walk = figure.subplots(1, 3)
    _file(file, report)
    _chain(chain, report)
    _walk(walk, report)
    return figure


def _file(axes: "Axes", report: RateReport) -> None:
    """What the file consists of."""
    parts = file_rows(report)
    del parts["file"]
    axes.bar_label(axes.barh(list(parts), list(parts.values())), fmt="{:,.0f}", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.4)
    axes.set(title=file_title(report).replace(", ", "\n", 1))
    _bits(axes)


def _chain(axes: "Axes", report: RateReport) -> None:
    """Net bits and KL of every step, and of the pixels; the first steps if there are many."""
    *steps, pixels, _ = chain_rows(report)
    left_out = len(steps) - _MOST_ROWS
    rows = [*steps[:_MOST_ROWS], pixels]
    places, height = np.arange(len(rows)), 0.4
    net = axes.barh(places - height / 2, [row.net_bits for row in rows], height, label="net")
    axes.bar_label(net, fmt="{:,.0f}", padding=3)
    axes.barh(places + height / 2, [row.kl_bits for row in rows], height, label="KL")
    expected = [row.expected_bits for row in rows]
    if any(bits is not None for bits in expected):
        bits = [np.nan if bits is None else bits for bits in expected]
        axes.plot(bits, places, "k|", markersize=12, label="expected")
    axes.set_yticks(places, [row.part for row in rows])
    axes.invert_yaxis()
    axes.legend()
    axes.margins(x=0.4)
    title = f"the chain's {report.chained_images} tiles"
    if left_out > 0:
        title += f"\n(steps beyond the first {_MOST_ROWS} left out: {left_out})"
    axes.set(title=title)
    _bits(axes)


def _bits(axes: "Axes") -> None:
    """Label the axis of bits with few and whole numbers, so that they do not run together."""
    axes.set_xlabel("bits")
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _walk(axes: "Axes", report: RateReport) -> None:
    """Net minus KL after each batch, a random walk, within what the check allows."""
    limit = report.check().limit
    tiles, walk, band = [0], [0.0], [0.0]
    net, spread = 0.0, Spread()
    for batch in report.batches:
        net += batch.net_bits - batch.kl_bits
        spread += batch.spread
        error, bound = spread.limits
        tiles.append(tiles[-1] + batch.images)
        walk.append(net - spread.simulated_bits)
        band.append(limit * error + bound)
    axes.fill_between(tiles, np.negative(band), band, alpha=0.2, label="allowed by the check")
    axes.plot(tiles, walk, label="net - KL")
    axes.legend()
    axes.set(title="net minus KL along the chain", xlabel="tiles", ylabel="bits")
