"""`bitsback rate` and `bitsback bench`: a set's rate, checked, and beside that of other codecs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bitsback.errors import MISMATCH, InputError

from .console import (
    bar,
    closing,
    print_ablation,
    print_bench,
    print_report,
    remarks,
    told_warnings,
)
from .files.outputs import Force, check_figure, claim
from .options import (
    AnyOrder,
    Batch,
    ChosenModel,
    Device,
    Engine,
    ImagesPerChunk,
    Inputs,
    Json,
    Limit,
    Quiet,
    Seed,
    Verbose,
    load,
    load_for,
    read_limited,
)

if TYPE_CHECKING:
    from bitsback.coding.model import LoadedModel
    from bitsback.images.image_set import ImageSet


def rate(
    inputs: Inputs,
    model: ChosenModel = None,
    limit: Limit = None,
    batch: Batch = None,
    chunk: ImagesPerChunk = None,
    any_order: AnyOrder = False,
    side_information: Annotated[
        bool, typer.Option("--side-information", help="send it, too, as compress does")
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    engine: Engine = "auto",
    expected: Annotated[
        Path | None,
        typer.Option(help="JSON of the bits per image that your own ELBO promises, to compare"),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write the report as a page, too")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="draw where the bits went: a .png, .svg or .pdf")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Compress in memory; show the rate reached beside the KL-based rate, and check them."""
    from bitsback import api
    from bitsback.coding.reports.expected import Expected
    from bitsback.coding.reports.plot import figure_type
    from bitsback.sources import atomic_files

    outputs = [output for output in (html, plot) if output is not None]
    if plot is not None:
        check_figure(plot)
        figure_type()
    for output in outputs:
        claim(output, [*inputs, *([expected] if expected else [])], force=force)
    promised = None if expected is None else Expected.read(expected)
    images = read_limited(inputs, limit)
    loaded = load_for(images, model, device, engine)
    with bar("rate") as progress, told_warnings():
        report = api.rate(
            images,
            loaded,
            batch=batch,
            seed=seed,
            chunk=chunk,
            any_order=any_order,
            side_information=side_information,
            expected=promised,
            progress=progress,
        )
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        print_report(report, Console(highlight=False))
    if html is not None:
        atomic_files.atomic_write(html, lambda file: file.write(report.to_html().encode()))
    if plot is not None:
        drawn, kind = report.plot(), plot.suffix[1:]
        atomic_files.atomic_write(plot, lambda file: drawn.savefig(file, format=kind))
    for output in outputs:
        closing(f"bitsback: {output} written")
    if not report.check().passed:
        raise typer.Exit(MISMATCH)


def bench(
    inputs: Inputs,
    model: ChosenModel = None,
    limit: Limit = None,
    batch: Batch = None,
    ablation: Annotated[
        bool,
        typer.Option(
            "--ablation",
            help="without and with each gain that needs no training, of the input or, in a folder "
            "that has them, of Omniglot, MNIST, CIFAR-10, Kodak, McMaster and Set14",
        ),
    ] = False,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Sizes and speeds beside PNG, WebP, JPEG XL, zstd and xz, in one run."""
    from bitsback.benchmarks import files as benchmark

    if ablation:
        _ablate(inputs, model, limit, batch, device, as_json)
        return
    images = read_limited(inputs, limit)
    loaded = load_for(images, model, device)
    with bar("bench") as progress:
        measured = benchmark.run(images, loaded, batch, progress)
    if as_json:
        print(json.dumps(measured.to_dict()))
    else:
        print_bench(measured, Console(highlight=False))
    if measured.match is False:
        raise typer.Exit(MISMATCH)


def _ablate(
    inputs: list[Path],
    model: str | None,
    limit: int | None,
    batch: int | None,
    device: str,
    as_json: bool,
) -> None:
    """`bench --ablation`.

    Raises:
        InputError: nothing could be coded.
    """
    from bitsback.benchmarks.sets import ablation

    subjects, found = ablation.standard(inputs[0], limit, lambda name: load(name, device), model)
    if len(inputs) > 1 or not subjects:

        def read() -> "tuple[str, ImageSet, LoadedModel]":
            images = read_limited(inputs, limit)
            return name, images, load_for(images, model, device)

        name = " ".join(path.name for path in inputs)
        subjects, found = [ablation.Subject(name, read)], []
    rows: list[ablation.Row] = []
    with bar("bench") as progress:
        for each in ablation.run(subjects, batch, progress):
            if isinstance(each, ablation.Row):
                rows.append(each)
            else:
                found.append(each)
            if not remarks.is_terminal:
                closing(f"bitsback: {each}")
    if not rows:
        raise InputError("; ".join(map(str, found)))
    if as_json:
        print(json.dumps(ablation.to_dict(rows, found, limit)))
    else:
        print_ablation(rows, found, limit)
    if any(row.match is False for row in rows):
        raise typer.Exit(MISMATCH)
