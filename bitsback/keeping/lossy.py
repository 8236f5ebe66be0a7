"""Files of lossy formats: told by their first bytes, and decoded for those who ask for it."""

import io
from collections.abc import Iterator

from bitsback.errors import InputError
from bitsback.images.image_file import decode_image
from bitsback.images.outcomes import Outcome

from .coded import Coded, Levels, NotKept
from .tiff import tags

_UNASSOCIATED_ALPHA = 2  # of ExtraSamples


def reason(data: bytes) -> str | None:
    """What makes a file one of a lossy format, or of GIF, as a predicate; None of others."""
    if data.startswith(b"\xff\xd8\xff"):
        return "is a JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "is a GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and b"VP8 " in set(_kinds(data)):
        return "is a lossy WebP"
    return None


def recode(data: bytes, first: bool = False) -> Coded:
    """The pixels and metadata that a file decodes to.

    Args:
        first: whether the first image of several will do.

    Raises:
        NotKept: it is not read, or holds more than them.
    """
    try:
        if data[:4] in tags.SIGNATURES:
            _check_tiff(data)
        image = decode_image(io.BytesIO(data), "it", first)
    except InputError as error:
        raise NotKept(str(error).removeprefix("it ")) from error
    levels: Levels = image.pixels if image.levels is None else image.levels[:, :, None]
    return Coded(levels, image.mode, image.metadata, Outcome.RECODED)


def _check_tiff(data: bytes) -> None:
    """Raise NotKept of a TIFF whose samples Pillow would drop or change without a word."""
    found = tags.only_image(data)
    photometric = found.number(tags.PHOTOMETRIC, 0)
    extra = found.numbers(tags.EXTRA, ())
    colours = {0: 1, 1: 1, 2: 3, 3: 1}.get(photometric, 0)
    is_plain = (
        found.number(tags.SAMPLES, 1) == colours + len(extra)
        and set(extra) <= {_UNASSOCIATED_ALPHA}
        and set(found.numbers(tags.SAMPLE_FORMAT, (1,))) == {1}
        and (colours + len(extra) == 1 or found.number(tags.PLANAR, 1) == 1)
        and (photometric > 0 or found.number(tags.BITS, 1) == 1)
    )
    if not is_plain:
        raise NotKept("is a TIFF of bands that are not gray, RGB or alpha")


def _kinds(data: bytes) -> Iterator[bytes]:
    """The kinds of a RIFF file's chunks."""
    position = 12
    while position + 8 <= len(data):
        yield data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
