"""EXIF, colour profile, XMP and text of image files, as records, and how Pillow writes them."""

from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from bitsback.format import sidecar
from bitsback.format.sidecar import Record

from . import png

#: kinds that are not of one format alone
GENERAL = (sidecar.EXIF, sidecar.ICC, sidecar.XMP)
_XMP_TAG, _IFDS = 700, (0x8769, 0x8825)  # EXIF and GPS
# The layout of a TIFF's pixels, and XMP, which is a record of its own.
_LAYOUT_TAGS = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322),
    *(323, 324, 325, 330, 338, 339, 347, 34675, _XMP_TAG),
}


def records_of(image: Image.Image, file: BinaryIO, same_mode: bool) -> list[Record]:
    """The metadata of an image whose pixels are loaded.

    Args:
        file: that the image was opened from.
        same_mode: whether the pixels are kept in the file's own mode and depth.
    """
    if image.format == "PNG":
        file.seek(0)
        return png.kept(file.read(), same_mode)
    info = image.info
    exif = _tags(image) if image.format == "TIFF" else info.get("exif")
    fields = [
        (sidecar.EXIF, exif),
        (sidecar.ICC, info.get("icc_profile")),
        (sidecar.XMP, info.get("xmp")),
    ]
    return [(kind, bytes(data)) for kind, data in fields if data]


def _tags(image: Image.Image) -> bytes:
    """The tags of a TIFF that do not describe the layout of its pixels, as EXIF."""
    tags, kept = image.getexif(), Image.Exif()
    for tag, value in tags.items():
        if tag not in _LAYOUT_TAGS:
            kept[tag] = tags.get_ifd(tag) if tag in _IFDS else value
    return kept.tobytes() if len(kept) else b""


def options_for(kind: str, records: list[Record]) -> dict[str, Any]:
    """Arguments for Pillow's `save` that write EXIF, colour profile and XMP.

    Args:
        kind: Pillow's name of the format.
    """
    contents = dict(records)
    options: dict[str, Any] = {}
    if sidecar.ICC in contents:
        options["icc_profile"] = contents[sidecar.ICC]
    if kind == "TIFF" and contents.keys() & {sidecar.EXIF, sidecar.XMP}:
        exif = Image.Exif()
        exif.load(contents.get(sidecar.EXIF, b""))
        if sidecar.XMP in contents:
            exif[_XMP_TAG] = contents[sidecar.XMP]
        options["exif"] = exif
    elif sidecar.EXIF in contents:
        options["exif"] = contents[sidecar.EXIF]
    if kind == "WEBP" and sidecar.XMP in contents:
        options["xmp"] = contents[sidecar.XMP]
    elif kind == "PNG" and sidecar.XMP in contents:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        text = contents[sidecar.XMP].decode("utf-8", "replace")
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", text)
    return options


def of_png(records: list[Record]) -> list[Record]:
    """The records that are chunks of a PNG."""
    return [record for record in records if record[0] not in GENERAL]
