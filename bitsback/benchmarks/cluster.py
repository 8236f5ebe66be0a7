"""Speed with more workers, and the time that 1 TB would take.

    python -m bitsback.benchmarks.cluster IMAGES

The same images go through 1, 2, ... actors of a Ray cluster, and through as many processes of this
machine where it has no address; every image that comes back is compared. A speed is that of the
chunks after each worker's first, so that loading the model is not in it.
"""

import dataclasses
import io
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bitsback.api import DEFAULT_MODEL, load_model
from bitsback.archive import writer
from bitsback.archive.executor import Executor, Task
from bitsback.archive.processes import ProcessExecutor
from bitsback.archive.ray import RayExecutor
from bitsback.archive.reader import Reader
from bitsback.archive.workers import Recipe
from bitsback.chunks.plan import Settings
from bitsback.errors import BitsbackError, InputError, refusals
from bitsback.images.image_set import ImageSet, first_images
from bitsback.progress import Progress
from bitsback.sources import read

R = TypeVar("R")
TERABYTE = 10**12
_FLEETS = (1, 8, 64, 256)


@dataclasses.dataclass(frozen=True)
class Speed:
    """What so many workers do.

    Args:
        encode, decode: values (bytes of pixels) per second.
        begin: seconds before the first chunk comes, the larger of the two directions.
    """

    engine: str
    workers: int
    encode: float
    decode: float
    begin: float

    def hours(self, values: float, fleet: int) -> tuple[float, float]:
        """Hours to encode and to decode so many values with so many workers like these."""
        scale = values * self.workers / fleet / 3600
        return scale / self.encode, scale / self.decode


def measure(
    images: ImageSet, recipe: Recipe, engine: str, jobs: int, chunk: int, address: str | None
) -> Speed:
    """Compress and decompress with so many workers.

    Raises:
        InputError: there are too few images for two chunks for each worker.
        BitsbackError: the images did not come back.
    """
    executor: Executor = ProcessExecutor(recipe, jobs)
    if engine == "ray":
        executor = RayExecutor(recipe, jobs, address)
    bounds = writer.bounds_of(images, chunk)
    if len(bounds) < 2 * jobs:
        raise InputError(f"{len(bounds)} chunks are too few for {jobs} workers: see --chunk")
    sizes = images.manifest.sizes()
    values = sum(int(sizes[begin:end].sum()) for begin, end in bounds[jobs:])
    loaded = load_model(recipe.model, recipe.device, recipe.engine, recipe.micro_batch)
    file, encoding = io.BytesIO(), _TimedExecutor(executor)
    writer.compress_to(file, images, loaded, Settings(), chunk=chunk, executor=encoding)
    decoding = _TimedExecutor(executor)
    parts = Reader(file, lambda *_: loaded).restored(executor=decoding)
    restored = [image for part in parts for image in part.pixels]
    if not all(map(np.array_equal, restored, images.pixels)):
        raise BitsbackError("the images did not come back")
    times = encoding.times, decoding.times
    encode, decode = (values / (seconds[-1] - seconds[jobs]) for seconds in times)
    begin = max(seconds[1] - seconds[0] for seconds in times)
    return Speed(engine, jobs, encode, decode, begin)


class _TimedExecutor:
    """An executor that notes when it is made, and when each result comes, in seconds."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self.times = executor, [time.perf_counter()]

    def run(self, tasks: Iterable[Task[R]], progress: Progress | None = None) -> Iterator[R]:
        """The executor's results."""
        for result in self._executor.run(tasks, progress):
            self.times.append(time.perf_counter())
            yield result


def show(speeds: list[Speed], console: Console) -> None:
    """Speeds, and hours for a terabyte as the last row's workers would take."""
    table = Table("engine", "workers", "encode", "decode", "first chunk after")
    for speed in speeds:
        cells = [speed.engine, str(speed.workers)]
        base = next(first for first in speeds if first.engine == speed.engine)
        for now, then in ((speed.encode, base.encode), (speed.decode, base.decode)):
            cells.append(f"{now / 1e6:.3f} MB/s, {now / then:.2f}x")
        table.add_row(*cells, f"{speed.begin:.1f} s")
    console.print(table)
    table = Table("workers like the last", "encode 1 TB", "decode 1 TB")
    for fleet in _FLEETS:
        table.add_row(str(fleet), *(f"{h:,.1f} h" for h in speeds[-1].hours(TERABYTE, fleet)))
    console.print(table)


def main(
    images: Annotated[Path, typer.Argument(help="a .npy or .npz, or a folder")],
    model: Annotated[str, typer.Option(help="a shipped model's name, or a folder")] = DEFAULT_MODEL,
    jobs: Annotated[list[int] | None, typer.Option("-j", help="workers; 1 and 2")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="use the first N images")] = None,
    chunk: Annotated[int, typer.Option(min=1, help="images per chunk")] = 50,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    address: Annotated[str | None, typer.Option(help="of a Ray cluster")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """MB/s of pixels for several numbers of workers."""
    with refusals():
        chosen = read.read_images([images])
        chosen = chosen if limit is None else first_images(chosen, limit)
        sha256 = load_model(model, device).sha256
        recipe = Recipe(model, sha256, device)
        engines = ["ray"] if address else ["processes", "ray"]
        speeds = [
            measure(chosen, recipe, engine, n, chunk, address)
            for engine in engines
            for n in jobs or (1, 2)
        ]
    if as_json:
        print(json.dumps([dataclasses.asdict(speed) for speed in speeds]))
    else:
        show(speeds, Console(highlight=False))


if __name__ == "__main__":
    typer.run(main)
