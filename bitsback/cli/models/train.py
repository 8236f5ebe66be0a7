"""`bitsback download` and `bitsback train`: data for a model, and the model from data."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from bitsback.errors import InputError

from ..console import closing, progress_bar, remarks
from ..files.outputs import Force, claim
from ..options import Device, Json, Quiet, Verbose

NEEDS_TORCH = "training needs torch: pip install 'bitsback[torch]'"


def train(
    config: Annotated[Path, typer.Argument(help=r"TOML with \[model] and \[training]")],
    data: Annotated[list[Path], typer.Option(help="training images; may be given again")],
    output: Annotated[Path, typer.Option("-o", "--output", help="the model folder to write")],
    device: Device = "auto",
    seconds: Annotated[
        float | None, typer.Option(min=0, help="stop after this long, and write the model")
    ] = None,
    start: Annotated[Path | None, typer.Option(help="a model folder to start from")] = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Train a model, or continue from the checkpoint in the output folder."""
    try:
        from bitsback.models.training import checkpoint, run
    except ImportError as error:
        raise InputError(NEEDS_TORCH) from error

    if not checkpoint.exists(output / "checkpoint"):
        claim(output / "model.safetensors", data, force=force, makes_folder=True)
    report = None
    with progress_bar() as progress:
        task = progress.add_task("train", total=None)
        for report in run.run(config, data, output, device, seconds, start):
            progress.update(
                task, description=report.rate, completed=report.update, total=report.updates
            )
            if not remarks.is_terminal:
                remarks.print(f"update {report.update} of {report.updates}: {report.rate}")
    if report is not None:
        line = f"{output}: update {report.update} of {report.updates}, {report.rate}"
        closing(line, as_json, output=str(output), **dataclasses.asdict(report))


def download(
    name: Annotated[str, typer.Argument(help="mnist, cifar10 or omniglot")],
    output: Annotated[Path, typer.Option("-o", "--output", help="the .npz to write")],
    cache: Annotated[Path | None, typer.Option(help="where fetched files are kept")] = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Fetch a public data set from its publisher, check it, and write it as an .npz."""
    from bitsback.sources import download as downloads

    claim(output, force=force)
    arrays = downloads.download(name, output, cache)
    held = ", ".join(f"{key} {array.dtype} {array.shape}" for key, array in arrays.items())
    kinds = {key: {"dtype": str(a.dtype), "shape": a.shape} for key, a in arrays.items()}
    closing(f"{output}: {held}", as_json, output=str(output), arrays=kinds)
