"""`make demo`: photographs through bits-back, beside other codecs, decoded, compared and drawn."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from bitsback import api
from bitsback.benchmarks import files
from bitsback.errors import BitsbackError
from bitsback.images.image_set import from_array

from .console import bar, print_bench, print_table

if TYPE_CHECKING:
    from bitsback.coding.model import LoadedModel
    from bitsback.coding.rates import RateReport

PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png")
PICTURE = Path("demo.png")
SIDE = 32  # of a square


def main(picture: Path = PICTURE) -> int:
    """Code both sets, decode and compare; 0 if every pixel is the same and the rates match."""
    console = Console(highlight=False)
    large = photographs()
    small = squares(large)
    console.rule(f"{len(small)} squares of 32x32 of scikit-image's photographs, model draw")
    model = api.load_model("draw")
    first = rated(small, model, console)
    come_back(small, model, console)
    console.rule(f"{len(large)} photographs of 384x256, model {api.DEFAULT_MODEL}")
    model = api.load_model(api.DEFAULT_MODEL)
    second = rated(large, model, console)
    with bar("bitsback and other codecs") as progress:  # these are decoded and compared there
        measured = files.run(from_array(large), model, progress=progress)
    print_bench(measured, console)
    first.plot().savefig(picture, dpi=150)
    console.print(f"{picture}: where the squares' bits went, and net minus KL within its band")
    return 0 if first.check().passed and second.check().passed else 1


def rated(images: NDArray[np.uint8], model: "LoadedModel", console: Console) -> "RateReport":
    """Print what each step of latents took, and the check.

    Args:
        images: (N, H, W, C).
    """
    with bar("rate") as progress:
        report = api.rate(images, model, progress=progress)
    heads = ("bits a tile", "popped under q", "pushed under p", "net", "KL(q || p)")
    table = Table(*heads, box=box.SIMPLE)

    def add(name: str, *bits: float) -> None:
        told = [f"{each / report.chained_images:.1f}" for each in bits]
        table.add_row(name, *[""] * (4 - len(bits)), *told)

    for step in report.steps:
        add(step.name, step.popped_bits, step.pushed_bits, step.net_bits, step.kl_bits)
    add("pixels", report.likelihood_bits, report.pixels_kl_bits)
    add("all", report.net_bits, report.kl_bits)
    print_table(table, console)
    console.print(str(report.check()), soft_wrap=True)
    return report


def come_back(images: NDArray[np.uint8], model: "LoadedModel", console: Console) -> None:
    """Compress images through the model, decode the file, and compare.

    Args:
        images: (N, H, W, C).

    Raises:
        BitsbackError: other pixels came back.
    """
    with bar("compress and decompress") as progress:
        data = api.compress(images, model, always_chain=True, progress=progress)
        back = api.decompress(data, model)
    if not np.array_equal(back, images):
        raise BitsbackError("other pixels came back")
    console.print(
        f"{images.size:,} to {len(data):,} bytes, {8 * len(data) / images.size:.4f} bits/dim; "
        "decoded, every pixel the same",
        soft_wrap=True,
    )


def photographs() -> NDArray[np.uint8]:
    """(3, 256, 384, 3): the upper left of three photographs that scikit-image installs."""
    import skimage
    from PIL import Image

    folder = Path(skimage.__file__).parent / "data"
    crops = []
    for name in PHOTOGRAPHS:
        with Image.open(folder / name) as image:
            crops.append(np.asarray(image.convert("RGB").crop((0, 0, 384, 256))))
    return np.stack(crops)


def squares(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 32, 32, 3): all squares of these images at half their size, and at their own."""
    halves = images.reshape(len(images), images.shape[1] // 2, 2, images.shape[2] // 2, 2, 3)
    sizes = [halves.mean((2, 4)).round().astype(np.uint8), images]
    cut = []
    for stack in sizes:
        n, height, width, channels = stack.shape
        rows, columns = height // SIDE, width // SIDE
        tiled = stack[:, : rows * SIDE, : columns * SIDE]
        tiled = tiled.reshape(n, rows, SIDE, columns, SIDE, channels)
        cut.append(tiled.swapaxes(2, 3).reshape(-1, SIDE, SIDE, channels))
    return np.concatenate(cut)


if __name__ == "__main__":
    sys.exit(main())
