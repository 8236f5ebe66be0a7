"""JPEG, JPEG 2000, WebP and JPEG XL at the size that an image is to have."""

import dataclasses
import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bitsback.errors import InputError

Encode = Callable[[NDArray[np.uint8], float], bytes]
Decode = Callable[[bytes], NDArray[np.uint8]]
_HALVINGS = 9


@dataclasses.dataclass(frozen=True)
class Peer:
    """A codec with one dial.

    Args:
        encode: an image (H, W, 3) uint8 at a setting, to bytes.
        decode: the bytes, to the image.
        worst, best: ends of the dial; sizes rise from the first to the second.
        whole: whether settings are whole numbers.
    """

    name: str
    encode: Encode
    decode: Decode
    worst: float
    best: float
    whole: bool = False

    def within(self, image: NDArray[np.uint8], size: float) -> bytes | None:
        """The largest code of at most `size` bytes that halving the dial finds; None for none."""
        low, high = self.worst, self.best
        largest = self.encode(image, low)
        if len(largest) > size:
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            setting = round(middle) if self.whole else middle
            code = self.encode(image, setting)
            if len(code) <= size:
                low = middle
                largest = code if len(code) >= len(largest) else largest
            else:
                high = middle
        return largest


def peers() -> list[Peer]:
    """The codecs, each at its slowest practical effort.

    Raises:
        InputError: imagecodecs is not installed.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise InputError("the peers need imagecodecs: pip install 'bitsback[bench]'") from error

    def jxl(image: NDArray[np.uint8], setting: float) -> bytes:
        return bytes(imagecodecs.jpegxl_encode(image, distance=-setting, effort=7))

    def jpeg2000(image: NDArray[np.uint8], setting: float) -> bytes:
        # A reduction in size: the codestream alone, with as few levels as the image bears.
        levels = min(6, max(1, int(np.log2(min(image.shape[:2]))) - 1))
        return _save(
            image, "JPEG2000", quality_mode="rates", quality_layers=[2.0**-setting],
            irreversible=True, no_jp2=True, num_resolutions=levels,
        )  # fmt: skip

    def jpeg(image: NDArray[np.uint8], setting: float) -> bytes:
        return _save(image, "JPEG", quality=int(setting), optimize=True, progressive=True)

    def webp(image: NDArray[np.uint8], setting: float) -> bytes:
        return _save(image, "WEBP", quality=int(setting), method=6)

    return [
        Peer("JPEG", jpeg, _open, 1, 100, whole=True),
        Peer("JPEG 2000", jpeg2000, _open, -12.0, 0.0),
        Peer("WebP", webp, _open, 0, 100, whole=True),
        Peer("JPEG XL", jxl, lambda data: np.asarray(imagecodecs.jpegxl_decode(data)), -25.0, -0.1),
    ]


def _save(image: NDArray[np.uint8], kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def _open(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
