"""`bitsback models` and `bitsback sample`: which models ship, and what they draw."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bitsback.api import DEFAULT_MODEL

from ..console import bar, closing, print_table
from ..files.outputs import Force, claim
from ..options import Device, Engine, Json, Model, Quiet, Verbose, load


def models(quiet: Quiet = False, verbose: Verbose = False, as_json: Json = False) -> None:
    """List the shipped models: what each is for, how well and how fast; -v: sizes and digests."""
    from bitsback.models import shipped, store

    rows = []
    for name, use in shipped.uses().items():
        manifest, tensors = store.read(store.folder_of(name))
        facts = {
            "parameters": sum(value.size for value in tensors.values()),
            "sha256": manifest.sha256,
            "default": name == DEFAULT_MODEL,
        }
        rows.append({"name": name} | dataclasses.asdict(use) | facts)
    if as_json:
        print(json.dumps(rows))
        return
    more = ("parameters", "SHA-256") if verbose else ()
    table = Table("model", "for", "files", "bits/dim", "images/s", *more, box=box.SIMPLE)
    for row in rows:
        figures = [row["bits_per_dim"], row["images_per_second"]]
        kind = "lossless" if row["lossless"] else "lossy"
        told = [row["name"], row["use"], kind, *("" if each is None else each for each in figures)]
        if verbose:
            told += [f"{row['parameters']:,}", row["sha256"][:16]]
        table.add_row(*map(str, told))
    console = Console(highlight=False)
    print_table(table, console, folds="for")
    console.print(
        "bits/dim of the file of CIFAR-10 held out, MNIST test or Omniglot, and images/s that one "
        "core decodes of it; compress, rate and bench choose among the lossless ones",
        soft_wrap=True,
    )


def sample(
    output: Annotated[Path, typer.Option("-o", "--output", help="the image file to write")],
    model: Model = DEFAULT_MODEL,
    count: Annotated[int, typer.Option("-n", min=1, help="how many samples")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="of the samples")] = 0,
    device: Device = "auto",
    engine: Engine = "auto",
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
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
    line = f"{output}: {count} image{'s' * (count != 1)} of {loaded.name}"
    closing(line, as_json, output=str(output), images=count, model=loaded.name, seed=seed)
