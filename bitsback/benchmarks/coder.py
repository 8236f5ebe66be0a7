"""Symbols a second of the coder and of its peers, in one run.

    python -m bitsback.benchmarks.coder

Then the time of a model's batch by its parts: see `bitsback.benchmarks.batch`.

All coders take the same symbols on one thread, and what each one pops is compared with what it
was given. A coder's time covers all that it does with a symbol's parameters: the choice of table
rows here, the evaluation of the distribution in constriction, not the tables that are made once.
Times are processor time of this thread, so that other work on the machine changes them less;
every figure is the best of several repetitions.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bitsback.ans import codecs
from bitsback.ans.message import Message
from bitsback.api import DEFAULT_MODEL, load_model
from bitsback.errors import BitsbackError
from bitsback.tables import tables

from . import batch

SYMBOLS = 1 << 18
HEADS = (8, 64, 512, 4096)
REPEATS = 9
BATCH_REPEATS = 5
PEER = "constriction"

_CRAYSTACK_HEADS = 1024
_CRAYSTACK_BLOCKS = 4  # craystack pops one symbol at a time in Python
_WIDTHS = (0, 2 * tables.SCALE_STEPS)  # deviations of 1..4 grid steps, as those of latents are


@dataclasses.dataclass(frozen=True)
class Work:
    """Symbols to be coded, and their distributions in the form that each coder takes.

    Args:
        name: of the kind of distribution.
        table: uint32 (R, n + 1), cumulative frequencies of 2**24, read-only.
        rows: int64 (m,), the row of each symbol.
        symbols: int64 (m,), columns of the table.
        parameters: of constriction's model: (means, deviations), float64 (m,) in columns, of a
            Gaussian; nothing, where all symbols have the table's one row.
    """

    name: str
    table: NDArray[np.uint32]
    rows: NDArray[np.int64]
    symbols: NDArray[np.int64]
    parameters: tuple[NDArray[np.float64], ...]


@dataclasses.dataclass(frozen=True)
class Coder:
    """A coder with its symbols.

    Args:
        name: of the coder.
        heads: of its message; 1 for constriction.
        symbols: integers, any shape.
        push: symbols onto a new message, which it returns.
        pop: the symbols off that message, which it may change.
    """

    name: str
    heads: int
    symbols: NDArray[np.integer[Any]]
    push: Callable[[], Any]
    pop: Callable[[Any], NDArray[np.integer[Any]]]


@dataclasses.dataclass(frozen=True)
class Row:
    """One coder's speed.

    Args:
        work: name of the symbols' kind.
        coder, heads: as in `Coder`.
        push, pop: symbols a second.
        push_ratio, pop_ratio: these over constriction's.
    """

    work: str
    coder: str
    heads: int
    push: float
    pop: float
    push_ratio: float
    pop_ratio: float


def works(symbols: int, seed: int = 0) -> list[Work]:
    """So many symbols of each kind, drawn from the tables themselves."""
    rng = np.random.default_rng(seed)
    kinds = []
    for name, table, lowest, dither in (
        ("Gaussian, prior", tables.prior_table(), tables.PRIOR_WIDTHS[0], 0.0),
        (
            "Gaussian, posterior",
            tables.posterior_table(),
            tables.POSTERIOR_WIDTHS[0],
            1 / 12,
        ),
    ):
        width = rng.integers(*_WIDTHS, symbols)
        fraction = rng.integers(0, tables.FRACTIONS, symbols)
        rows = (width - lowest) * tables.FRACTIONS + fraction
        means = (fraction + 0.5) / tables.FRACTIONS - 0.5 - tables.FIRST
        deviations = np.sqrt(4.0 ** (width / tables.SCALE_STEPS) - dither)
        kinds.append(Work(name, table, rows, _draw(rng, table, rows), (means, deviations)))
    freqs = tables.quantise(rng.gamma(0.5, size=tables.COLUMNS), tables.PRECISION)
    table = np.concatenate([[0], np.cumsum(freqs)]).astype(np.uint32)[None].copy()
    table.flags.writeable = False
    rows = np.zeros(symbols, np.int64)
    kinds.append(Work("table of 256", table, rows, _draw(rng, table, rows), ()))
    return kinds


def measure(symbols: int, heads: Sequence[int], repeats: int) -> list[Row]:
    """Speeds of all coders on all works; constriction's row is the first of each work.

    Raises:
        BitsbackError: constriction is not installed, or a coder did not give the symbols back.
    """
    if importlib.util.find_spec(PEER) is None:
        raise BitsbackError(
            "the coder's speed is measured against constriction, which is not installed: "
            'pip install "bitsback[bench]"'
        )
    craystack = importlib.util.find_spec("craystack") is not None
    rows = []
    for work in works(symbols):
        coders = [_constriction(work), *(_bitsback(work, count) for count in heads)]
        if craystack:
            coders.append(_craystack(work))
        speeds = _speeds(coders, repeats)
        push, pop = speeds[0]
        for coder, own in zip(coders, speeds, strict=True):
            rows.append(Row(work.name, coder.name, coder.heads, *own, own[0] / push, own[1] / pop))
    return rows


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """The rows as a table."""
    table = Table("symbols", "coder")
    for title in ("heads", "push, M/s", "ratio", "pop, M/s", "ratio"):
        table.add_column(title, justify="right")
    for row in rows:
        speeds = (row.push / 1e6, row.push_ratio, row.pop / 1e6, row.pop_ratio)
        table.add_row(row.work, row.coder, str(row.heads), *(f"{speed:.2f}" for speed in speeds))
    console.print(table)
    console.print(
        f"million symbols a second of one thread's processor time; ratio: to {PEER}; "
        "all popped symbols are equal to those pushed"
    )


def main(arguments: Sequence[str]) -> int:
    """Measure, and print tables or JSON; 2 if the arguments are wrong."""
    parser = argparse.ArgumentParser("python -m bitsback.benchmarks.coder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="whose batch is timed")
    parser.add_argument("--data", type=Path, help="images of that batch, else made up")
    try:
        given = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        rows = measure(SYMBOLS, HEADS, REPEATS)
        times = _measure_batch(given.model, given.data)
    except BitsbackError as error:
        print(error, file=sys.stderr)
        return 1
    if given.json:
        coders, batches = ([dataclasses.asdict(row) for row in part] for part in (rows, times))
        print(json.dumps({"coders": coders, "batches": batches}))
    else:
        console = Console(highlight=False)
        print_rows(rows, console)
        batch.print_times(times, console)
    return 0


def _measure_batch(model: str, data: Path | None) -> list[batch.BatchTime]:
    loaded = load_model(model, "cpu")
    x = batch.images(loaded, data)
    with contextlib.ExitStack() as stack:
        if "torch" in sys.modules:
            torch = sys.modules["torch"]
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(1)
        return batch.measure(loaded, x, BATCH_REPEATS)


def _draw(
    rng: np.random.Generator, table: NDArray[np.uint32], rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    return tables.find(table, rows, rng.integers(0, tables.TOTAL, rows.shape))


def _speeds(coders: Sequence[Coder], repeats: int) -> list[tuple[float, float]]:
    """Symbols a second of every coder's push and pop; they take turns, to share a bad moment."""
    best = np.full((len(coders), 2), np.inf)
    for _ in range(repeats):
        for coder, times in zip(coders, best, strict=True):
            start = time.thread_time()
            coded = coder.push()
            middle = time.thread_time()
            popped = coder.pop(coded)
            end = time.thread_time()
            if not np.array_equal(popped, coder.symbols):
                raise BitsbackError(f"{coder.name} did not give back the symbols it was given")
            np.minimum(times, (middle - start, end - middle), out=times)
    return [
        (coder.symbols.size / push, coder.symbols.size / pop)
        for coder, (push, pop) in zip(coders, best.tolist(), strict=True)
    ]


def _bitsback(work: Work, heads: int) -> Coder:
    def codec() -> codecs.Codec[NDArray[np.int64]]:
        return codecs.categorical(work.table, work.rows, tables.PRECISION)

    def push() -> Message:
        return codec().push(Message.empty(heads), work.symbols)

    def pop(message: Message) -> NDArray[np.int64]:
        return codec().pop(message)[1]

    return Coder("bitsback", heads, work.symbols, push, pop)


def _constriction(work: Work) -> Coder:
    import constriction

    models, coders = constriction.stream.model, constriction.stream.stack
    symbols = work.symbols.astype(np.int32)
    if work.parameters:
        model = models.QuantizedGaussian(0, work.table.shape[1] - 2)
    else:
        model = models.Categorical(np.diff(work.table[0]).astype(np.float64), perfect=False)

    def push() -> Any:
        coder = coders.AnsCoder()
        coder.encode_reverse(symbols, model, *work.parameters)
        return coder

    def pop(coder: Any) -> NDArray[np.int32]:
        popped: NDArray[np.int32] = coder.decode(model, *(work.parameters or (len(symbols),)))
        return popped

    return Coder(PEER, 1, symbols, push, pop)


def _craystack(work: Work) -> Coder:
    """craystack on a few blocks, all of them under the first one's rows."""
    import craystack

    rows = np.resize(work.rows, _CRAYSTACK_HEADS)
    probabilities = np.diff(work.table[rows].astype(np.float64)) / tables.TOTAL
    codec = craystack.Categorical(probabilities, tables.PRECISION)
    blocks = np.broadcast_to(rows, (_CRAYSTACK_BLOCKS, _CRAYSTACK_HEADS))
    symbols = _draw(np.random.default_rng(0), work.table, blocks)

    def push() -> Any:
        message: Any = np.full(_CRAYSTACK_HEADS, 1 << 31, np.uint64), ()
        for block in symbols:
            (message,) = codec.push(message, block)
        return message

    def pop(message: Any) -> NDArray[np.int64]:
        blocks = []
        for _ in symbols:
            message, block = codec.pop(message)
            blocks.append(block)
        return np.array(blocks[::-1])

    return Coder("craystack", _CRAYSTACK_HEADS, symbols, push, pop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
