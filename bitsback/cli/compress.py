"""`bitsback compress` and `bitsback decompress`."""

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bitsback.errors import DAMAGED, InputError

from .console import bar, closing, note
from .files.opening import Lossy, Reading, opened
from .files.outputs import Force, claim
from .files.streams import (
    archive_to,
    check_standard,
    images_from,
    write_images,
)
from .files.summary import Compressed, Decompressed, files_of, size_on_disk, to_json
from .lossy import show_lossy
from .options import (
    Address,
    AnyOrder,
    Batch,
    ChosenModel,
    Device,
    File,
    ImagesPerChunk,
    Inputs,
    Jobs,
    Json,
    Keep,
    MicroBatch,
    NoSideInformation,
    NoTimes,
    OwnModel,
    Quiet,
    RecodeLossy,
    Seed,
    Spread,
    Verbose,
    load_for,
)

if TYPE_CHECKING:
    from bitsback.archive.executor import Executor
    from bitsback.archive.reader import Damage
    from bitsback.archive.workers import Recipe
    from bitsback.chunks.plan import Check


def compress(
    inputs: Inputs,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="the file to write; -: standard output")
    ],
    model: ChosenModel = None,
    device: Device = "auto",
    engine: Spread = "auto",
    batch: Batch = None,
    micro_batch: MicroBatch = None,
    chunk: ImagesPerChunk = None,
    payload: Annotated[Path | None, typer.Option(help="a file that travels inside")] = None,
    seed: Seed = 0,
    keep: Keep = "auto",
    recode_lossy: RecodeLossy = False,
    no_times: NoTimes = False,
    check: Annotated[
        str, typer.Option(help="decode again before writing: last (batch of each chunk) or all")
    ] = "last",
    no_check: Annotated[bool, typer.Option("--no-check", help="decode nothing again")] = False,
    always_chain: Annotated[
        bool, typer.Option("--always-chain", help="through the model even where that is larger")
    ] = False,
    any_order: AnyOrder = False,
    no_side_information: NoSideInformation = False,
    jobs: Jobs = None,
    address: Address = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="predict size and time from a sample; write nothing")
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Compress images losslessly into one file."""
    from bitsback.archive import writer
    from bitsback.archive.samples import choice
    from bitsback.archive.workers import Recipe
    from bitsback.chunks.plan import Settings
    from bitsback.coding.model import NO_MODEL
    from bitsback.keeping.rule import way
    from bitsback.sources import atomic_files, read

    checked = "none" if no_check else cast("Check", check)
    settings = Settings(
        batch,
        seed,
        always_chain=always_chain,
        check=checked,
        any_order=any_order,
        predictor=not no_side_information,
        recalibration=not no_side_information,
    )
    check_engine(engine, address)
    if not dry_run:
        check_standard(output, as_json)
        read_too = [*inputs, *([] if payload is None else [payload])]
        claim(output, read_too, force=force, may_be_standard=True)
    began = time.perf_counter()
    with images_from(inputs) as paths, bar("dry run" if dry_run else "compress") as progress:
        policy = way(keep, recode_lossy, not no_times)
        images = read.read_images(paths, policy, progress)
        for line in images.kept.lines():
            note(f"travels as it is: {line}")
        extra = b"" if payload is None else atomic_files.read_bytes(payload)
        arithmetic = "auto" if engine == "ray" else engine
        progress.phase("loading the model")
        is_coded = len(images.pixels) > 0
        loaded = NO_MODEL
        if is_coded:
            if model is not None:
                choice.check_lossless(model)
            loaded = load_for(images, model, device, arithmetic, micro_batch)
        recipe = Recipe(model or loaded.name, loaded.sha256, device, arithmetic, micro_batch)
        executor = None
        if is_coded:
            executor = executor_of(recipe, jobs, engine, address, loaded.machine)
        if dry_run:
            from bitsback.archive.samples.estimate import estimate, spell

            expected = estimate(images, loaded, settings, chunk=chunk, progress=progress)
            if as_json:
                print(json.dumps(dataclasses.asdict(expected)))
                return
            shared = "" if jobs is None else f"; at best {spell(expected.seconds / jobs)} by {jobs}"
            print(f"{expected}{shared}")
            return
        with archive_to(output) as file:
            written = writer.compress_to(
                file,
                images,
                loaded,
                settings,
                payload=extra,
                chunk=chunk,
                progress=progress,
                executor=executor,
            )
        before, after = size_on_disk(paths), int(written.report.file_bits) // 8
    report, kept = written.report, written.kept
    if any_order:
        note("the images of each chunk come back in another order")
    for line in kept.lines(images.kept):
        note(f"travels as it is: {line}")
    tell(
        Compressed(
            output=str(output),
            images=report.images,
            input_bytes=before,
            output_bytes=after,
            ratio=before / after,
            bits_per_dim=None
            if kept.carried or not report.dims
            else report.file_bits / report.dims,
            seconds=time.perf_counter() - began,
            model=loaded.name if report.images else "",
            files=files_of(kept),
            model_share=report.model_share,
        ),
        as_json,
    )


def decompress(
    file: File,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="what to write; -: standard output")
    ],
    model: OwnModel = None,
    device: Device = "auto",
    engine: Spread = "auto",
    micro_batch: MicroBatch = None,
    payload: Annotated[Path | None, typer.Option(help="write the payload here")] = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="write what a damaged file still holds; exit 3")
    ] = False,
    jobs: Jobs = None,
    address: Address = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Give back the very images that were compressed."""
    from bitsback.archive.workers import Recipe
    from bitsback.sources import atomic_files

    check_engine(engine, address)
    check_standard(output, as_json)
    claim(output, [file], force=force, may_be_folder=True, may_be_standard=True)
    if payload is not None:
        if atomic_files.is_same(payload, output):
            raise InputError(f"{payload} is to hold the payload and the images: give two names")
        claim(payload, [file], force=force)
    damage: list[Damage] = []
    arithmetic = "auto" if engine == "ray" else engine
    began = time.perf_counter()
    with opened(file, Reading(model, device, arithmetic, micro_batch)) as reader:
        if isinstance(reader, Lossy):
            if salvage or payload is not None:
                raise InputError(
                    f"{file} is a lossy file: it takes neither --salvage nor --payload"
                )
            show_lossy(reader.data, output, model, device, arithmetic, as_json=as_json)
            return
        before = reader.file_bytes
        with bar("decompress") as progress:
            extra = b"" if payload is None else reader.payload
            name, sha256 = model or reader.header.model, reader.header.model_sha256
            recipe = Recipe(name, sha256, device, arithmetic, micro_batch)
            machine = reader.header.machine
            executor = executor_of(recipe, jobs, engine, address, machine) if len(reader) else None
            if salvage:
                after = write_images(reader.salvaged(damage, progress), len(reader), output, note)
            else:
                after = write_images(reader.restored(progress, executor), len(reader), output, note)
            if payload is not None:
                atomic_files.atomic_write(payload, extra)
    for chunk in damage:
        note(f"lost {chunk}")
    tell(
        Decompressed(
            output=str(output),
            images=len(reader),
            input_bytes=before,
            output_bytes=after,
            ratio=after / before,
            seconds=time.perf_counter() - began,
            model=reader.header.model,
            lost_images=sum(each.last - each.first + 1 for each in damage),
            damage=tuple(map(str, damage)),
        ),
        as_json,
    )
    if damage:
        raise typer.Exit(DAMAGED)


def check_engine(engine: str, address: str | None) -> None:
    """Raise InputError if there is no such engine, or an address that it does not take."""
    if engine not in ("auto", "torch", "numpy", "ray"):
        raise InputError(f"unknown engine {engine!r}: auto, torch, numpy or ray")
    if address is not None and engine != "ray":
        raise InputError("--address is that of a cluster: it needs --engine ray")


def tell(summary: Compressed | Decompressed, as_json: bool) -> None:
    """Print the last line on standard error, or one JSON object on standard output."""
    if as_json:
        print(to_json(summary))
    else:
        closing(str(summary))


def executor_of(
    recipe: "Recipe", jobs: int | None, engine: str, address: str | None, machine: str
) -> "Executor | None":
    """The executor that the options ask for; None for this process alone.

    Args:
        machine: that the model's numbers are of, if they are not the same everywhere.
    """
    if machine and (engine == "ray" or (jobs or 1) > 1):
        raise InputError(
            "the model computes in floats, which another process may round in another way: "
            "leave --jobs and --engine ray out"
        )
    if engine == "ray":
        from bitsback.archive.ray import RayExecutor

        return RayExecutor(recipe, jobs, address)
    if jobs is None or jobs == 1:
        return None
    from bitsback.archive.processes import ProcessExecutor

    return ProcessExecutor(recipe, jobs)
