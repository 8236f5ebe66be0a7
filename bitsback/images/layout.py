"""What an image file holds that Pillow reads otherwise than it is, or passes over in silence.

Pillow gives pixels without a word where a TIFF has more bands than its mode, or where a PNM's
levels end at another number than 255. Such a file could not be written again, so it is refused.
"""

from typing import Any, BinaryIO

from PIL import Image

# Tags of TIFF 6.0, sections 8, 18 and 19, and of TIFF Technical Note 1 (SubIFDs).
_PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _SAMPLE_FORMAT, _SUB_IFDS = 262, 277, 284, 338, 339, 330
_WHITE_IS_ZERO = 0
_COLOURS = {_WHITE_IS_ZERO: 1, 1: 1, 2: 3, 3: 1}  # bands: gray twice, RGB, a palette's indices
_UNASSOCIATED_ALPHA = 2
_HIGHEST = 255  # level of the PNM files that come back as they are


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
            return _of_pnm(file)
    return None


def _of_tiff(image: Image.Image) -> str | None:
    tags: Any = getattr(image, "tag_v2", {})
    samples = int(tags.get(_SAMPLES, 1))
    extra = tuple(tags.get(_EXTRA, ()))
    if _SUB_IFDS in tags:
        return "holds further images (SubIFDs)"
    if samples > 1 and tags.get(_PLANAR, 1) != 1:
        return "has a plane for each channel (PlanarConfiguration 2)"
    if any(kind != _UNASSOCIATED_ALPHA for kind in extra):
        return "has bands beside its colours (ExtraSamples) that are not plain alpha"
    if any(kind != 1 for kind in tags.get(_SAMPLE_FORMAT, (1,))):
        return "has levels that are not unsigned integers (SampleFormat)"
    photometric = int(tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO))
    if photometric not in _COLOURS:
        return f"has colours that are not gray or RGB (PhotometricInterpretation {photometric})"
    if photometric == _WHITE_IS_ZERO and image.mode != "1":
        return "has levels that count from white (WhiteIsZero)"
    if samples != _COLOURS[photometric] + len(extra):
        return f"has {samples} bands, which are not those of its colours"
    return None


def _of_pnm(file: BinaryIO) -> str | None:
    highest = _highest_level(file)
    if highest not in (None, _HIGHEST):
        return f"has levels that end at {highest}, not at {_HIGHEST}"
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
