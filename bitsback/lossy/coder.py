"""Storing the first latents of images, and generating the others.

    encode: z_t ~ q for every stored step, the rest at the means of their priors; k under p
    decode: the same walk, k popped; then once more, with the other latents drawn from their priors
    image: the means of the canvas

The model's posterior must have a constant width. Nothing is then popped under it, and the decoder,
which does not know x, has no bits to give back.

Source: section 3 (the first scheme) and 4.3 of Gregor et al., arXiv:1604.08772.
"""

import dataclasses
import logging
from collections.abc import Sequence
from numbers import Real
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.coding.model import LoadedModel
from bitsback.errors import FormatError, InputError, ModelError, whole_number

from . import regions, stack
from .container import (
    CHECKSUM,
    LARGEST,
    LossyHeader,
    batch_size,
    model_bits,
    pack,
    sealed,
    unpack,
)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Coded:
    """The latents of one image, for all groups that may be stored.

    Args:
        rows, columns: of the prior's table, for each region of the image and each group,
            (C, h, w), uint16 and uint8.
        bits: -log2 p of each group's columns, (groups,) float64: the KL of a posterior of constant
            width.
    """

    rows: tuple[tuple[NDArray[np.uint16], ...], ...]
    columns: tuple[tuple[NDArray[np.uint8], ...], ...]
    bits: NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A lossy file, and what its latents should cost.

    Args:
        data: the bytes of the file.
        steps: that are stored.
        promised_bits: the KL of what is stored, summed over the images.
        images, dims: images, and their values in all.
        header_bytes: of the file, its checksum and filler included; 6 for a square image whose
            sides are below 128.
    """

    data: bytes
    steps: int
    promised_bits: float
    images: int
    dims: int
    header_bytes: int

    @property
    def bits_per_dim(self) -> float:
        """Of the file."""
        return 8 * len(self.data) / self.dims

    @property
    def matches(self) -> bool:
        """Whether the file's bits are the KL, within 2 % and 8 bytes an image.

        Of these, 4 are for the smallest header; what a larger one takes beyond is allowed for.
        """
        difference = abs(8 * len(self.data) - self.promised_bits)
        larger = 8 * (self.header_bytes - 4)
        return difference <= 0.02 * self.promised_bits + 64 * self.images + larger


def check_model(loaded: LoadedModel) -> None:
    """Make sure that a model's latents can be stored alone.

    Raises:
        ModelError: they cannot.
    """
    if not loaded.constant_width:
        raise ModelError(
            f"model {loaded.name!r} cannot store latents alone: its posterior's width depends on "
            "the image, and bits that it takes could not be given back; use a photo-beta model"
        )


def analyse(images: NDArray[np.uint8], loaded: LoadedModel, high: bool = False) -> list[Coded]:
    """The latents of images for all T steps.

    Args:
        images: (N, H, W, C) uint8, C the model's channels.
        high: of the highest layer only.

    Raises:
        ModelError: its posterior is not of constant width.
        InputError: only the highest layer is asked for, and there is but one; or the images are
            too large.
    """
    check_model(loaded)
    if images.shape[1] * images.shape[2] > LARGEST:
        raise InputError(f"a lossy file holds an image of at most {LARGEST} pixels")
    if high and regions.layers_of(loaded.model) < 2:
        raise InputError(f"model {loaded.name!r} has one layer: there is no higher one to store")
    together = batch_size(*images.shape[1:3])
    coded: list[Coded] = []
    for begin in range(0, len(images), together):
        some = images[begin : begin + together]
        parts = [
            regions.analyse(some[:, rows, columns], loaded, high, number)
            for number, (rows, columns) in enumerate(regions.parts_of(*images.shape[1:3]))
        ]
        for n in range(len(some)):
            rows = tuple(part.rows[n] for part in parts)
            columns = tuple(part.columns[n] for part in parts)
            coded.append(Coded(rows, columns, sum(part.bits[n] for part in parts)))
    return coded


def write(
    coded: Sequence[Coded],
    shape: tuple[int, int, int],
    loaded: LoadedModel,
    steps: int,
    high: bool = False,
    bare: bool = False,
) -> Encoded:
    """A lossy file of analysed images.

    Args:
        coded: of the images; one, if the file is not bare.
        shape: (H, W, C) of each.
        steps: how many are stored.

    Raises:
        InputError: there are not so many steps.
    """
    most, steps = regions.steps_of(loaded), whole_number(steps, "number of steps")
    if not 1 <= steps <= most:
        raise InputError(f"model {loaded.name!r} has steps 1 to {most}, not {steps}")
    height, width, channels = shape
    first = regions.first_groups(loaded.model, steps, high)
    promised = sum(float(image.bits[:first].sum()) for image in coded)
    header = LossyHeader(
        model=model_bits(loaded.sha256),
        steps=steps,
        high=high,
        gray=channels < loaded.channels,
        height=height,
        width=width,
        images=len(coded) if bare else None,
    ).with_heads_for(promised)
    message = stack.empty(header.heads)
    for batch in reversed(list(header.batches)):
        some = [coded[number] for number in batch]
        for region in reversed(range(len(some[0].rows))):
            for group in reversed(range(first)):
                rows, columns = (
                    np.stack([of(image)[region][group] for image in some])
                    for of in (attrgetter("rows"), attrgetter("columns"))
                )
                stack.push(message, rows.astype(np.int64), columns)
    dims = len(coded) * height * width * channels
    code = stack.to_bytes(message)
    head = pack(header.with_filler_for(len(code)))
    data = sealed(head + code)
    _log.info("%d of %d steps: %d bytes, KL %.1f bytes", steps, most, len(data), promised / 8)
    return Encoded(data, steps, promised, len(coded), dims, len(head) + CHECKSUM)


def encode(
    images: NDArray[np.uint8],
    loaded: LoadedModel,
    steps: int,
    high: bool = False,
    bare: bool = False,
) -> Encoded:
    """Store the latents of the first steps of an image, or of a set of one size.

    Args:
        images: (N, H, W, C) uint8, C 1 or 3; N is 1 if the file is not bare.
        high: store the highest layer's latents only.

    Raises:
        InputError: the images do not suit the model, or there are not so many steps.
        ModelError: its latents cannot be stored alone.
    """
    coded = analyse(widened(images, loaded), loaded, high)
    return write(coded, images.shape[1:], loaded, steps, high, bare)


def write_within(
    rate: float,
    coded: Sequence[Coded],
    shape: tuple[int, int, int],
    loaded: LoadedModel,
    high: bool = False,
    bare: bool = False,
) -> Encoded:
    """`write` with the most steps whose file takes at most `rate` bits/dim; at least with one.

    Raises:
        InputError: the rate is no positive number.
    """
    if not isinstance(rate, Real) or not rate > 0:
        raise InputError(f"a rate is more than 0 bits/dim, not {rate!r}")
    most = rate * len(coded) * int(np.prod(shape))
    sums = np.cumsum(sum(image.bits for image in coded))
    steps = regions.steps_of(loaded)
    while steps > 1 and sums[regions.first_groups(loaded.model, steps, high) - 1] > most:
        steps -= 1
    encoded = write(coded, shape, loaded, steps, high, bare)
    while steps > 1 and 8 * len(encoded.data) > most:
        steps -= 1
        encoded = write(coded, shape, loaded, steps, high, bare)
    return encoded


def decode(
    data: bytes, loaded: LoadedModel, variance: float = 1.0, seed: int = 0
) -> NDArray[np.uint8]:
    """The images of a lossy file; latents that it does not store are generated.

    Args:
        loaded: the model that wrote it.
        variance: of the generated latents, in units of their priors'; 0 for the priors' means.
        seed: of these latents.

    Returns:
        (N, H, W, C) uint8; levels 0..255 of a binary model are probabilities of ink.

    Raises:
        FormatError: not a lossy file, or a damaged one.
        ModelError: another model wrote it.
        InputError: the variance is negative, or the seed out of range.
    """
    if not 0 <= whole_number(seed, "seed") < 2**64:
        raise InputError("the seed must lie between 0 and 2**64 - 1")
    if not 0 <= variance < 1e6:
        raise InputError(f"a variance is 0 or more, not {variance}")
    header, code = unpack(data)
    if header.model != model_bits(loaded.sha256):
        raise ModelError(f"the file was not written by model {loaded.name!r} as it is here")
    check_model(loaded)
    one_layer = regions.layers_of(loaded.model) < 2
    if header.steps > regions.steps_of(loaded) or (header.high and one_layer):
        raise FormatError("the file stores latents that its model does not have")
    message = stack.from_bytes(code, header.heads)
    parts = [
        _decode(header, len(batch), message, loaded, variance, seed) for batch in header.batches
    ]
    stack.check_end(message)
    return np.concatenate(parts)


def _decode(
    header: LossyHeader,
    count: int,
    message: Message,
    loaded: LoadedModel,
    variance: float,
    seed: int,
) -> NDArray[np.uint8]:
    height, width = header.height, header.width
    x = np.empty((count, height, width, loaded.channels), np.uint8)
    for number, (rows, columns) in enumerate(regions.parts_of(height, width)):
        region = x[:, rows, columns]
        region[:] = regions.decode(header, message, region.shape, loaded, number, variance, seed)
    if not header.gray:
        return x
    total = x.astype(np.uint16).sum(3, keepdims=True)
    return ((total + loaded.channels // 2) // loaded.channels).astype(np.uint8)


def widened(images: NDArray[np.uint8], loaded: LoadedModel) -> NDArray[np.uint8]:
    """Images with as many channels as the model has; gray ones repeat theirs.

    Raises:
        InputError: they have more, or are not binary where the model is.
    """
    channels = images.shape[3]
    if channels > loaded.channels:
        raise InputError(f"model {loaded.name!r} takes gray images only")
    if loaded.binary and images.max() > 1:
        raise InputError(f"model {loaded.name!r} takes binary images only")
    return np.repeat(images, loaded.channels // channels, 3)
