"""The cost of an image by the number of images, each figure in a process of its own.

    python -m bitsback.benchmarks.cost IMAGES

For every number of images N: images/s of compressing and decompressing, each with the peak
memory of its process; the images go from a .npy to a file and back, and are compared. Where the
cost of an image stays the same, time grows linearly and memory is bounded by a chunk.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bitsback.api import DEFAULT_MODEL, load_model
from bitsback.archive import reader, writer
from bitsback.chunks.plan import Settings
from bitsback.errors import BitsbackError, InputError, refusals
from bitsback.images.image_set import to_stack
from bitsback.sources import read, writers
from bitsback.sources.atomic_files import atomic_file

from .files import peak_memory


@dataclasses.dataclass(frozen=True)
class Cost:
    """What N images cost.

    Args:
        images: N.
        size: of the file, bytes.
        encode_seconds, decode_seconds: wall time, without loading program and model.
        encode_memory, decode_memory: peak resident size of the process, bytes.
    """

    images: int
    size: int
    encode_seconds: float
    decode_seconds: float
    encode_memory: int
    decode_memory: int


def measure(images: NDArray[Any], model: str, chunk: int | None) -> Cost:
    """Compress and decompress an array in processes of their own.

    Raises:
        InputError: the model cannot code the images.
        BitsbackError: the images did not come back.
    """
    with tempfile.TemporaryDirectory() as name:
        array, packed, back = (Path(name) / each for each in ("in.npy", "x.bb", "back.npy"))
        np.save(array, images)
        encoded = _run("encode", array, packed, model, chunk)
        decoded = _run("decode", packed, back, model, chunk)
        if array.read_bytes() != back.read_bytes():
            raise BitsbackError("the images did not come back")
        size = packed.stat().st_size
    return Cost(len(images), size, encoded[0], decoded[0], encoded[1], decoded[1])


def _run(
    action: str, source: Path, target: Path, model: str, chunk: int | None
) -> tuple[float, int]:
    words = [action, str(source), str(target), model, str(chunk or 0)]
    code = f"import sys; from {__package__}.cost import child; child(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=os.environ, capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(done.stderr.strip().splitlines()[-1])
    seconds, memory = json.loads(done.stdout)
    return seconds, memory


def child(action: str, source: str, target: str, model: str, chunk: str) -> None:
    """One direction, in this process; prints seconds and peak memory."""
    loaded = load_model(model)
    began = time.perf_counter()
    if action == "encode":
        with atomic_file(Path(target)) as file:
            images = read.read_images([Path(source)])
            writer.compress_to(file, images, loaded, Settings(), chunk=int(chunk) or None)
    else:
        with reader.open_path(source, lambda *_: loaded) as opened:
            writers.write_images(opened.restored(), len(opened), Path(target))
    print(json.dumps([time.perf_counter() - began, peak_memory()]))


def show(costs: list[Cost], console: Console) -> None:
    """A table; ratios are to the first row."""
    first = costs[0]
    table = Table("images", "bytes/image", "encode", "memory", "decode", "memory")
    for cost in costs:
        cells = [str(cost.images), f"{cost.size / cost.images:.1f}"]
        for seconds, memory, of, least in (
            (cost.encode_seconds, cost.encode_memory, first.encode_seconds, first.encode_memory),
            (cost.decode_seconds, cost.decode_memory, first.decode_seconds, first.decode_memory),
        ):
            rate, base = cost.images / seconds, first.images / of
            cells += [f"{rate:.1f}/s, {rate / base:.2f}x"]
            cells += [f"{memory / 2**20:.0f} MiB, {memory / least:.2f}x"]
        table.add_row(*cells)
    console.print(table)


def main(
    images: Annotated[Path, typer.Argument(help="a .npy or .npz, or a folder of equal sizes")],
    model: Annotated[str, typer.Option(help="a shipped model's name, or a folder")] = DEFAULT_MODEL,
    counts: Annotated[
        list[int] | None, typer.Option("-n", help="numbers of images; 100, 1000 and 10000")
    ] = None,
    chunk: Annotated[int | None, typer.Option(help="images per chunk")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Images/s and peak memory for several numbers of images."""
    with refusals():
        array = to_stack(read.read_images([images]))
        costs = [measure(array[:n], model, chunk) for n in counts or (100, 1000, 10000)]
    if as_json:
        print(json.dumps([dataclasses.asdict(cost) for cost in costs]))
    else:
        show(costs, Console(highlight=False))


if __name__ == "__main__":
    typer.run(main)
