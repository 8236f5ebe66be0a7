"""What each change of a configuration buys at equal training time: a table of held-out rates.

    python -m bitsback.models.benchmarks.ablation models/configs/mnist.toml --data mnist.npz \
        --seconds 120 --change steps=4 --change "maps=48 steps=2" --change likelihood=gaussian

Every run starts from scratch, on one thread if OMP_NUM_THREADS says so. Its number of updates is
what fits the time at the speed that its first updates show, so that each has its whole schedule.
"""

import argparse
import dataclasses
import json
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bitsback.errors import BitsbackError, InputError, refuse
from bitsback.models import engine
from bitsback.models.draw.config import DrawConfig
from bitsback.models.training import data
from bitsback.models.training.plan import TrainConfig, read_config
from bitsback.models.training.trainer import Trainer
from bitsback.sources.atomic_files import atomic_write

_SLOW = 2  # first updates, which take longer than those that follow
_TIMED = 8  # updates that are timed, after those
_POINTS = 40  # of a curve


@dataclasses.dataclass(frozen=True)
class Row:
    """One run.

    Args:
        change: of the configuration, as it was given; empty for none.
        updates: that fitted the time.
        parameters: numbers in the model.
        held_out: bits/dim of the averaged parameters, on the integer grids.
        curve: of the training, as in a run's log: updates, seconds, nats, bits/dim.
    """

    change: str
    updates: int
    parameters: int
    held_out: float
    curve: tuple[dict[str, Any], ...]


def changed(model: DrawConfig, plan: TrainConfig, change: str) -> tuple[DrawConfig, TrainConfig]:
    """A configuration with fields set as in "maps=48 likelihood=gaussian".

    Raises:
        InputError: it is not of that form, or names no field.
        ModelError: a value is impossible.
    """
    fields: dict[str, Any] = {}
    for word in change.split():
        name, _, value = word.partition("=")
        try:
            fields[name] = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            fields[name] = value
    ours = {field.name for field in dataclasses.fields(DrawConfig)}
    theirs = {field.name for field in dataclasses.fields(TrainConfig)}
    for name in fields.keys() - ours - theirs:
        raise InputError(f"{change!r}: there is no field {name!r}")
    described = model.to_dict() | {n: v for n, v in fields.items() if n in ours}
    trained = {n: v for n, v in fields.items() if n not in ours}
    return DrawConfig.from_dict(described), dataclasses.replace(plan, **trained)


def updates_that_fit(
    update: Callable[[], object], seconds: float, clock: Callable[[], float] = time.monotonic
) -> int:
    """How many updates a run of `seconds` has room for, at least 1, from the speed of the first.

    Args:
        update: makes one update.
        seconds: the run may take.
        clock: gives the time in seconds.
    """
    for _ in range(_SLOW):
        update()
    began = clock()
    for _ in range(_TIMED):
        update()
    return max(1, int(seconds * _TIMED / (clock() - began)))


def ablate(
    config: Path, inputs: list[Path], seconds: float, changes: list[str], device: str
) -> Iterator[Row]:
    """Train the configuration and every change of it, one after another.

    Raises:
        InputError: the images are too few to hold some out, or a change is none.
        ModelError: a configuration is impossible.
    """
    base = read_config(config)
    runs = [(change, *changed(*base, change)) for change in ["", *changes]]
    for change, model, plan in runs:
        images, held_out = data.load(inputs, model).parts()
        if held_out is None:
            raise InputError("an ablation needs at least 50 images, to hold some out")
        where = str(engine.device_of(device))
        probe = Trainer(model, plan, images, where)
        updates = updates_that_fit(probe.one_update, seconds)
        trainer = Trainer(
            model, dataclasses.replace(plan, updates=updates), images, where, held_out
        )
        *_, last = trainer.run(log_every=max(1, updates // _POINTS))
        assert last.held_out is not None  # a run ends with it
        parameters = sum(p.numel() for p in trainer.params)
        yield Row(change, updates, parameters, last.held_out, tuple(trainer.history))


def main() -> None:
    """Print a Markdown table, a row when its run ends."""
    parser = argparse.ArgumentParser(prog="python -m bitsback.models.benchmarks.ablation")
    parser.add_argument("config", type=Path, help="TOML with [model] and [training]")
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--seconds", type=float, default=120.0, help="of every run")
    parser.add_argument("--change", action="append", default=[])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--log", type=Path, help="JSON file of the rows, with their curves")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print("| change | parameters | updates | held-out bits/dim |\n|---|---|---|---|", flush=True)
    try:
        for row in ablate(given.config, given.data, given.seconds, given.change, given.device):
            cells = (row.change or "none", row.parameters, row.updates, f"{row.held_out:.4f}")
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            rows.append(dataclasses.asdict(row))
            if given.log is not None:
                atomic_write(given.log, json.dumps(rows, indent=1).encode())
    except (BitsbackError, OSError) as error:
        refuse(str(error))


if __name__ == "__main__":
    main()
