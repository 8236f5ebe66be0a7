"""Gray of more than 8 bits, compared with PNG and JPEG XL.

    python -m bitsback.benchmarks.bit_depth FOLDER

Of every 8-bit colour image the luminance (BT.709), in linear light, is averaged over 2x2 pixels,
so that it has levels between those of 8 bits; then it is rounded to 16, 12 or 10 bits, linear or
with the transfer curve of sRGB. `bitsback.images.bit_depth` says what ours does; for "two images"
a model codes both bytes.
"""

import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from bitsback.api import DEFAULT_MODEL, load_model
from bitsback.archive import writer
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError, refusals
from bitsback.images.image_set import ImageSet, from_array
from bitsback.sources import read

Light = NDArray[np.float64]
KINDS: dict[str, Callable[[Light], Light]] = {
    "16 bits, linear": lambda light: light * 65535,
    "16 bits, sRGB": lambda light: _encoded(light) * 65535,
    "12 bits, sRGB": lambda light: _encoded(light) * 4095,
    "12 bits in the high ones of 16": lambda light: np.round(_encoded(light) * 4095) * 16,
    "10 bits, sRGB": lambda light: _encoded(light) * 1023,
}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Bytes of a set of images of one kind.

    Args:
        pixels: in all images.
        two_images: where the model codes high and low bytes.
    """

    kind: str
    pixels: int
    png: int
    jpeg_xl: int
    two_images: int
    ours: int


def _encoded(light: Light) -> Light:
    """The transfer curve of sRGB (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def light_of(image: NDArray[np.uint8]) -> Light:
    """Linear luminance 0..1 at half size of an sRGB image, (H, W, 3) uint8."""
    value = image / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    whole = linear @ (0.2126, 0.7152, 0.0722)
    height, width = (side // 2 for side in whole.shape)
    blocks = whole[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
    means: Light = blocks.mean((1, 3))
    return means


def measure(kind: str, lights: list[Light], loaded: LoadedModel) -> Sizes:
    """Sizes of images of one of `KINDS`."""
    import imagecodecs

    def coded(images: ImageSet) -> int:
        return len(writer.compress_set(images, loaded).data)

    png = jpeg_xl = two = ours = 0
    for light in lights:
        levels = np.round(KINDS[kind](light)).astype(np.uint16)
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "x.png"
            Image.fromarray(levels).save(path, optimize=True)
            png += path.stat().st_size
            ours += coded(read.read_images([path]))
        jpeg_xl += len(imagecodecs.jpegxl_encode(levels, lossless=True, effort=7))
        two += coded(from_array(np.stack([levels >> 8, levels & 255]).astype(np.uint8)))
    return Sizes(kind, sum(light.size for light in lights), png, jpeg_xl, two, ours)


def main(
    images: Annotated[Path, typer.Argument(help="a folder of colour images")],
    model: Annotated[str, typer.Option(help="a shipped model's name, or a folder")] = DEFAULT_MODEL,
    limit: Annotated[int | None, typer.Option(min=1, help="use the first N images")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Bits per pixel of gray images of 16, 12 and 10 bits."""
    with refusals():
        pixels = read.read_images([images]).pixels[:limit]
        lights = [light_of(image) for image in pixels if image.shape[2] == 3]
        if not lights:
            raise InputError(f"{images} holds no colour images")
        loaded = load_model(model)
        rows = [measure(kind, lights, loaded) for kind in KINDS]
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    table = Table("bits/pixel", "PNG", "JPEG XL", "two images", "ours")
    for row in rows:
        sizes = (row.png, row.jpeg_xl, row.two_images, row.ours)
        table.add_row(row.kind, *(f"{8 * size / row.pixels:.3f}" for size in sizes))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    typer.run(main)
