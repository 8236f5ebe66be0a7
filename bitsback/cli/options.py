"""Arguments and options that several commands share, and what they name, opened."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitsback.errors import InputError

from .console import be_verbose, remarks

if TYPE_CHECKING:
    from bitsback.coding.model import LoadedModel
    from bitsback.images.image_set import ImageSet

Inputs = Annotated[
    list[Path],
    typer.Argument(help="a .npy, .npz, .tar, Zarr array, images, a folder; -: a pipe"),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
_NAMED = "a shipped model's name, a model folder, or package.module:object"
Model = Annotated[str, typer.Option(help=_NAMED)]
ChosenModel = Annotated[
    str | None,
    typer.Option("--model", help=f"{_NAMED}; else chosen by the images", show_default=False),
]
Engine = Annotated[
    str, typer.Option(help="torch; numpy: the same bits, slower; auto: torch if installed")
]
Spread = Annotated[
    str, typer.Option("--engine", help="auto, torch, numpy: as elsewhere; ray: on a cluster")
]
Address = Annotated[str | None, typer.Option(help="of a Ray cluster, for --engine ray")]
MicroBatch = Annotated[
    int | None, typer.Option(min=1, help="images that the network is given at once; same bits")
]
Batch = Annotated[int | None, typer.Option(min=1, help="images per batch of the chain")]
ImagesPerChunk = Annotated[
    int | None, typer.Option("--chunk", min=1, help="images per chunk, each decodable alone")
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="processes side by side: 1, or with --engine ray all of the cluster"),
]
AnyOrder = Annotated[
    bool,
    typer.Option("--any-order", help="images of an array may come back in another order: smaller"),
]
NoSideInformation = Annotated[
    bool,
    typer.Option("--no-side-information", help="code pixels by the model's own numbers alone"),
]
Seed = Annotated[int, typer.Option(help="of the dither that both sides add to the latent grid")]
Keep = Annotated[
    str,
    typer.Option(
        help="auto: byte for byte where that costs next to nothing, no file larger; "
        "samples: pixels and metadata, all coded that can be; files: byte for byte"
    ),
]
RecodeLossy = Annotated[
    bool,
    typer.Option("--recode-lossy", help="code the pixels of JPEG, GIF and lossy WebP, as PNG"),
]
NoTimes = Annotated[
    bool, typer.Option("--no-times", help="do not keep the times of files, folders and members")
]
Limit = Annotated[int | None, typer.Option(min=1, help="use the first N images")]
File = Annotated[Path, typer.Argument(help="a file written by compress")]
OwnModel = Annotated[
    str | None,
    typer.Option("--model", help="if not shipped: the model's folder, or package.module:object"),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


def _be_quiet(context: typer.Context, value: bool) -> bool:
    if value and context.params.get("verbose"):
        raise typer.BadParameter(_ONE)
    remarks.quiet = value
    return value


def _be_verbose(context: typer.Context, value: bool) -> bool:
    if value and context.params.get("quiet"):
        raise typer.BadParameter(_ONE)
    be_verbose(value)
    return value


_ONE = "give --quiet or --verbose, not both"


Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", callback=_be_quiet, help="no progress and no closing line"),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "-v", "--verbose", callback=_be_verbose, help="a line for each file, model and chunk, timed"
    ),
]
"""These two take effect when they are parsed."""


def read_limited(paths: list[Path], limit: int | None) -> "ImageSet":
    """The input's images, or the first `limit` of them without their sidecars."""
    from bitsback.images.image_set import NO_IMAGES, first_images
    from bitsback.keeping.rule import PIXELS
    from bitsback.sources import read

    images = read.read_images(paths, PIXELS)
    if not len(images.pixels):
        raise InputError("; ".join(images.kept.lines()) or NO_IMAGES)
    return images if limit is None else first_images(images, limit)


def load(
    model: str,
    device: str = "auto",
    engine: str = "auto",
    micro_batch: int | None = None,
    sha256: bytes = b"",
) -> "LoadedModel":
    """The model that the user names; arguments as of `own_models.load`."""
    from bitsback.archive import own_models

    return own_models.load(model, device, engine, micro_batch, sha256)


def load_for(
    images: "ImageSet",
    model: str | None,
    device: str,
    engine: str = "auto",
    micro_batch: int | None = None,
) -> "LoadedModel":
    """The model that the user names for images, or the one that suits them, which a line tells."""
    from bitsback.archive.samples import choice

    if model is not None:
        return load(model, device, engine, micro_batch)
    chosen = choice.choose(images, lambda name: load(name, device, engine, micro_batch))
    remarks.print(f"bitsback: {chosen}")
    return chosen.loaded
