"""A Pillow plugin: after `import bitsback.pillow`, `Image.open("a.bb")` has its images as frames.

Source: https://pillow.readthedocs.io/en/stable/handbook/writing-your-own-image-plugin.html
"""

import bisect
import io
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile

from bitsback import api
from bitsback.archive.reader import Reader
from bitsback.errors import BitsbackError
from bitsback.format.header import MAGIC
from bitsback.images.manifest import FilesManifest
from bitsback.sources import writers


class BitsbackImageFile(ImageFile.ImageFile):
    """The images that a compressed file codes, in order; files that travel as they are are none."""

    format = "BITSBACK"
    format_description = "bitsback"

    def _open(self) -> None:
        try:
            self._images = Reader(cast("BinaryIO", self.fp), api.load_named)
        except BitsbackError as error:
            raise SyntaxError(str(error)) from error
        self.n_frames = len(self._images)
        if not self.n_frames:
            raise SyntaxError("the file codes no images")
        self.is_animated = self.n_frames > 1
        self._show(0)

    def seek(self, frame: int) -> None:
        """Show an image by its number.

        Raises:
            EOFError: there is none.
            BitsbackError: its chunk is damaged, or the model is missing.
        """
        if not 0 <= frame < self.n_frames:
            raise EOFError(f"the file has {self.n_frames} images")
        self._show(frame)

    def tell(self) -> int:
        """The number of the image that is shown."""
        return self._frame

    def load(self) -> Any:
        """The pixels, which are decoded already."""
        return Image.Image.load(self)

    def _show(self, frame: int) -> None:
        image = _image(self._images, frame)
        self._frame = frame
        self._mode, self._size = image.mode, image.size
        self.im, self.palette, self.info = image.im, image.palette, image.info


def _image(reader: Reader, number: int) -> Image.Image:
    chunk = bisect.bisect_right(reader.header.firsts, number) - 1
    images, place = reader.chunk(chunk).images, number - reader.header.firsts[chunk]
    if isinstance(images.manifest, FilesManifest):
        name = images.manifest.names[place]
        every = writers.members([images], images.manifest.kind, lambda line: None)
        content = next(content for own, content, _ in every if own == name)
        image = Image.open(io.BytesIO(content))
        image.load()
        return image
    values = reader[number]
    values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    return Image.fromarray(values * np.uint8(255) if images.binary else values)


Image.register_open(
    BitsbackImageFile.format, BitsbackImageFile, lambda prefix: prefix.startswith(MAGIC)
)
Image.register_extension(BitsbackImageFile.format, ".bb")
