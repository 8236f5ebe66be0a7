"""EXIF, colour profile, XMP and text of image files, as records, and how Pillow writes them."""

from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin

from bitsback.format import sidecar
from bitsback.format.sidecar import Record

from . import png

#: kinds that are not of one format alone
GENERAL = (sidecar.EXIF, sidecar.ICC, sidecar.XMP)
_XMP_TAG, _IFDS = 700, (0x8769, 0x8825)  # EXIF and GPS
# What a TIFF says of how its pixels lie in it, and what is kept as a record of its own.
_LAYOUT_TAGS = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322),
    *(323, 324, 325, 330, 338, 339, 347, 34675, _XMP_TAG),
}


def records_of(image: Image.Image, file: BinaryIO, same_mode: bool) -> list[Record]:
    """What an image has beside its pixels, which are loaded."""
    if image.format == "PNG":
        file.seek(0)
        return png.kept(file.read(), same_mode)
    info = image.info
    exif = _tags(image) if image.format == "TIFF" else info.get("exif")
    found = [(sidecar.EXIF, exif), (sidecar.ICC, info.get("icc_profile"))]
    found.append((sidecar.XMP, info.get("xmp")))
    return [(kind, bytes(data)) for kind, data in found if data]


def _tags(image: Image.Image) -> bytes:
    """The tags of a TIFF that do not say how its pixels lie in it, as EXIF."""
    had, found = image.getexif(), Image.Exif()
    for tag, value in had.items():
        if tag not in _LAYOUT_TAGS:
            found[tag] = had.get_ifd(tag) if tag in _IFDS else value
    return found.tobytes() if len(found) else b""


def options_for(kind: str, records: list[Record]) -> dict[str, Any]:
    """What Pillow's `save` is told of EXIF, colour profile and XMP."""
    found = dict(records)
    options: dict[str, Any] = {}
    if sidecar.ICC in found:
        options["icc_profile"] = found[sidecar.ICC]
    if kind == "TIFF" and found.keys() & {sidecar.EXIF, sidecar.XMP}:
        exif = Image.Exif()
        exif.load(found.get(sidecar.EXIF, b""))
        if sidecar.XMP in found:
            exif[_XMP_TAG] = found[sidecar.XMP]
        options["exif"] = exif
    elif sidecar.EXIF in found:
        options["exif"] = found[sidecar.EXIF]
    if kind == "WEBP" and sidecar.XMP in found:
        options["xmp"] = found[sidecar.XMP]
    elif kind == "PNG" and sidecar.XMP in found:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        text = found[sidecar.XMP].decode("utf-8", "replace")
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", text)
    return options


def of_png(records: list[Record]) -> list[Record]:
    """The records that are chunks of a PNG."""
    return [record for record in records if record[0] not in GENERAL]
