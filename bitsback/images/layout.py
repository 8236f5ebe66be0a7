"""What an image file holds that Pillow reads otherwise than it is, or passes over in silence.

Pillow gives pixels without a word where a TIFF has more bands than its mode, where a PNM's levels
end at another number than 255, or where bytes follow the end of a PNG. What is read so could not
be written again, so it is told here and refused.
"""

from typing import Any, BinaryIO

from PIL import Image

# Tags of TIFF 6.0, sections 8, 18 and 19, and of TIFF Technical Note 1 (SubIFDs).
_PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _SAMPLE_FORMAT, _SUB_IFDS = 262, 277, 284, 338, 339, 330
_BLACK_IS_ZERO, _RGB = 1, 2
_UNASSOCIATED_ALPHA = 2
_END_OF_PNG = b"\0\0\0\0IEND\xaeB`\x82"
#: highest levels of the PNM files whose levels come back as they are
_HIGHEST = {"1": (1,), "L": (255,), "RGB": (255,), "I": (65535,), "I;16": (65535,)}


def what_is_lost(image: Image.Image, file: BinaryIO) -> str | None:
    """What of a file would not come back, as a predicate of the file; None if all would.

    Args:
        image: the opened image, whose pixels are not loaded yet.
        file: what it was opened from; its position is kept.
    """
    match image.format:
        case "TIFF":
            return _of_tiff(image)
        case "PPM":
            return _of_pnm(image, file)
        case "PNG":
            return _of_png(file)
    return None


def _of_tiff(image: Image.Image) -> str | None:
    tags: Any = getattr(image, "tag_v2", {})
    samples = int(tags.get(_SAMPLES, 1))
    extra = tuple(tags.get(_EXTRA, ()))
    if _SUB_IFDS in tags:
        return "holds further images (SubIFDs)"
    if samples > 1 and tags.get(_PLANAR, 1) != 1:
        return "has a plane for each channel (PlanarConfiguration 2)"
    if any(kind != _UNASSOCIATED_ALPHA for kind in extra) or len(extra) > 1:
        return "has bands beside its colours (ExtraSamples) that are not plain alpha"
    if any(kind != 1 for kind in tags.get(_SAMPLE_FORMAT, (1,))):
        return "has levels that are not unsigned integers (SampleFormat)"
    photometric = tags.get(_PHOTOMETRIC)
    if photometric == 0 and image.mode != "1":
        return "has levels that count from white (WhiteIsZero)"
    colours = {_BLACK_IS_ZERO: 1, _RGB: 3}.get(photometric)
    if colours is not None and samples != colours + len(extra):
        return f"has {samples} bands, which are not those of its colours"
    return None


def _of_pnm(image: Image.Image, file: BinaryIO) -> str | None:
    highest = _highest_level(file)
    allowed = _HIGHEST.get(image.mode, ())
    if highest is not None and allowed and highest not in allowed:
        return f"has levels that end at {highest}, not at {allowed[0]}"
    return None


def _highest_level(file: BinaryIO) -> int | None:
    """The third number of a PNM's header; None of a bitmap, which has two, and of PAM."""
    place = file.tell()
    try:
        file.seek(0)
        head = file.read(1 << 16)
    finally:
        file.seek(place)
    if head[:2] not in (b"P2", b"P3", b"P5", b"P6"):
        return None
    lines = (line.partition(b"#")[0] for line in head[2:].splitlines())
    numbers = [word for line in lines for word in line.split()][:3]
    return int(numbers[2]) if len(numbers) == 3 and numbers[2].isdigit() else None


def _of_png(file: BinaryIO) -> str | None:
    place = file.tell()
    try:
        file.seek(0)
        data = file.read()
    finally:
        file.seek(place)
    # A file that is cut short has no end: its pixels tell.
    if _END_OF_PNG in data and not data.endswith(_END_OF_PNG):
        return "has bytes after its end (IEND)"
    return None
