"""Files of lossy formats: told by their first bytes, and decoded for those who ask for it."""

import io
from collections.abc import Iterator

from bitsback.errors import InputError
from bitsback.images.image_file import decode_image
from bitsback.images.outcomes import Outcome

from .coded import Coded, NotKept


def reason(data: bytes) -> str | None:
    """What makes a file one of a lossy format, or of GIF, as a predicate; None of others."""
    if data.startswith(b"\xff\xd8\xff"):
        return "is a JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "is a GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and b"VP8 " in set(_kinds(data)):
        return "is a lossy WebP"
    return None


def recode(data: bytes) -> Coded:
    """The pixels and metadata that a file decodes to.

    Raises:
        NotKept: it is not read, or holds more than them.
    """
    try:
        image = decode_image(io.BytesIO(data), "it")
    except InputError as error:
        raise NotKept(str(error).removeprefix("it ")) from error
    return Coded(image.pixels, image.mode, image.metadata, Outcome.RECODED)


def _kinds(data: bytes) -> Iterator[bytes]:
    """The kinds of a RIFF file's chunks."""
    position = 12
    while position + 8 <= len(data):
        yield data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
