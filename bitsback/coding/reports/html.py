"""A report as HTML: a fragment for notebooks, and a page of its own."""

import io
from collections.abc import Iterable
from html import escape

from bitsback.errors import InputError

from ..rates import RateReport
from . import rows
from .plot import plot

_STYLE = (
    "body{font:14px sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}"
    "td,th{padding:2px 10px;text-align:right}td:first-child,th:first-child{text-align:left}"
    "tr.fails td{color:#b00;font-weight:bold}svg{max-width:100%;height:auto}"
)


def fragment(report: RateReport) -> str:
    """The chain's rates, what the file consists of, the legend and the check."""
    expected = report.expected is not None
    beside = ["expected", "z expected"] if expected else []
    heads = [
        "part",
        "popped under q",
        "pushed under p",
        "net",
        "KL",
        "z",
        "Gaussian KL",
        *beside,
        "bits/dim",
        "nats/image",
    ]
    lines = []
    for row in rows.chain_rows(report):
        taken = _bits(row.popped_bits), _bits(row.pushed_bits)
        cells = [row.part, *taken, _bits(row.net_bits), _bits(row.kl_bits), _signed(row.z)]
        cells.append(_bits(row.gaussian_kl_bits))
        if expected:
            cells += [_bits(row.expected_bits), _signed(row.z_expected)]
        cells += [f"{row.bits_per_dim:.5f}", f"{row.nats_per_image:.3f}"]
        lines.append(_line("td", cells, "" if row.passed else ' class="fails"'))
    chain = _table(_line("th", heads), lines)
    file = _table(
        _line("th", ["part", "bits", "share"]),
        [
            _line("td", [name, _bits(bits), f"{bits / report.file_bits:.3%}"])
            for name, bits in rows.file_rows(report).items()
        ],
    )
    legend = "; ".join(
        f"<b>{escape(name)}</b>: {escape(meaning)}"
        for name, meaning in rows.shown_legend(report).items()
    )
    told = [*rows.coverage_lines(report), *str(report.check()).splitlines()]
    return "\n".join(
        [
            f"<p>{escape(rows.chain_title(report))}</p>",
            chain,
            f"<p>{legend}.</p>",
            f"<p>{escape(rows.file_title(report))}</p>",
            file,
            *(f"<p>{escape(line)}</p>" for line in told),
        ]
    )


def page(report: RateReport) -> str:
    """A page that needs nothing else; without matplotlib, it says that the figure is missing."""
    try:
        drawn = _svg(report)
    except InputError as error:
        drawn = f"<p>Without the figure: {escape(str(error))}</p>"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>Rate of {report.images} images</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>Rate of {report.images} images</h1>\n{fragment(report)}\n{drawn}\n"
        "</body>\n</html>\n"
    )


def _svg(report: RateReport) -> str:
    file = io.StringIO()
    plot(report).savefig(file, format="svg", metadata={"Date": None})
    drawn = file.getvalue()
    return drawn[drawn.index("<svg") :]


def _table(head: str, lines: Iterable[str]) -> str:
    return "\n".join(["<table>", head, *lines, "</table>"])


def _line(tag: str, cells: Iterable[str], attributes: str = "") -> str:
    inner = "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
    return f"<tr{attributes}>{inner}</tr>"


def _bits(bits: float | None) -> str:
    return "" if bits is None else f"{bits:,.0f}"


def _signed(z: float | None) -> str:
    return "" if z is None else f"{z:+.2f}"
