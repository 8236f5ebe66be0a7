"""`make demo`: real photographs through the command line and back, every pixel compared."""

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from bitsback.api import DEFAULT_MODEL, load_model
from bitsback.archive import reader, writer
from bitsback.chunks.plan import Settings
from bitsback.sources import atomic_files, read, writers

from .console import bar, print_report

IMAGES = ("astronaut.png", "coffee.png", "chelsea.png")
PEERS: dict[str, dict[str, Any]] = {
    "PNG": {"optimize": True},
    "WEBP": {"lossless": True, "quality": 100, "method": 6},
}


def main() -> int:
    """Compress, decompress, compare; 0 if every pixel is the same and the rates match."""
    import skimage

    source = Path(skimage.__file__).parent / "data"
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        folder.mkdir()
        for image in IMAGES:
            if (source / image).exists():
                crop = Image.open(source / image).convert("RGB").crop((0, 0, 384, 256))
                # Without metadata, which the codecs that it is compared with are not given.
                Image.fromarray(np.asarray(crop)).save(folder / image)
        images = read.read_images([folder])
        model = load_model(DEFAULT_MODEL)
        with bar("compress") as progress:
            packed = writer.compress_set(
                images,
                model,
                payload=b"demo",
                settings=Settings(always_chain=True),
                progress=progress,
            )
        file = Path(name) / "images.bb"
        atomic_files.atomic_write(file, packed.data)
        with bar("decompress") as progress, reader.open_path(file, lambda *_: model) as opened:
            parts = opened.restored(progress)
            writers.write_images(parts, len(opened), Path(name) / "back")
            same = opened.payload == b"demo"
        for path in sorted(folder.iterdir()):
            back = np.asarray(Image.open(Path(name) / "back" / path.name))
            same &= np.array_equal(back, np.asarray(Image.open(path)))
        print_report(packed.report, console)
        for kind, options in PEERS.items():
            size = sum(_size(image, kind, options) for image in images.pixels)
            console.print(f"{kind}: {8 * size / packed.report.dims:.4f} bits/dim")
    console.print(f"{len(images.pixels)} images, every pixel the same: {same}")
    return 0 if same and packed.report.check().passed else 1


def _size(image: NDArray[np.uint8], kind: str, options: dict[str, Any]) -> int:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.tell()


if __name__ == "__main__":
    sys.exit(main())
