"""`bitsback figure`: the paper's figures from the models that ship, one command each."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import closing
from ..files.outputs import Force, check_figure, claim
from ..options import Device, Json, Quiet, Verbose, read_limited

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bitsback.coding.model import LoadedModel

_DRAWN = {
    "1": "reconstructions",
    "2": "variations",
    "4": "comparison",
    "12": "comparison",
    "5": "samples",
    **dict.fromkeys(("6", "7", "10", "11"), "beta"),
    "8": "training",
    "9": "information",
}
_NEEDS_DATA = ("reconstructions", "variations", "comparison", "information")


def figure(
    name: Annotated[str, typer.Argument(help="its number in the paper: 1, 2, 4 to 12")],
    output: Annotated[Path, typer.Option("-o", "--output", help="a .png, .svg or .pdf")],
    data: Annotated[
        list[Path] | None, typer.Option(help="images, for figures 1, 2, 4, 9 and 12")
    ] = None,
    tile: Annotated[int | None, typer.Option(min=8, help="cut them into such squares")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="models, where they are not those of the table")
    ] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="images in a row")] = 12,
    rate: Annotated[list[float] | None, typer.Option(help="bits/dim, for 4 and 12")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of what is drawn")] = 0,
    device: Device = "auto",
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Draw one of the paper's figures from models that ship."""
    from bitsback.errors import InputError
    from bitsback.lossy import files as lossy
    from bitsback.lossy.bench import TOGETHER
    from bitsback.models import store
    from bitsback.sources import atomic_files

    kind = _DRAWN.get(name)
    if kind is None:
        raise InputError(f"there is no figure {name!r}: {', '.join(sorted(_DRAWN, key=int))}")
    if kind in _NEEDS_DATA and not data:
        raise InputError(f"figure {name} is drawn from images: give them with --data")
    check_figure(output)
    claim(output, data or [], force=force)
    try:
        from bitsback.figures import paper
    except ImportError as error:
        raise InputError("figures need matplotlib: pip install 'bitsback[figures]'") from error

    def images(most: int) -> "NDArray[np.uint8]":
        return lossy.tiles(read_limited(data or [], None), tile, most)

    def models(usual: Callable[[], list[str]]) -> "list[LoadedModel]":
        return [lossy.loaded_once(name, device) for name in model or usual()]

    def best(wanted: float | None = None) -> list[str]:
        return [lossy.default_model(wanted)]

    def betas() -> list[str]:
        return [name for name in store.names() if name.startswith("photo-beta")]

    match kind:
        case "training":
            drawn = paper.training()
        case "samples":
            drawn = paper.samples(models(lambda: ["omniglot", "mnist"]), count, seed)
        case "beta":
            drawn = paper.samples(models(betas), count, seed)
        case "comparison":
            chosen = {wanted: models(partial(best, wanted))[0] for wanted in rate or paper.RATES}
            drawn = paper.comparison(images(TOGETHER), chosen, count)
        case "information":
            drawn = paper.information(images(64), models(lambda: ["photo-two", *best()]))
        case "variations":
            many = max(1, count // paper.TIMES)
            drawn = paper.variations(images(many), models(best)[0], seed)
        case _:
            drawn = paper.reconstructions(images(count), models(best)[0], seed)
    atomic_files.atomic_write(output, lambda file: drawn.savefig(file, format=output.suffix[1:]))
    closing(f"{output}: figure {name}", as_json, output=str(output), figure=name)
