"""Sizes and speeds of one set of images under bitsback and its peers, in one run.

Every row is decoded again and compared. The image codecs run twice: every image alone, as
archives usually hold them, and all images of one size as one mosaic, which spares them their
headers and lets them learn across images. zstd and xz take the raw arrays. Binary images are packed
for them, eight pixels of a row in a byte, which makes xz's code a sixth smaller.
"""

import dataclasses
import io
import logging
import lzma
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bitsback.chunks.plan import Settings
from bitsback.coding.model import LoadedModel, Model
from bitsback.errors import BitsbackError, InputError
from bitsback.images import classical
from bitsback.images.image_set import ImageSet
from bitsback.progress import Progress
from bitsback.tiles import mosaic

from .sets import round_trip

_log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
"""An image, (H, W, C), or as a codec takes or gives it."""
Encode = Callable[[Pixels], bytes]
Decode = Callable[[bytes], Pixels]


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another codec, and the images as it takes them: each alone, as mosaics, or all as one."""

    name: str
    images: list[Pixels]
    encode: Encode
    decode: Decode


@dataclasses.dataclass(frozen=True)
class Row:
    """What one codec makes of the whole set.

    Args:
        name: of the codec, and whether it took the images alone or as a mosaic.
        size: bytes in all, without any archive's own overhead.
        encode_seconds, decode_seconds: wall time, on the threads that the codec takes.
    """

    name: str
    size: int
    encode_seconds: float
    decode_seconds: float


@dataclasses.dataclass(frozen=True)
class Bench:
    """All rows, bitsback's first.

    Args:
        images, dims: images, and their values in all.
        model_share: of the values, went through the model; the rest are in a classical code.
        network_share: of bitsback's encoding time that its network took.
        peak_memory: of the whole process after bitsback's row, before any peer ran; bytes.
        net_bits, kl_bits: of bitsback's chain.
        match: whether these two match, part by part; None if the chain coded nothing.
    """

    images: int
    dims: int
    rows: tuple[Row, ...]
    model_share: float
    network_share: float
    peak_memory: int
    net_bits: float
    kl_bits: float
    match: bool | None

    def bits_per_dim(self, row: Row) -> float:
        """Size of a row in bits per value."""
        return 8 * row.size / self.dims

    def to_dict(self) -> dict[str, object]:
        """The bench as JSON holds it; ratios are a row over bitsback's."""
        first = self.rows[0]
        fields: dict[str, object] = dataclasses.asdict(self)
        fields["rows"] = [
            dataclasses.asdict(row)
            | {
                "bits_per_dim": self.bits_per_dim(row),
                "size_ratio": row.size / first.size,
                "encode_seconds_ratio": row.encode_seconds / first.encode_seconds,
                "decode_seconds_ratio": row.decode_seconds / first.decode_seconds,
            }
            for row in self.rows
        ]
        return fields


class TimedModel:
    """A model that adds up the time spent in it: the network's share of coding."""

    def __init__(self, model: Model[Any, Any]) -> None:
        self.groups, self.passes = model.groups, model.passes
        self.seconds = 0.0
        names = ["start", "observe", "prior", "posterior", "step", "likelihood", "reveal"]
        for name in [*names, *["infer"] * any(group.bottom_up for group in model.groups)]:
            setattr(self, name, self._timed(getattr(model, name)))

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


def run(
    images: ImageSet,
    loaded: LoadedModel,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Bench:
    """Compress a set with bitsback and with every peer.

    Raises:
        InputError: the set cannot be coded, or imagecodecs is not installed.
        BitsbackError: a codec did not give the images back.
    """
    # Pixels are compared: none of the others is given metadata.
    images = round_trip.pixels_of(images, "a comparison with other codecs")
    peers = peers_of(images)
    timed = TimedModel(loaded.model)
    measured = dataclasses.replace(loaded, model=cast("Model[Any, Any]", timed))
    encoded = round_trip.encode(images, measured, Settings(batch), progress=progress)
    packed, share = encoded.packed, timed.seconds / encoded.seconds.wall
    decoding = round_trip.decode(packed.data, images, measured)
    rows = [Row("bitsback", len(packed.data), encoded.seconds.wall, decoding.wall)]
    memory = peak_memory()
    check = packed.report.check()
    for peer in peers:
        _tell(rows[-1])
        rows.append(measure(peer.name, peer.images, peer.encode, peer.decode))
    _tell(rows[-1])
    return Bench(
        images=len(images.pixels),
        dims=sum(p.size for p in images.pixels),
        rows=tuple(rows),
        model_share=packed.report.chained_dims / packed.report.dims,
        network_share=share,
        peak_memory=memory,
        net_bits=packed.report.net_bits,
        kl_bits=packed.report.kl_bits,
        match=check.passed if check.measured else None,
    )


def _tell(row: Row) -> None:
    told = "%s: %d bytes, encoded in %.2f s, decoded in %.2f s"
    _log.info(told, row.name, row.size, row.encode_seconds, row.decode_seconds)


def peak_memory() -> int:
    """Largest resident size of this process so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(name: str, images: list[Pixels], encode: Encode, decode: Decode) -> Row:
    """Encode and decode images one after another, and compare them.

    Raises:
        BitsbackError: the codec did not give the images back.
    """
    began = time.perf_counter()
    coded = [encode(image) for image in images]
    middle = time.perf_counter()
    decoded = [decode(code) for code in coded]
    ended = time.perf_counter()
    _compare(name, images, [_like(d, p.shape) for d, p in zip(decoded, images, strict=True)])
    return Row(name, sum(map(len, coded)), middle - began, ended - middle)


def _like(decoded: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Decoded levels in an image's shape; WebP gives gray back as three equal channels."""
    if decoded.size == 3 * int(np.prod(shape)):
        decoded = decoded[:, :, 0]
    return decoded.reshape(shape)


def _compare(name: str, images: list[Pixels], decoded: list[Pixels]) -> None:
    if not all(np.array_equal(p, d) for p, d in zip(images, decoded, strict=True)):
        raise BitsbackError(f"{name} did not give the images back")


def peers_of(images: ImageSet) -> list[Peer]:
    """The peers of bitsback on a set.

    Raises:
        InputError: imagecodecs is not installed.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise InputError(
            "bench needs imagecodecs for its peers: pip install 'bitsback[bench]'"
        ) from error

    binary = images.binary
    codecs: dict[str, tuple[Encode, Decode]] = {
        "PNG": (lambda x: _save(x, binary, "PNG", optimize=True), lambda d: _open(d, binary)),
        "WebP": (
            lambda x: _save(x, binary, "WEBP", lossless=True, quality=100, method=6, exact=True),
            lambda d: _open(d, binary),
        ),
        "JPEG XL": (
            lambda x: bytes(imagecodecs.jpegxl_encode(_levels(x, binary), lossless=True, effort=9)),
            lambda d: _from_levels(imagecodecs.jpegxl_decode(d), binary),
        ),
    }
    mosaics = _mosaics(list(images.pixels))
    peers = []
    for name, pair in codecs.items():
        for suffix, taken in (("", images.pixels), (", mosaic", mosaics)):
            side = max(max(p.shape[:2]) for p in taken)
            pixels = max(p.shape[0] * p.shape[1] for p in taken)
            fits = side <= classical.MAX_SIDE and pixels <= classical.MAX_AREA
            repeated = suffix and len(mosaics) == len(images.pixels)
            if fits and not repeated:
                peers.append(Peer(name + suffix, list(taken), *pair))
    packed = [np.packbits(p[:, :, 0], axis=1) if binary else p for p in images.pixels]
    raw, form = [np.concatenate([p.ravel() for p in packed])], "bits" if binary else "raw"
    general: dict[str, tuple[Encode, Decode]] = {
        f"zstd -19, {form}": (
            lambda x: bytes(imagecodecs.zstd_encode(x.tobytes(), level=19)),
            lambda d: np.frombuffer(imagecodecs.zstd_decode(d), np.uint8),
        ),
        f"xz -9, {form}": (
            lambda x: lzma.compress(x.tobytes(), preset=9),
            lambda d: np.frombuffer(lzma.decompress(d), np.uint8),
        ),
    }
    return peers + [Peer(name, raw, *pair) for name, pair in general.items()]


def _mosaics(images: list[Pixels]) -> list[Pixels]:
    """The images of every size as one, filled up with black."""
    sizes: dict[tuple[int, ...], list[Pixels]] = {}
    for image in images:
        sizes.setdefault(image.shape, []).append(image)
    return [mosaic.join(np.stack(group)) for group in sizes.values()]


def _levels(image: Pixels, binary: bool) -> Pixels:
    gray = image[:, :, 0] if image.shape[2] == 1 else image
    return gray * np.uint8(255) if binary else gray


def _from_levels(levels: Pixels, binary: bool) -> Pixels:
    return (levels != 0).astype(np.uint8) if binary else levels


def _save(pixels: Pixels, binary: bool, kind: str, **options: Any) -> bytes:
    image = classical.to_image(pixels, binary)
    if kind == "WEBP":
        image = image.convert("RGB")
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _open(data: bytes, binary: bool) -> Pixels:
    return _from_levels(np.asarray(Image.open(io.BytesIO(data))).astype(np.uint8), binary)
