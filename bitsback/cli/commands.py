"""The command line; what it does lies in the modules that its commands import."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bitsback.api import DEFAULT_MODEL
from bitsback.errors import FormatError, InputError, refusals, refuse

from .console import bar, console, print_bench, print_report, progress_bar
from .figure import figure
from .lossy import app as lossy
from .options import (
    Address,
    Batch,
    Device,
    Engine,
    File,
    ImagesPerChunk,
    Inputs,
    Jobs,
    Json,
    Limit,
    MicroBatch,
    Model,
    OwnModel,
    Seed,
    Spread,
    read_limited,
)

if TYPE_CHECKING:
    from bitsback.archive.executor import Executor
    from bitsback.archive.reader import Damage, Reader
    from bitsback.archive.workers import Recipe
    from bitsback.coding.model import LoadedModel

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Lossless image compression with latent variable models, by bits-back coding.",
)
app.add_typer(lossy, name="lossy")
app.command()(figure)


def main() -> None:
    """Run the command line; what bitsback refuses is one sentence and exit code 2."""
    try:
        with refusals():
            app()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        refuse(f"{where}{(error.strerror or str(error)).lower()}")
    except MemoryError:
        refuse("not enough memory: code fewer images at once with --chunk")
    except KeyboardInterrupt:
        sys.exit(130)


def open_reader(
    path: Path, model: str | None, device: str, engine: str, micro_batch: int | None
) -> "Reader":
    """A reader of a file whose model is found by name or in a folder."""
    from bitsback.api import load_model
    from bitsback.archive.reader import open_path

    def find(name: str, sha256: bytes) -> "LoadedModel":
        return load_model(model or name, device, engine, micro_batch, sha256)

    return open_path(path, find)


def executor_of(
    recipe: "Recipe", jobs: int | None, engine: str, address: str | None
) -> "Executor | None":
    """The executor that the options ask for; None for this process alone."""
    if engine == "ray":
        from bitsback.archive.ray import RayExecutor

        return RayExecutor(recipe, jobs, address)
    if address is not None:
        raise InputError("--address is that of a cluster: it needs --engine ray")
    if jobs is None or jobs == 1:
        return None
    from bitsback.archive.processes import ProcessExecutor

    return ProcessExecutor(recipe, jobs)


@app.command()
def compress(
    inputs: Inputs,
    output: Annotated[Path, typer.Option("-o", "--output", help="the file to write")],
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    engine: Spread = "torch",
    batch: Batch = None,
    micro_batch: MicroBatch = None,
    chunk: ImagesPerChunk = None,
    payload: Annotated[Path | None, typer.Option(help="a file that travels inside")] = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    address: Address = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="predict size and time from a sample; write nothing")
    ] = False,
) -> None:
    """Compress images losslessly into one file."""
    from bitsback.api import load_model
    from bitsback.archive import writer
    from bitsback.archive.workers import Recipe
    from bitsback.chunks.plan import Settings
    from bitsback.sources import atomic_files

    found = read_limited(inputs, None)
    extra = b"" if payload is None else atomic_files.read_bytes(payload)
    arithmetic = "torch" if engine == "ray" else engine
    loaded = load_model(model, device, arithmetic, micro_batch)
    settings = Settings(batch, seed)
    recipe = Recipe(model, loaded.sha256, device, arithmetic, micro_batch)
    executor = executor_of(recipe, jobs, engine, address)
    if dry_run:
        from bitsback.archive.estimate import estimate, spell

        with bar("dry run") as progress:
            expected = estimate(found, loaded, settings, chunk=chunk, progress=progress)
        shared = "" if jobs is None else f"; at best {spell(expected.seconds / jobs)} by {jobs}"
        print(f"{expected}{shared}")
        return
    with bar("compress") as progress, atomic_files.atomic_file(output) as file:
        report = writer.compress_to(
            file,
            found,
            loaded,
            settings,
            payload=extra,
            chunk=chunk,
            progress=progress,
            executor=executor,
        )
    console.print(
        f"{report.images} images, {report.file_bits / 8:.0f} bytes, "
        f"{report.file_bits / report.dims:.4f} bits/dim"
    )


@app.command()
def decompress(
    file: File,
    output: Annotated[Path, typer.Option("-o", "--output", help="what to write")],
    model: OwnModel = None,
    device: Device = "auto",
    engine: Spread = "torch",
    micro_batch: MicroBatch = None,
    payload: Annotated[Path | None, typer.Option(help="write the payload here")] = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="write what a damaged file still holds; exit 1")
    ] = False,
    jobs: Jobs = None,
    address: Address = None,
) -> None:
    """Give back the very images that were compressed."""
    from bitsback.archive.workers import Recipe
    from bitsback.sources import atomic_files, writers

    damage: list[Damage] = []
    arithmetic = "torch" if engine == "ray" else engine
    opened = open_reader(file, model, device, arithmetic, micro_batch)
    with opened as reader, bar("decompress") as progress:
        extra = b"" if payload is None else reader.payload
        header = reader.header
        name, sha256 = model or header.model, header.model_sha256
        recipe = Recipe(name, sha256, device, arithmetic, micro_batch)
        executor = executor_of(recipe, jobs, engine, address)
        if salvage:
            writers.write_images(reader.salvaged(damage, progress), len(reader), output)
        else:
            writers.write_images(reader.restored(progress, executor), len(reader), output)
        if payload is not None:
            atomic_files.atomic_write(payload, extra)
    for each in damage:
        console.print(f"bitsback: lost {each}")
    if damage:
        raise typer.Exit(1)


@app.command()
def verify(
    file: File,
    model: OwnModel = None,
    device: Device = "auto",
    engine: Engine = "torch",
    micro_batch: MicroBatch = None,
) -> None:
    """Decode a file in memory and check header, messages and pixels, chunk by chunk."""
    from bitsback.format import header as container

    damage: list[Damage] = []
    opened = open_reader(file, model, device, engine, micro_batch)
    with opened as reader, bar("verify") as progress:
        for _ in reader.salvaged(damage, progress):
            pass
        if damage:
            raise FormatError(f"{file} is damaged in " + "; ".join(map(str, damage)))
        container.check_size(reader.header, file.stat().st_size)
        chunks = len(reader.header.chunks)
        print(f"{file}: OK, {len(reader)} images in {chunks} chunk{'s' * (chunks > 1)}")


@app.command()
def info(file: File, as_json: Json = False) -> None:
    """Print a file's header and how its chunks were coded."""
    from bitsback.format import header as container

    with open_reader(file, None, "auto", "torch", None) as reader:
        header = reader.header
        container.check_size(header, file.stat().st_size)
        fields: dict[str, Any] = dataclasses.asdict(header)
        fields |= {"file_bytes": header.file_size, "images": header.images}
        fields["chunks"] = [
            dataclasses.asdict(entry) | dataclasses.asdict(reader.head(number))
            for number, entry in enumerate(header.chunks)
        ]
    text = json.dumps(fields, default=bytes.hex, indent=None if as_json else 1)
    print(text)


@app.command()
def rate(
    inputs: Inputs,
    model: Model = DEFAULT_MODEL,
    limit: Limit = None,
    batch: Batch = None,
    chunk: ImagesPerChunk = None,
    seed: Seed = 0,
    device: Device = "auto",
    engine: Engine = "torch",
    as_json: Json = False,
) -> None:
    """Compress in memory; show the rate reached beside the KL-based rate, and check them."""
    from bitsback.api import load_model
    from bitsback.archive import writer

    found = read_limited(inputs, limit)
    with bar("rate") as progress:
        loaded = load_model(model, device, engine)
        report = writer.compress_set(
            found,
            loaded,
            batch=batch,
            seed=seed,
            always_chain=True,
            chunk=chunk,
            progress=progress,
        ).report
    check = report.check()
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        print_report(report, Console(highlight=False))
    if not check.passed:
        raise typer.Exit(1)


@app.command()
def models(as_json: Json = False) -> None:
    """List the shipped models."""
    from bitsback.models import store

    found = []
    for name in store.names():
        manifest, tensors = store.read(store.folder_of(name))
        config = manifest.config
        parameters = sum(value.size for value in tensors.values())
        found.append(
            {
                "name": name,
                "likelihood": config.likelihood,
                "channels": config.channels,
                "tile": config.tile,
                "parameters": parameters,
                "sha256": manifest.sha256,
            }
        )
    if as_json:
        print(json.dumps(found))
    else:
        table = Table(*found[0]) if found else Table("no models are shipped")
        for fields in found:
            table.add_row(*(str(value) for value in fields.values()))
        Console().print(table)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="TOML with [model] and [training]")],
    data: Annotated[list[Path], typer.Option(help="training images; may be given again")],
    output: Annotated[Path, typer.Option("-o", "--output", help="the model folder to write")],
    device: Device = "auto",
    seconds: Annotated[float | None, typer.Option(help="stop after this long")] = None,
    start: Annotated[Path | None, typer.Option(help="a model folder to start from")] = None,
) -> None:
    """Train a model, or continue from the checkpoint in the output folder."""
    from bitsback.models.training import run

    with progress_bar() as progress:
        task = progress.add_task("train", total=None)
        for report in run.run(config, data, output, device, seconds, start):
            progress.update(
                task, description=report.rate, completed=report.update, total=report.updates
            )
            if not console.is_terminal:
                console.print(f"update {report.update} of {report.updates}: {report.rate}")


@app.command()
def sample(
    output: Annotated[Path, typer.Option("-o", "--output", help="the image file to write")],
    model: Model = DEFAULT_MODEL,
    count: Annotated[int, typer.Option("-n", help="how many samples")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="of the samples")] = 0,
    device: Device = "auto",
    engine: Engine = "torch",
) -> None:
    """Draw images from a model, by decoding random bits, into one image."""
    from bitsback.api import load_model
    from bitsback.coding import sampling
    from bitsback.images import image_file
    from bitsback.sources import atomic_files

    loaded = load_model(model, device, engine)
    mode = "RGB" if loaded.channels == 3 else "L"
    image_file.check_suffix(output.suffix, mode)
    with bar("sample") as progress:
        drawn = sampling.sample(loaded, count, seed, progress)
    sheet = sampling.contact_sheet(drawn, loaded.binary)
    atomic_files.atomic_write(
        output, lambda file: image_file.write_image(file, sheet, mode, output.suffix)
    )


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="mnist, cifar10 or omniglot")],
    output: Annotated[Path, typer.Option("-o", "--output", help="the .npz to write")],
    cache: Annotated[Path | None, typer.Option(help="where fetched files are kept")] = None,
) -> None:
    """Fetch a public data set from its publisher, check it, and write it as an .npz."""
    from bitsback.sources import download as downloads

    arrays = downloads.download(name, output, cache)
    for key, array in arrays.items():
        console.print(f"{key}: {array.dtype} {array.shape}")


@app.command()
def bench(
    inputs: Inputs,
    model: Model = DEFAULT_MODEL,
    limit: Limit = None,
    batch: Batch = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Sizes and speeds beside PNG, WebP, JPEG XL, zstd and xz, in one run."""
    from bitsback.api import load_model
    from bitsback.benchmarks import files as benches

    found = read_limited(inputs, limit)
    with bar("bench") as progress:
        result = benches.run(found, load_model(model, device), batch, progress)
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        print_bench(result, Console(highlight=False))
    if not result.match:
        raise typer.Exit(1)
