"""One image file: its pixels and mode through Pillow, and back without loss.

Palette images without transparency are taken as the RGB pixels that they show, and come back as
RGB; a JPEG is taken as its decoded pixels, and comes back as PNG.
"""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bitsback.errors import InputError

_READ = ("PNG", "BMP", "PPM", "TIFF", "WEBP", "JPEG", "GIF")
_EVERY_MODE = frozenset({"1", "L", "RGB"})
# What Pillow writes without loss, and the modes that come back from it as they were.
_WRITE: dict[str, tuple[str, frozenset[str], dict[str, object]]] = {
    ".png": ("PNG", _EVERY_MODE, {"optimize": True}),
    ".bmp": ("BMP", _EVERY_MODE, {}),
    ".tif": ("TIFF", _EVERY_MODE, {}),
    ".tiff": ("TIFF", _EVERY_MODE, {}),
    ".webp": ("WEBP", frozenset({"RGB"}), {"lossless": True, "exact": True}),
    ".ppm": ("PPM", frozenset({"RGB"}), {}),
    ".pgm": ("PPM", frozenset({"L"}), {}),
    ".pbm": ("PPM", frozenset({"1"}), {}),
    ".pnm": ("PPM", _EVERY_MODE, {}),
}


def read_picture(path: Path) -> tuple[NDArray[np.uint8], str]:
    """Read an image file.

    Args:
        path: an image file that Pillow reads to 8-bit gray, RGB or 1-bit pixels.

    Returns:
        The pixels, (H, W, C) uint8 with C 1 or 3 (mode "1" holds 0 and 1), and the mode: "L",
        "RGB" or "1".

    Raises:
        InputError: missing, not an image, damaged, or of a kind that would lose something.
    """
    try:
        with warnings.catch_warnings():
            # Large pictures are welcome; Pillow still refuses truly absurd sizes.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_READ) as picture:
                _refuse_lossy(path, picture)
                mode = "RGB" if picture.mode == "P" else picture.mode
                # np.asarray makes bool of mode "1".
                pixels = np.array(picture.convert(mode)).astype(np.uint8)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not an image that can be read") from error
    except Exception as error:  # Pillow's plugins raise whatever their parsers run into
        raise InputError(f"{path} cannot be read as an image: {error}") from error
    return (pixels[:, :, None] if pixels.ndim == 2 else pixels), mode


def write_picture(file: BinaryIO, pixels: NDArray[np.uint8], mode: str, suffix: str) -> None:
    """Write an image file's bytes; the inverse of `read_picture`.

    Args:
        file: open for writing.
        pixels: (H, W, C) uint8; for mode "1" any value but 0 is a 1.
        mode: "L", "RGB" or "1".
        suffix: of the file's name; it says which format to write.

    Raises:
        InputError: the suffix is of no format that keeps these pixels and this mode.
    """
    check_suffix(suffix, mode)
    kind, _, options = _WRITE[suffix.lower()]
    if mode == "1":
        picture = Image.fromarray(pixels[:, :, 0] != 0)
    else:
        picture = Image.fromarray(pixels if mode == "RGB" else pixels[:, :, 0])
    picture.save(file, kind, **options)


def is_lossless(suffix: str, mode: str) -> bool:
    """Whether a file with this suffix can hold pixels of this mode exactly."""
    return suffix.lower() in _WRITE and mode in _WRITE[suffix.lower()][1]


def check_suffix(suffix: str, mode: str) -> None:
    """Raise InputError, with the remedy, unless `is_lossless`."""
    if not is_lossless(suffix, mode):
        name = f"a {suffix} file" if suffix else "a file without a suffix"
        raise InputError(f"{name} cannot hold this picture exactly; name the output *.png")


def _refuse_lossy(path: Path, picture: Image.Image) -> None:
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise InputError(f"{path} holds several pictures; save each as a file of its own")
    if picture.mode not in _EVERY_MODE | {"P"}:
        raise InputError(
            f"{path} has pixels of mode {picture.mode}; "
            "only 8-bit gray, 8-bit RGB and 1-bit images can be compressed"
        )
    if "transparency" in picture.info:
        raise InputError(f"{path} has transparent pixels; only opaque images can be compressed")
    if _is_deep(picture):
        raise InputError(f"{path} has more than 8 bits a channel; convert it to 8 bits first")


def _is_deep(picture: Image.Image) -> bool:
    """Whether Pillow is about to cut RGB pixels of 16 bits down to 8, which it does silently."""
    for codec, _, _, args in getattr(picture, "tile", ()):
        if ";16" in str(args):
            return True
        if codec in ("ppm", "ppm_plain"):
            values = args if isinstance(args, tuple) else (args,)
            if any(isinstance(value, int) and value > 255 for value in values):
                return True
    return False
