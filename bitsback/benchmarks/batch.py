"""Where the time of a batch goes: the network, the tables, and the ANS steps.

The whole encode and decode of one batch of a model, on one thread. Network: all that is asked of
the model. ANS: what changes the message, and in compiled loops the search of popped symbols, which
is part of their steps. Tables: everything else, such as posterior rows, dither, masks, mixtures
and the costs that a report tells.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bitsback.ans import compiled as fast
from bitsback.ans.message import DEFAULT_HEADS, U64, Interval, Locate, Message
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.model import LoadedModel
from bitsback.coding.reports.tally import Tally
from bitsback.errors import BitsbackError, InputError
from bitsback.sources import read
from bitsback.tiles import tiles

_WORDS = 1 << 20
_SEED = 0


@dataclasses.dataclass(frozen=True)
class BatchTime:
    """Seconds of this thread's processor time that a batch took.

    Args:
        model: its name.
        action: "encode" or "decode".
        shape: of the images, (B, C, H, W).
        compiled: whether the loops of numba were used.
        network, tables, ans: the parts; their sum is all of it.
    """

    model: str
    action: str
    shape: tuple[int, ...]
    compiled: bool
    network: float
    tables: float
    ans: float


class _Clock:
    """Seconds by part; a part that begins within another one pauses it."""

    def __init__(self) -> None:
        self.seconds = {"network": 0.0, "tables": 0.0, "ans": 0.0}
        self.part, self.since = "tables", time.thread_time()

    def switch(self, part: str) -> str:
        """Begin a part; gives the one that was going on."""
        before, now = self.part, time.thread_time()
        self.seconds[before] += now - self.since
        self.part, self.since = part, now
        return before

    @contextlib.contextmanager
    def during(self, part: str) -> Iterator[None]:
        before = self.switch(part)
        try:
            yield
        finally:
            self.switch(before)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            with self.during(part):
                return function(*arguments)

        return run


class _Network:
    """A model whose every method is the network's time."""

    def __init__(self, model: Any, clock: _Clock) -> None:
        self.model, self.clock = model, clock
        self.groups, self.passes = model.groups, model.passes

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return self.clock.timed("network", getattr(self.model, name))


class _TimedMessage(Message):
    """A message whose pushes and pops are ANS, but for the look-ups that they ask for."""

    __slots__ = ("clock",)
    clock: _Clock

    def push_compiled(self, n: int, loop: Callable[..., int], *parameters: Any) -> None:
        with self.clock.during("ans"):
            super().push_compiled(n, loop, *parameters)

    def pop_compiled(self, loop: Callable[..., int], *parameters: Any) -> None:
        with self.clock.during("ans"):
            super().pop_compiled(loop, *parameters)

    def push_trusted(self, n: int, power: U64, interval: Interval) -> None:
        with self.clock.during("ans"):
            super().push_trusted(n, power, self.clock.timed("tables", interval))

    def pop_trusted(self, n: int, power: U64, locate: Locate) -> None:
        with self.clock.during("ans"):
            super().pop_trusted(n, power, self.clock.timed("tables", locate))


def images(loaded: LoadedModel, data: Path | None) -> NDArray[np.uint8]:
    """A batch's images, (B, C, H, W) uint8: of a file or folder, or made up.

    Raises:
        InputError: the data have no image with the model's number of channels, or other
            values than its pixels.
    """
    if data is None:
        side = loaded.tiles[-1]
        steps = np.add.outer(np.arange(side), np.arange(side))[:, :, None] * 2
        shape = (loaded.batch, side, side, loaded.channels)
        noise = np.random.default_rng(_SEED).integers(0, 32, shape)
        levels = ((steps + noise) % 256).astype(np.uint8)
        every = list(levels // (128 if loaded.binary else 1))
    else:
        some = read.read_images([data]).pixels[: loaded.batch]
        every = [p for p in some if p.shape[2] == loaded.channels]
    if not every:
        raise InputError(f"{data} has no image of {loaded.channels} channels")
    shortest = min(min(p.shape[:2]) for p in every)
    side = max([t for t in loaded.tiles if t <= shortest], default=loaded.tiles[0])
    x = tiles.cut(every, (side, side))[: loaded.batch].transpose(0, 3, 1, 2)
    if loaded.binary and x.max() > 1:
        raise InputError(f"{loaded.name} codes pixels of 0 and 1 only")
    return np.ascontiguousarray(x)


def measure(loaded: LoadedModel, x: NDArray[np.uint8], repeats: int) -> list[BatchTime]:
    """The quickest of several encodes and decodes, after one that is not counted.

    Raises:
        BitsbackError: decoding did not give back the images or the message.
    """
    count, _, height, width = x.shape
    batch = Batch(count, height, width, _SEED, 0)
    best: dict[str, _Clock] = {}
    start = Message.random(DEFAULT_HEADS, _WORDS, _SEED)
    message = start.copy()
    for repeat in range(repeats + 1):
        for action in ("encode", "decode"):
            clock = _Clock()
            timed, model = _TimedMessage(message.heads, message.tail), _Network(loaded.model, clock)
            timed.clock = clock
            if action == "encode":
                Tally().add(bits_back.encode(timed, model, batch, x), x.size)
            else:
                back = bits_back.decode(timed, model, batch)
            clock.switch("tables")
            if repeat and (action not in best or _total(clock) < _total(best[action])):
                best[action] = clock
        if not np.array_equal(back, x) or message != start:
            raise BitsbackError("decoding did not undo encoding")
    compiled = message.loops is not None and fast.loops("tables") is not None
    return [
        BatchTime(loaded.name, action, x.shape, compiled, **clock.seconds)
        for action, clock in best.items()
    ]


def _total(clock: _Clock) -> float:
    return sum(clock.seconds.values())


def print_times(times: list[BatchTime], console: Console) -> None:
    """The times as a table, with their percentages."""
    parts = ("network", "tables", "ans")
    table = Table("model", "a batch")
    for title in ("network", "tables", "ANS"):
        table.add_column(f"{title}, s", justify="right")
        table.add_column("%", justify="right")
    for row in times:
        seconds = [float(getattr(row, part)) for part in parts]
        cells = [(f"{s:.4f}", f"{100 * s / sum(seconds):.1f}") for s in seconds]
        table.add_row(row.model, row.action, *(cell for pair in cells for cell in pair))
    console.print(table)
    shape, loops = times[0].shape, "compiled loops" if times[0].compiled else "NumPy alone"
    console.print(
        f"seconds of one thread for a batch of {' x '.join(map(str, shape))} values, with {loops}; "
        "compiled loops search for a popped symbol within ANS, NumPy within tables"
    )
