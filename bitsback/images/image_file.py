"""Image files through Pillow: their pixels, mode and metadata as it reads them, and written again.

`bitsback.keeping` decides which files come back from their pixels; what is here makes pixels of
lossy files for those who ask for it, and writes files of versions before 5, other formats, results.
Palette images, and images of which one colour is transparent, become the RGB or RGBA pixels that
they show. Of images with 16 bits a channel only gray ones are read, since Pillow cuts colour down
to 8 bits.

The metadata that are kept: the chunks of a PNG (see `png.kept`), where they were; of the other
formats EXIF, the colour profile and XMP (of a TIFF the tags that do not describe its layout, with
EXIF).
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bitsback.errors import FormatError, InputError
from bitsback.format import sidecar
from bitsback.format.sidecar import Record

from . import bit_depth, metadata, png

_READ = ("PNG", "BMP", "PPM", "TIFF", "WEBP", "JPEG", "GIF")
#: suffixes of files that must be images
SUFFIXES = {
    *(".png", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".tif", ".tiff", ".webp", ".jpg", ".jpeg", ".gif"),
}
HEAD_BYTES = 16  # by which a file's format is told
_BEGINNINGS = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)
DEEP = "I;16"  # gray of 16 bits, of which the high ones make an image
_DEEP = {DEEP, "I;16B", "I;16L"}
#: modes of 16 bits, of which the high ones make an image
DEEP_MODES = {DEEP: 1, "LA;16": 2, "RGB;16": 3, "RGBA;16": 4}
#: channels of an image by its mode; "P" are indices of a palette, which is in the recipe
CHANNELS = {"1": 1, "L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4, **DEEP_MODES}
_PILLOWS = frozenset({"1", "L", "LA", "RGB", "RGBA", DEEP})
_EVERY_MODE = frozenset({"1", "L", "RGB"})
# What Pillow writes without loss, and the modes that come back from it as they were.
_WRITE: dict[str, tuple[str, frozenset[str], dict[str, Any]]] = {
    ".png": ("PNG", _PILLOWS, {"optimize": True}),
    ".bmp": ("BMP", _EVERY_MODE, {}),
    ".tif": ("TIFF", _PILLOWS, {}),
    ".tiff": ("TIFF", _PILLOWS, {}),
    ".webp": ("WEBP", frozenset({"RGB", "RGBA"}), {"lossless": True, "exact": True}),
    ".ppm": ("PPM", frozenset({"RGB"}), {}),
    ".pgm": ("PPM", frozenset({"L"}), {}),
    ".pbm": ("PPM", frozenset({"1"}), {}),
    ".pnm": ("PPM", _EVERY_MODE, {}),
}


@dataclass(frozen=True)
class Decoded:
    """What an image file holds.

    Args:
        pixels: (H, W, C) uint8, C as `CHANNELS` has it; mode "1" holds 0 and 1, `DEEP` the high
            bits.
        mode: a key of `CHANNELS`.
        metadata: records (see `bitsback.format.sidecar`).
        levels: of mode `DEEP`, (H, W) uint16; None of others.
    """

    pixels: NDArray[np.uint8]
    mode: str
    metadata: tuple[Record, ...]
    levels: NDArray[np.uint16] | None = None

    @property
    def sidecar(self) -> tuple[Record, ...]:
        """Everything that the pixels do not hold: metadata, and low bits, which are coded here."""
        if self.levels is None:
            return self.metadata
        return ((sidecar.LOW, bit_depth.low(self.levels)), *self.metadata)


def looks_like_image(head: bytes, name: str) -> bool:
    """Whether a file has an image's suffix, or begins as an image does.

    Args:
        head: its first `HEAD_BYTES` bytes, or more.
    """
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_pnm = head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3].isspace()
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in SUFFIXES or head.startswith(_BEGINNINGS) or is_webp or is_pnm


def decode_image(file: BinaryIO, name: str, first: bool = False) -> Decoded:
    """Read an image file that is open.

    Args:
        name: what an error calls it.
        first: whether the first image of several will do.

    Raises:
        InputError: not an image, damaged, or of a kind whose pixels are not levels of its modes.
    """
    try:
        with warnings.catch_warnings():
            # Large images are welcome; Pillow still refuses truly absurd sizes.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=_READ) as image:
                _refuse_lossy(name, image, first)
                mode, same = _mode_of(image)
                same_depth = not _is_shallow(image)  # known until the pixels are loaded
                # np.asarray makes bool of mode "1".
                values = np.array(image if same else image.convert(mode))
                records = metadata.records_of(image, file, same and same_depth)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not an image that can be read") from error
    except Exception as error:  # Pillow's plugins raise whatever their parsers run into
        raise InputError(f"{name} cannot be read as an image: {error}") from error
    levels = values.astype(np.uint16) if mode == DEEP else None
    pixels = values.astype(np.uint8) if levels is None else bit_depth.high(levels)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return Decoded(pixels, mode, tuple(records), levels)


def full_depth(pixels: NDArray[np.uint8], mode: str, data: bytes) -> NDArray[np.uint8 | np.uint16]:
    """The levels of an image: (H, W, C) uint16 of `DEEP_MODES`, the pixels themselves otherwise.

    Args:
        pixels: (H, W, C) uint8.
        mode: a key of `CHANNELS`.
        data: its sidecar.

    Raises:
        FormatError: it lacks its low bits, or they are damaged.
    """
    if mode not in DEEP_MODES:
        return pixels
    low = sidecar.find(sidecar.unpack(data), sidecar.LOW)
    if low is None:
        raise FormatError("an image of 16 bits lacks its low bits")
    return bit_depth.join(pixels.reshape(len(pixels), -1), low).reshape(pixels.shape)


def write_image(
    file: BinaryIO, pixels: NDArray[np.uint8], mode: str, suffix: str, data: bytes = b""
) -> None:
    """Write an image file's bytes; the inverse of `decode_image`.

    Args:
        file: open for writing.
        pixels: (H, W, C) uint8; for mode "1" any value but 0 is a 1.
        mode: a key of `CHANNELS`.
        suffix: of the file's name; it says which format to write.
        data: its sidecar, as bytes.

    Raises:
        InputError: the suffix is of no format that keeps these pixels, this mode, or the rest.
        FormatError: its sidecar is damaged.
    """
    check_suffix(suffix, mode)
    kind, _, options = _WRITE[suffix.lower()]
    values = full_depth(pixels, mode, data)
    if mode == "1":
        image = Image.fromarray(values[:, :, 0] != 0)
    else:
        image = Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values)
    others = (sidecar.LOW, sidecar.IMAGE, sidecar.FILE, sidecar.TAR, sidecar.TREE)
    records = [record for record in sidecar.unpack(data) if record[0] not in others]
    if not can_hold(suffix, mode, {record[0] for record in records}):
        raise InputError(
            f"a {suffix} file cannot hold the metadata of this image; name the output *.png"
        )
    if not records:
        image.save(file, kind, **options)
        return
    # In memory, so that what fails there is the metadata, and what fails below is the disk.
    out = io.BytesIO()
    wrong = f"the metadata of an image is damaged, or does not suit a {suffix} file"
    try:
        image.save(out, kind, **options, **metadata.options_for(kind, records))
        whole = out.getvalue()
        whole = png.with_chunks(whole, metadata.of_png(records)) if kind == "PNG" else whole
        back = decode_image(io.BytesIO(whole), "it")
        again = back.pixels if back.levels is None else back.levels[:, :, None]
    except Exception as error:  # Pillow's plugins raise whatever their parsers run into
        raise FormatError(f"{wrong}: {error}") from error
    if not np.array_equal(again, values != 0 if mode == "1" else values):
        raise FormatError(f"{wrong}: the pixels are read otherwise with it")
    file.write(whole)


def check_metadata(mode: str, records: tuple[Record, ...], suffix: str) -> None:
    """Raise InputError unless an image's metadata can be written again.

    Args:
        suffix: of the file that is to hold them.
    """
    if not records:
        return
    mode = "L" if mode == DEEP else mode
    probe = np.zeros((2, 3, CHANNELS[mode]), np.uint8)
    probe[0, 0] = 1  # EXIF can turn an image
    try:
        write_image(io.BytesIO(), probe, mode, suffix, sidecar.pack(records))
    except FormatError as error:
        raise InputError(f"its metadata cannot be kept: {error}") from error


def is_lossless(suffix: str, mode: str) -> bool:
    """Whether a file with this suffix can hold pixels of this mode exactly."""
    return suffix.lower() in _WRITE and mode in _WRITE[suffix.lower()][1]


def can_hold(suffix: str, mode: str, kinds: set[bytes]) -> bool:
    """Whether a file with this suffix can hold such pixels, and records of these kinds."""
    if not is_lossless(suffix, mode):
        return False
    kind = _WRITE[suffix.lower()][0]
    general = set(metadata.GENERAL) if kind in ("TIFF", "WEBP") else set()
    return kind == "PNG" or kinds <= general


def check_suffix(suffix: str, mode: str) -> None:
    """Raise InputError, with the remedy, unless `is_lossless`."""
    if not is_lossless(suffix, mode):
        name = f"a {suffix} file" if suffix else "a file without a suffix"
        raise InputError(f"{name} cannot hold this image exactly; name the output *.png")


def _refuse_lossy(name: str, image: Image.Image, first: bool) -> None:
    if getattr(image, "n_frames", 1) > 1 and not first:
        raise InputError(f"{name} holds several images")
    if image.mode not in CHANNELS.keys() | {"P", "PA"} | _DEEP:
        raise InputError(
            f"{name} has pixels of mode {image.mode}, which are no levels of gray or RGB"
        )
    if image.mode in _DEEP:
        if "transparency" in image.info:
            raise InputError(f"{name} has transparent pixels of 16 bits")
    elif _is_deep(image):
        raise InputError(f"{name} has more than 8 bits a channel, which Pillow would cut off")


def _mode_of(image: Image.Image) -> tuple[str, bool]:
    """The mode that an image's pixels are kept in, and whether it is the image's own."""
    clear = "transparency" in image.info
    match image.mode:
        case "P":
            return ("RGBA" if clear else "RGB"), False
        case "PA":
            return "RGBA", False
        case "RGB" if clear:
            return "RGBA", False
        case "1" | "L" if clear:
            return "LA", False
        case mode if mode in _DEEP:
            return DEEP, True
    return image.mode, True


def _is_deep(image: Image.Image) -> bool:
    """Whether Pillow is about to cut pixels of 16 bits down to 8, which it does silently."""
    for codec, _, _, args in getattr(image, "tile", ()):
        if ";16" in str(args):
            return True
        if codec in ("ppm", "ppm_plain"):
            values = args if isinstance(args, tuple) else (args,)
            if any(isinstance(value, int) and value > 255 for value in values):
                return True
    return False


def _is_shallow(image: Image.Image) -> bool:
    """Whether Pillow makes 8 bits of gray levels of 2 or 4."""
    return any(str(args) in ("L;2", "L;4") for _, _, _, args in getattr(image, "tile", ()))
