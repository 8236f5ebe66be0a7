"""Files through an archive and back onto the disk."""

import io
from pathlib import Path
from typing import Any

from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.chunks.plan import Settings
from bitsback.coding.model import LoadedModel
from bitsback.images.image_set import ImageSet
from bitsback.keeping.rule import DEFAULT, Policy
from bitsback.sources.read import read_images
from bitsback.sources.writers import write_images


def through(
    path: Path, output: Path, model: LoadedModel, policy: Policy = DEFAULT, **options: Any
) -> ImageSet:
    """The set that was read at `path`, compressed through the model, and restored to `output`."""
    images = read_images([path], policy)
    data = compress_set(images, model, settings=Settings(always_chain=True), **options).data
    with Reader(io.BytesIO(data), lambda *_: model) as reader:
        write_images(reader.restored(), len(reader), output)
    return images
