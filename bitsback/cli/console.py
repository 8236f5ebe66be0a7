"""Reports as tables in the terminal, and progress bars on standard error."""

import contextlib
import json
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bitsback.images.safe_names import plain

if TYPE_CHECKING:
    from bitsback.benchmarks.files import Bench
    from bitsback.benchmarks.sets.ablation import Row, Without
    from bitsback.coding.rates import RateReport

_UNLIMITED = 1 << 20  # columns

#: for what a user must not miss
console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
#: for progress and closing lines, which --quiet leaves out
remarks = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def note(line: str) -> None:
    """Print on standard error what a user must not miss."""
    console.print(f"bitsback: {plain(line)}")


def closing(line: str, as_json: bool = False, **facts: object) -> None:
    """Print a command's last line on standard error, or its facts as JSON on standard output."""
    if as_json:
        print(json.dumps(facts))
    else:
        remarks.print(plain(line))


def print_table(table: Table, console: Console, folds: str = "") -> None:
    """Print a table, no cell of it cut: where a terminal is too narrow, its lines go on below.

    Args:
        folds: the heading of the column that may take several lines, in a terminal alone.
    """
    for column in table.columns:
        column.no_wrap = column.header != folds
    unlimited = console.options.update(max_width=_UNLIMITED)
    wanted = Measurement.get(console, unlimited, table)
    before = console.width
    console.width = max(before, wanted.minimum) if console.is_terminal else wanted.maximum
    console.print(table, crop=False)
    console.width = before


class Told(logging.Handler):
    """Prints what the library logs, each line with the seconds since the command began."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._began = time.perf_counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line."""
        remarks.print(f"{time.perf_counter() - self._began:8.2f} s  {plain(record.getMessage())}")


def be_verbose(value: bool) -> None:
    """Begin to print what the library logs, or no longer."""
    logger = logging.getLogger("bitsback")
    for handler in [each for each in logger.handlers if isinstance(each, Told)]:
        logger.removeHandler(handler)
    logger.setLevel(logging.INFO if value else logging.NOTSET)
    if value:
        logger.addHandler(Told())


class Bar:
    """A progress bar that also shows the phase of the work.

    Args:
        progress: rich's.
        action: what the command does.
    """

    def __init__(self, progress: Progress, action: str) -> None:
        self._progress, self._action = progress, action
        self._task = progress.add_task(action, total=None)
        self._total: int | None = None

    def __call__(self, done: int, total: int) -> None:
        if total != self._total:  # other work, whose speed the work before does not tell
            self._progress.reset(self._task, total=total)
            self._total = total
        self._progress.update(self._task, completed=done)

    def phase(self, name: str) -> None:
        """Show what comes next."""
        self._progress.update(self._task, description=f"{self._action}: {name}")


@contextlib.contextmanager
def bar(action: str) -> Iterator[Bar]:
    """A progress bar on standard error, if that is a terminal; yields progress(done, total)."""
    with progress_bar("{task.percentage:>3.0f} %") as progress:
        yield Bar(progress, action)


def progress_bar(count: str = "{task.completed}/{task.total}") -> Progress:
    """A bar with a description, a count and the time left, shown in terminals only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(count),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=remarks,
        disable=remarks.quiet or not remarks.is_terminal,
        transient=True,
    )


def print_report(report: "RateReport", console: Console) -> None:
    """The chain's rates, what the file consists of, the legend, and the check."""
    from bitsback.coding.reports import rows

    expected = report.expected is not None
    beside = ("expected", "z expected") if expected else ()
    heads = ("part", "net", "KL", "z", "Gaussian KL", *beside, "bits/dim", "nats/image")
    table = Table(*heads)
    for row in rows.chain_rows(report):
        cells = [row.part, f"{row.net_bits:.0f}", f"{row.kl_bits:.0f}", _signed(row.z)]
        cells.append(_whole(row.gaussian_kl_bits))
        if expected:
            cells += [_whole(row.expected_bits), _signed(row.z_expected)]
        table.add_row(*cells, f"{row.bits_per_dim:.5f}", f"{row.nats_per_image:.3f}")
    console.print(rows.chain_title(report), soft_wrap=True)
    print_table(table, console)
    for name, meaning in rows.shown_legend(report).items():
        console.print(f"{name:>11}: {meaning}", soft_wrap=True)
    console.print(rows.file_title(report), soft_wrap=True)
    for name, bits in rows.file_rows(report).items():
        console.print(f"{name:>17}: {bits:12.0f} bits  {bits / report.file_bits:8.3%}")
    for line in [*rows.coverage_lines(report), str(report.check())]:
        console.print(line, soft_wrap=True)


def _whole(bits: float | None) -> str:
    return "" if bits is None else f"{bits:.0f}"


def _signed(z: float | None) -> str:
    return "" if z is None else f"{z:+.2f}"


@contextlib.contextmanager
def told_warnings() -> Iterator[None]:
    """Within it, a CoverageWarning is a line on standard error."""
    from bitsback.errors import CoverageWarning

    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CoverageWarning)
            yield
    finally:
        for each in caught:
            if issubclass(each.category, CoverageWarning):
                note(f"warning: {each.message}")
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def print_bench(bench: "Bench", console: Console) -> None:
    """Sizes and speeds of all codecs; ratios are a row over bitsback's."""
    first = bench.rows[0]
    table = Table("codec", "bits/dim", "size", "encode", "decode")
    for row in bench.rows:
        seconds = (
            (row.encode_seconds, first.encode_seconds),
            (row.decode_seconds, first.decode_seconds),
        )
        table.add_row(
            row.name,
            f"{bench.bits_per_dim(row):.4f}",
            f"{row.size} B, {row.size / first.size:.3f}x",
            *(f"{own:.2f} s, {own / ours:.4f}x" for own, ours in seconds),
        )
    print_table(table, console)
    console.print(
        f"{bench.images} images, {bench.dims} dims; all rows decoded and equal; "
        "x: ratio to bitsback"
    )
    console.print(
        f"bitsback: {bench.model_share:.1%} of the values through the model, the rest in a "
        f"classical code; network {bench.network_share:.1%} of the encoding time, coder and all "
        f"else {1 - bench.network_share:.1%}; {bench.images / first.encode_seconds:.1f} images/s "
        f"encoding, {bench.images / first.decode_seconds:.1f} decoding; peak memory "
        f"{bench.peak_memory / 2**20:.0f} MiB"
    )
    console.print(
        f"net {bench.net_bits:.0f} bits, KL-based {bench.kl_bits:.0f} bits, "
        + {True: "match", False: "NO MATCH", None: "not measured"}[bench.match]
    )


def print_ablation(rows: "Sequence[Row]", without: "Sequence[Without]", limit: int | None) -> None:
    """Rates and speeds of sets without and with each switch, and what has none."""
    heads = "set", "images", "model", "with", "bits/dim", "change", "encode", "decode", "notes"
    table = Table(*heads, box=box.MARKDOWN)
    for row in rows:
        notes = []
        if row.promised_order_bits:
            notes.append(
                f"order: {row.order_bits:,.2f} of {row.promised_order_bits:,.2f} bits given back"
            )
        if row.model_share < 1:
            notes.append(f"{1 - row.model_share:.0%} in a classical code")
        if row.match is False:
            notes.append("net and KL-based bits DO NOT MATCH")
        change = f"{row.change:+.2%}" if row.change else ""
        speeds = (f"{speed:.3g}" for speed in row.speeds)
        cells = plain(row.title), str(row.images), row.model, row.switch, f"{row.bits_per_dim:.4f}"
        table.add_row(*cells, change, *speeds, "; ".join(notes))
    out = Console(highlight=False, markup=False)
    print_table(table, out, folds="notes")
    for each in without:
        out.print(plain(str(each)), soft_wrap=True)
    taken = "all images" if limit is None else f"at most {limit} images"
    out.print(
        f"{taken} of each set; all files decoded and equal, those in any order as sets; encode, "
        "decode: images per second of processor time",
        soft_wrap=True,
    )
