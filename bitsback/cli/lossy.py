"""`bitsback lossy`: storing the first latents of images, and generating the rest."""

from pathlib import Path
from typing import Annotated

import typer

from bitsback.errors import MISMATCH, InputError

from .console import closing, note
from .files.outputs import Force, claim
from .files.streams import STANDARD, archive_from, check_standard, write_array, write_bytes
from .options import (
    Device,
    Engine,
    Inputs,
    Json,
    Limit,
    OwnModel,
    Quiet,
    Verbose,
    load,
    read_limited,
)

RATES = (0.05, 0.1, 0.15, 0.2, 0.4, 0.8)

app = typer.Typer(no_args_is_help=True, help="Store the first latents of images alone.")


@app.command()
def encode(
    inputs: Inputs,
    output: Annotated[Path, typer.Option("-o", "--output", help="what to write")],
    steps: Annotated[int | None, typer.Option(min=1, help="store so many steps; else all")] = None,
    bits_per_dim: Annotated[
        float | None,
        typer.Option(min=0, max=8, help="store as many steps as fit; also chooses the model"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="a photo-beta model, or a folder")] = None,
    layers: Annotated[
        int, typer.Option(min=1, max=2, help="2: of a two-layer model, the higher one alone")
    ] = 1,
    bare: Annotated[bool, typer.Option("--bare", help="a set under one header")] = False,
    device: Device = "auto",
    engine: Engine = "auto",
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Write a small file that holds what an image is about; decoding generates the rest."""
    from bitsback.lossy import files as lossy
    from bitsback.lossy import regions
    from bitsback.sources import atomic_files

    check_standard(output, as_json)
    claim(output, inputs, force=force, may_be_standard=True)
    images = lossy.stacked(read_limited(inputs, None), bare)
    loaded = load(model or lossy.default_model(bits_per_dim, images.shape[3]), device, engine)
    encoded = lossy.encode(images, loaded, steps, bits_per_dim, layers == 2, bare)
    if output == STANDARD:
        write_bytes(encoded.data)
    else:
        atomic_files.atomic_write(output, encoded.data)
    most = regions.steps_of(loaded)
    facts = {
        "output": str(output),
        "output_bytes": len(encoded.data),
        "bits_per_dim": encoded.bits_per_dim,
        "steps": encoded.steps,
        "steps_of_model": most,
        "model": loaded.name,
        "kl_bytes": encoded.promised_bits / 8,
        "match": encoded.matches,
    }
    line = (
        f"{len(encoded.data)} bytes, {encoded.bits_per_dim:.4f} bits/dim: {encoded.steps} of "
        f"{most} steps of {loaded.name}, whose KL is {encoded.promised_bits / 8:.1f} bytes"
    )
    closing(f"{line}: {'match' if encoded.matches else 'DO NOT MATCH'}", as_json, **facts)
    if not encoded.matches:
        note("the file's bytes and the KL of its latents do not match")
        raise typer.Exit(MISMATCH)
    if bits_per_dim is None:
        return
    if encoded.steps == most and encoded.bits_per_dim <= bits_per_dim:
        note(f"all steps of {loaded.name} together take less than {bits_per_dim} bits/dim")
    if encoded.bits_per_dim > bits_per_dim:
        note(f"the least that can be stored is more than {bits_per_dim} bits/dim")
        raise typer.Exit(MISMATCH)


@app.command()
def bench(
    inputs: Inputs,
    rate: Annotated[list[float] | None, typer.Option(help="bits/dim; may be given again")] = None,
    tile: Annotated[
        int | None, typer.Option(min=8, help="cut the images into squares of this side")
    ] = None,
    limit: Limit = None,
    model: Annotated[str | None, typer.Option(help="else the table's choice at each rate")] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Quality beside JPEG, JPEG 2000, WebP and JPEG XL at equal bytes."""
    import dataclasses
    import json

    from bitsback.lossy import bench as benches
    from bitsback.lossy import files as lossy

    images = lossy.tiles(read_limited(inputs, None), tile, limit)
    rows = benches.run(
        images,
        rate or RATES,
        lambda wanted: lossy.loaded_once(model or lossy.default_model(wanted), device),
        lambda row: None if as_json else print(row, flush=True),
    )
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))


@app.command()
def decode(
    file: Annotated[Path, typer.Argument(help="a file written by lossy encode")],
    output: Annotated[Path, typer.Option("-o", "--output", help="what to write")],
    variance: Annotated[
        float, typer.Option(min=0, help="of the generated latents; 0: their priors' means")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="of the generated latents")] = 0,
    model: OwnModel = None,
    device: Device = "auto",
    engine: Engine = "auto",
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Give back an image, with the latents that were not stored drawn from their priors."""
    from bitsback.format.header import MAGIC
    from bitsback.sources import atomic_files

    check_standard(output, as_json)
    claim(output, [file], force=force, may_be_folder=True, may_be_standard=True)
    with archive_from(file) as path:
        data = atomic_files.read_bytes(path)
    if data.startswith(MAGIC):
        raise InputError(f"{file} is a lossless file: bitsback decompress takes it")
    show_lossy(data, output, model, device, engine, variance, seed, as_json)


def show_lossy(
    data: bytes,
    output: Path,
    model: str | None,
    device: str,
    engine: str,
    variance: float = 1.0,
    seed: int = 0,
    as_json: bool = False,
) -> None:
    """Decode a lossy file into an image, a .npy or a folder; "-" takes a .npy."""
    from bitsback.lossy import coder, container
    from bitsback.lossy import files as lossy

    loaded = lossy.model_of(data, model, device, engine)
    images = coder.decode(data, loaded, variance, seed)
    if output == STANDARD:
        write_array(images)
    else:
        lossy.write(images, output)
    header, _ = container.unpack(data)
    closing(
        f"{output}: {header.count} image{'s' * (header.count != 1)} of a lossy file, "
        f"{header.steps} steps of latents of {loaded.name}; the rest was generated",
        as_json,
        output=str(output),
        images=header.count,
        steps=header.steps,
        model=loaded.name,
    )
