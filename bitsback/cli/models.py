"""`bitsback models` and `bitsback sample`: which models ship, and what they draw."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bitsback.api import DEFAULT_MODEL

from .console import bar, closing
from .files.outputs import Force, claim
from .options import Device, Engine, Json, Model, Quiet, load


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A shipped model, as the list has it.

    Args:
        channels: colour channels of its images.
        tile: side of its largest tiles, pixels.
        parameters: numbers in its weights.
        sha256: of the weights, in hex.
    """

    name: str
    likelihood: str
    channels: int
    tile: int
    parameters: int
    sha256: str


def shipped() -> list[Shipped]:
    """Today's models."""
    from bitsback.models import store

    models = []
    for name in store.names():
        manifest, tensors = store.read(store.folder_of(name))
        models.append(
            Shipped(
                name=name,
                likelihood=manifest.config.likelihood,
                channels=manifest.config.channels,
                tile=manifest.config.tile,
                parameters=sum(value.size for value in tensors.values()),
                sha256=manifest.sha256,
            )
        )
    return models


def models(as_json: Json = False) -> None:
    """List the shipped models."""
    rows = [dataclasses.asdict(model) for model in shipped()]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(*rows[0]) if rows else Table("no models are shipped")
    for fields in rows:
        table.add_row(*map(str, fields.values()))
    Console().print(table)


def sample(
    output: Annotated[Path, typer.Option("-o", "--output", help="the image file to write")],
    model: Model = DEFAULT_MODEL,
    count: Annotated[int, typer.Option("-n", min=1, help="how many samples")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="of the samples")] = 0,
    device: Device = "auto",
    engine: Engine = "torch",
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Draw images from a model, by decoding random bits, into one image."""
    from bitsback.coding import sampling
    from bitsback.images import image_file
    from bitsback.sources import atomic_files

    claim(output, force=force)
    loaded = load(model, device, engine)
    mode = "RGB" if loaded.channels == 3 else "L"
    image_file.check_suffix(output.suffix, mode)
    with bar("sample") as progress:
        drawn = sampling.sample(loaded, count, seed, progress)
    sheet = sampling.contact_sheet(drawn, loaded.binary)
    atomic_files.atomic_write(
        output, lambda file: image_file.write_image(file, sheet, mode, output.suffix)
    )
    closing(f"{output}: {count} images of {loaded.name}")
