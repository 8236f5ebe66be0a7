"""A prediction of a file's size and of the time that it takes, before hours are spent.

A sample of images, spread over the set, is compressed and its bits are scaled up; of large images
the middles are. The overhead of a chunk counts once for each chunk of the set.
"""

import dataclasses
import math
import time

import numpy as np

from bitsback.chunks.plan import Settings
from bitsback.coding.model import LoadedModel
from bitsback.format.payload import pack_payload
from bitsback.images.image_set import ImageSet, picked
from bitsback.images.manifest import FilesManifest
from bitsback.images.outcomes import Kept
from bitsback.progress import Progress

from .. import writer

SAMPLE_VALUES = 1 << 21
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A prediction.

    Args:
        images, sampled: images of the set, and of the sample.
        size: of the file, bytes.
        error: standard error of the size, bytes, from the scatter over the sample's batches; None
            where a classical code was smaller than the model's.
        seconds: of compressing on this machine, as busy as it is now.
    """

    images: int
    sampled: int
    size: float
    error: float | None
    seconds: float

    def __str__(self) -> str:
        error = "" if self.error is None else f" (standard error {self.error:,.0f})"
        return (
            f"about {self.size:,.0f} bytes{error} and {spell(self.seconds)}, "
            f"from {self.sampled} of {self.images} images"
        )


def estimate(
    images: ImageSet,
    loaded: LoadedModel,
    settings: Settings,
    *,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Predict what `writer.compress_to` would give.

    Args:
        chunk: images per chunk, as there.
        progress: called with (values of the sample done, values in it).

    Raises:
        InputError: the model cannot code such images.
    """
    beside = sum(block.size for block in images.blocks)
    if not len(images.pixels):
        return Estimate(0, 0, beside, None, 0.0)
    sizes = images.manifest.sizes()
    count, values = len(sizes), int(sizes.sum())
    wanted = min(count, max(16, math.ceil(SAMPLE_VALUES * count / values)))
    numbers = np.unique(np.linspace(0, count - 1, wanted).round().astype(int))
    sample = picked(images, numbers.tolist())
    coded = _middles(sample) if sizes[numbers].sum() > 2 * SAMPLE_VALUES else sample
    began = time.perf_counter()
    written = writer.compress_set(
        coded,
        loaded,
        settings,
        chunk=chunk,
        progress=progress,
    )
    report = written.report
    seconds = time.perf_counter() - began
    share = values / sum(image.size for image in coded.pixels)
    chunks, sampled = (len(writer.parts_of(chosen, chunk)) for chosen in (images, coded))
    overhead = report.overhead_bits / sampled * chunks
    sidecars = pack_payload({}, sample.packed, b"") if sample.sidecars is not None else b""
    manifest = pack_payload(images.manifest.to_json(), images.extra, b"")
    names = 8 * (len(manifest) + len(sidecars) * count / len(numbers))
    pixels = (report.file_bits - report.overhead_bits - report.payload_bits) * share
    rates = np.array([batch.net_bits / batch.images for batch in report.batches])
    error = None
    if len(rates) > 1:
        error = float(rates.std()) / math.sqrt(len(rates)) * report.chained_images * share / 8
    return Estimate(
        images=count,
        sampled=len(numbers),
        size=(pixels + names + overhead) / 8 + beside + _carried(coded, written.kept) * share,
        error=error,
        seconds=seconds * share,
    )


def _middles(images: ImageSet) -> ImageSet:
    """The middles of large images, some `SAMPLE_VALUES` in all, without what they have beside."""
    side = math.isqrt(SAMPLE_VALUES // sum(image.shape[2] for image in images.pixels))
    pixels = []
    for image in images.pixels:
        top, left = (max(0, size - side) // 2 for size in image.shape[:2])
        pixels.append(image[top : top + side, left : left + side])
    manifest = FilesManifest(
        "folder",
        tuple(f"{number}.png" for number in range(len(pixels))),
        tuple("1" if images.binary else _MODES[image.shape[2]] for image in pixels),
        tuple(image.shape for image in pixels),
    )
    return ImageSet(pixels, images.binary, manifest)


def _carried(sample: ImageSet, kept: Kept) -> int:
    """Bytes of a sample's files whose pixels took more than they."""
    if sample.originals is None or not isinstance(sample.manifest, FilesManifest):
        return 0
    numbers = {name: number for number, name in enumerate(sample.manifest.names)}
    late = kept.carried[len(sample.kept.carried) :]
    return sum(len(sample.originals[numbers[each.name]]) for each in late)


def spell(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
