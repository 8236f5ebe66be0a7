"""`bitsback view`: a page of thumbnails of a compressed set, decoded from the chunks it shows."""

import base64
import bisect
import html
import io
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from PIL import Image

from bitsback.errors import InputError
from bitsback.images.safe_names import plain
from bitsback.progress import Progress

from .console import bar, closing
from .files.opening import Reading, opened_lossless
from .files.outputs import Force, claim
from .options import Device, Engine, File, Json, MicroBatch, OwnModel, Quiet, Verbose

if TYPE_CHECKING:
    from bitsback.archive.reader import Reader

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 13px sans-serif }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax({size}px, 1fr)); gap: 8px }}
figure {{ margin: 0; text-align: center; overflow-wrap: anywhere }}
img {{ max-width: 100%; image-rendering: pixelated }}
</style>
<h1>{title}</h1><p>{told}</p>
<main>
{figures}
</main></html>
"""


def view(
    file: File,
    output: Annotated[Path, typer.Option("-o", "--output", help="the .html to write")],
    first: Annotated[int, typer.Option(min=0, help="number of the first image to show")] = 0,
    count: Annotated[int, typer.Option("-n", min=1, help="how many to show")] = 200,
    size: Annotated[int, typer.Option(min=16, max=1024, help="of a thumbnail, pixels")] = 160,
    show: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
    model: OwnModel = None,
    device: Device = "auto",
    engine: Engine = "auto",
    micro_batch: MicroBatch = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Write a page of thumbnails; only the chunks that hold these images are decoded."""
    from bitsback.sources import atomic_files

    claim(output, [file], force=force)
    reading = Reading(model, device, engine, micro_batch)
    with opened_lossless(file, reading) as reader, bar("view") as progress:
        if first and first >= len(reader):
            raise InputError(f"the file has {len(reader)} images: there is no number {first}")
        shown = _images(reader, first, count, progress)
        figures = [_figure(name, image, size) for name, image in shown]
        images = len(reader)
    told = f"{len(figures)} of {images} images, from number {first}"
    page = _PAGE.format(
        title=html.escape(plain(file.name)), told=told, size=size, figures="\n".join(figures)
    )
    atomic_files.atomic_write(output, page.encode())
    facts = {"output": str(output), "shown": len(figures), "first": first, "images": images}
    closing(f"{output}: {told}", as_json, **facts)
    if show:
        webbrowser.open(output.resolve().as_uri())


def _images(
    reader: "Reader", first: int, count: int, progress: Progress
) -> Iterator[tuple[str, Image.Image | None]]:
    """Names and images from a number on, as far as they are asked for; None of what is no image."""
    from bitsback.images.manifest import FilesManifest
    from bitsback.sources import writers

    firsts = reader.header.firsts
    shown = 0
    for number in range(max(0, bisect.bisect_right(firsts, first) - 1), len(firsts)):
        images, skipped = reader.chunk(number, progress).images, max(0, first - firsts[number])
        if isinstance(images.manifest, FilesManifest):
            members = writers.members([images], images.manifest.kind, lambda line: None)
            every = ((name, _opened(content)) for name, content, _ in members if name)
        else:
            scale = 255 if images.binary else 1
            every = (
                (str(firsts[number] + place), _picture(pixels * np.uint8(scale)))
                for place, pixels in enumerate(images.pixels)
            )
        for place, each in enumerate(every):
            if place >= skipped:
                yield each
                shown += 1
                if shown == count:
                    return


def _opened(content: bytes) -> Image.Image | None:
    """An image file's first frame; None of another file."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode.startswith("I;16"):
                return _picture((np.asarray(image) >> 8).astype(np.uint8)[:, :, None])
            return image.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _picture(pixels: np.ndarray) -> Image.Image:
    """(H, W, C) uint8 as an image; more channels than four by the first one."""
    channels = pixels.shape[2]
    return Image.fromarray(pixels[:, :, 0] if channels not in (2, 3, 4) else pixels).convert("RGBA")


def _figure(name: str, image: Image.Image | None, size: int) -> str:
    title = html.escape(plain(name))
    if image is None:
        return f"<figure><figcaption>{title} (no image)</figcaption></figure>"
    width, height = image.size
    image.thumbnail((size, size))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    picture = f'<img alt="" src="data:image/png;base64,{data}">'
    return f"<figure>{picture}<figcaption>{title}, {width} x {height}</figcaption></figure>"
