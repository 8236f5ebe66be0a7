"""Reports as tables in the terminal, and progress bars on standard error."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from bitsback.benchmarks.files import Bench
    from bitsback.coding.rates import RateReport

console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def bar(action: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, if that is a terminal; yields progress(done, total)."""
    with progress_bar() as progress:
        task = progress.add_task(action, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def progress_bar() -> Progress:
    """A bar with a description, a count and the time left, shown in terminals only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def print_report(report: "RateReport", console: Console) -> None:
    """The rate table, where every bit went, and the check."""
    table = Table("part", "net bits", "KL bits", "z", "Gaussian KL", "bits/dim", "nats/image")
    check = report.check()
    z_of = {part.name: f"{part.z:+.2f}" for part in check.parts}

    def row(name: str, net: float, kl: float, continuous: str) -> None:
        rates = (f"{report.bits_per_dim(net):.5f}", f"{report.nats_per_image(net):.3f}")
        table.add_row(name, f"{net:.0f}", f"{kl:.0f}", z_of.get(name, ""), continuous, *rates)

    for group in report.steps:
        continuous = f"{group.continuous_kl_bits:.0f}"
        row(group.name, group.net_bits, group.kl_bits, continuous)
    latents = sum(group.kl_bits for group in report.steps)
    row("pixels", report.likelihood_bits, report.kl_bits - latents, "")
    row("chain", report.net_bits, report.kl_bits, "")
    console.print(table)
    parts = {
        "payload": report.payload_bits,
        "first images": report.first_bits,
        "filler": report.filler_bits,
        "net": report.net_bits,
        "header": report.header_bits,
        "stack's head": report.head_bits,
        "file": report.file_bits,
    }
    for name, bits in parts.items():
        console.print(f"{name:>17}: {bits:12.0f} bits  {bits / report.file_bits:8.3%}")
    console.print(
        f"file: {report.file_bits / report.dims:.5f} bits/dim over {report.images} images"
    )
    console.print(str(check))


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
    console.print(table)
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
