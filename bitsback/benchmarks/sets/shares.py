"""What the time of encoding goes into, on the standard sets: a Markdown table of shares.

    python -m bitsback.benchmarks.sets.shares DATA --limit 1000

DATA is a folder as `bitsback bench --ablation` takes it. Image files are read as `compress` reads
them, within the time; an .npz is read before. A thousand times a second, what the process spent
since the last time is booked to what its stack says it is doing, so that the shares add up to all
of its time; run it with OMP_NUM_THREADS=1. "Network" is what the model computes for the chain; the
same for samples and checks has a column of its own. "Tables" are those of probabilities, "rates"
what the report of a file's bits is measured with.
"""

import argparse
import dataclasses
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar

from bitsback.archive import writer
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError, refusals
from bitsback.keeping.rule import DEFAULT
from bitsback.models import store

from . import round_trip
from .standard import StandardSet, parted

T = TypeVar("T")
_SECONDS = 1e-3  # of the clock between two looks at the stack
NETWORK, AGAIN, PROOF = "network", "network: sample, check", "proof"
TABLES, ANS, RATES = "tables", "ANS", "rates"
SIDE = "side information"
CLASSICAL, READING, REST = "classical codes", "reading, recipes", "all else"
PARTS = (NETWORK, AGAIN, PROOF, TABLES, SIDE, ANS, RATES, CLASSICAL, READING, REST)

_PREFIX = "bitsback."
# Where any frame of the stack is of such a module or function, the time is of this part.
_WITHIN = (
    (CLASSICAL, frozenset({"images.classical", "chunks.prefix", "chunks.trials"})),
    (CLASSICAL, frozenset({"chunks.encoder:encode_classically"})),
    (SIDE, frozenset({"side"})),
    (PROOF, frozenset({"models.exact.convolution:proven"})),
    (RATES, frozenset({"coding.reports"})),
    (READING, frozenset({"sources", "keeping", "images.image_file", "images.png"})),
)
_TWICE = frozenset({"chunks.cost:chain_cost", "chunks.check"})
# Of the others, the innermost frame that is of one of these tells the part.
_INNERMOST = {"models": NETWORK, "tables": TABLES, "ans": ANS}


def part_of(stack: list[tuple[str, str]]) -> str:
    """The part that a stack is at.

    Args:
        stack: module and function of each frame, the innermost first.
    """
    own = [(module[len(_PREFIX) :], name) for module, name in stack if module.startswith(_PREFIX)]
    names = {
        name for module, function in own for name in (*_folders(module), f"{module}:{function}")
    }
    for part, tellers in _WITHIN:
        if not names.isdisjoint(tellers):
            return part
    for module, _ in own:
        part = _INNERMOST.get(module.partition(".")[0], REST)
        if part != REST:
            return AGAIN if part == NETWORK and not names.isdisjoint(_TWICE) else part
    return REST


def _folders(module: str) -> list[str]:
    """A module's name, and those of the folders that it lies in."""
    parts = module.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def measure(work: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What some work gives, and the seconds of processor time by part.

    Raises:
        InputError: this system has no timer for it.
    """
    if not hasattr(signal, "setitimer"):
        raise InputError("shares of time need the timers of a POSIX system")
    spent = dict.fromkeys(PARTS, 0.0)
    last = time.process_time()

    def look(_: int, frame: FrameType | None) -> None:
        nonlocal last
        now, stack = time.process_time(), []
        while frame is not None:
            stack.append((frame.f_globals.get("__name__", ""), frame.f_code.co_name))
            frame = frame.f_back
        spent[part_of(stack)] += now - last
        last = now

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS, _SECONDS)
    try:
        found = work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return found, spent


@dataclasses.dataclass(frozen=True)
class Shares:
    """Where the time of encoding a set went.

    Args:
        title: of the set.
        model: its name.
        images: how many.
        model_share: of the values, went through the model.
        seconds: of the processor, by part.
    """

    title: str
    model: str
    images: int
    model_share: float
    seconds: dict[str, float]

    @property
    def row(self) -> str:
        """A row of the table."""
        whole = sum(self.seconds.values())
        cells = [self.title, str(self.images), self.model, f"{self.model_share:.0%}"]
        cells += [f"{whole:.1f} s", *(f"{self.seconds[part] / whole:.1%}" for part in PARTS)]
        return f"| {' | '.join(cells)} |"


HEAD = f"| set | images | model | through it | in all | {' | '.join(PARTS)} |"


def shares(
    each: StandardSet, folder: Path, loaded: LoadedModel, limit: int | None = None
) -> Shares:
    """Where the time of compressing a set goes.

    Args:
        limit: images that are taken.

    Raises:
        InputError: the set cannot be read or coded.
    """
    title, images = each.read(folder, limit, DEFAULT)
    round_trip.warm_up(images, loaded)

    def compress() -> writer.Compressed:
        # Files are read again within the time.
        taken = images if each.arrays else each.read(folder, limit, DEFAULT)[1]
        return writer.compress_set(taken, loaded)

    packed, seconds = measure(compress)
    return Shares(title, loaded.name, len(images.pixels), packed.report.model_share, seconds)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of the sets")
    parser.add_argument("--limit", type=int, help="images of each set, at most")
    given = parser.parse_args()
    with refusals():
        there, lacking = parted(given.data)
        if not there:
            raise InputError(f"none of the standard sets is in {given.data}")
        print(f"{HEAD}\n|{'---|' * HEAD.count(' | ')}---|", flush=True)
        for each in there:
            for name in each.models:
                print(
                    shares(each, given.data, store.load(name, "cpu"), given.limit).row, flush=True
                )
        for each in lacking:
            print(f"{each.name}: absent, there is no {given.data / each.place}")


if __name__ == "__main__":
    main()
