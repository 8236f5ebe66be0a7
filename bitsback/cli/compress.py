"""`bitsback compress` and `bitsback decompress`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bitsback.api import DEFAULT_MODEL
from bitsback.errors import InputError

from .console import bar, console
from .options import (
    Address,
    Batch,
    Device,
    File,
    ImagesPerChunk,
    Inputs,
    Jobs,
    MicroBatch,
    Model,
    OwnModel,
    Seed,
    Spread,
    open_reader,
    read_limited,
)

if TYPE_CHECKING:
    from bitsback.archive.executor import Executor
    from bitsback.archive.reader import Damage
    from bitsback.archive.workers import Recipe
    from bitsback.chunks.plan import Check


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
    check: Annotated[
        str, typer.Option(help="decode again before writing: last (batch of each chunk) or all")
    ] = "last",
    no_check: Annotated[bool, typer.Option("--no-check", help="decode nothing again")] = False,
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

    _check_apart(output, payload)
    images = read_limited(inputs, None)
    for reason in images.carried:
        console.print(f"bitsback: travels as it is: {reason}")
    extra = b"" if payload is None else atomic_files.read_bytes(payload)
    arithmetic = "torch" if engine == "ray" else engine
    loaded = load_model(model, device, arithmetic, micro_batch)
    settings = Settings(batch, seed, check="none" if no_check else cast("Check", check))
    recipe = Recipe(model, loaded.sha256, device, arithmetic, micro_batch)
    executor = executor_of(recipe, jobs, engine, address)
    if dry_run:
        from bitsback.archive.estimate import estimate, spell

        with bar("dry run") as progress:
            expected = estimate(images, loaded, settings, chunk=chunk, progress=progress)
        shared = "" if jobs is None else f"; at best {spell(expected.seconds / jobs)} by {jobs}"
        print(f"{expected}{shared}")
        return
    with bar("compress") as progress, atomic_files.atomic_file(output) as file:
        report = writer.compress_to(
            file,
            images,
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

    _check_apart(output, payload)
    damage: list[Damage] = []
    arithmetic = "torch" if engine == "ray" else engine
    opened = open_reader(file, model, device, arithmetic, micro_batch)
    with opened as reader, bar("decompress") as progress:
        extra = b"" if payload is None else reader.payload
        name, sha256 = model or reader.header.model, reader.header.model_sha256
        recipe = Recipe(name, sha256, device, arithmetic, micro_batch)
        executor = executor_of(recipe, jobs, engine, address)
        if salvage:
            writers.write_images(reader.salvaged(damage, progress), len(reader), output)
        else:
            writers.write_images(reader.restored(progress, executor), len(reader), output)
        if payload is not None:
            atomic_files.atomic_write(payload, extra)
    for chunk in damage:
        console.print(f"bitsback: lost {chunk}")
    if damage:
        raise typer.Exit(1)


def _check_apart(output: Path, payload: Path | None) -> None:
    """Raise InputError where one file would take the other's place."""
    if payload is not None and payload.resolve() == output.resolve():
        raise InputError(f"{output} cannot be the output and the payload")


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
