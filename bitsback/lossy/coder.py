"""Storing the first latents of pictures, and generating the others.

    encode: z_t ~ q for every stored step, the rest at the means of their priors; k under p
    decode: the same walk, k popped; then once more, with the other latents drawn from their priors
    picture: the means of the canvas

A model's posterior must be of constant width: who does not know x can then not be asked to give
bits back, and none were taken.

Source: section 3 (the first scheme) and 4.3 of Gregor et al., arXiv:1604.08772.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from bitsback import tables
from bitsback.ans import Message
from bitsback.bits_back import walk
from bitsback.errors import FormatError, InputError, ModelError
from bitsback.latents import Latents, posteriors, prepare
from bitsback.link import Link
from bitsback.protocol import LoadedModel, Model, State

from . import stack
from .container import LARGEST, Header, model_bits, pack, unpack

_BATCH = 64
_AREA = 1024  # rows and columns of a picture whose latents are computed together, at most
_TOGETHER = 1 << 18  # pixels of pictures whose latents are computed together
_ONE_HEAD = 1 << 16  # pixels of a picture whose stack has one head
_PER_HEAD = 1 << 14


@dataclasses.dataclass(frozen=True)
class Coded:
    """The latents of one picture: for every group that may be stored its rows and columns.

    Args:
        rows, columns: of the prior's table, for each area of the picture and each group,
            (C, h, w), uint16 and uint8.
        bits: -log2 p of the columns, for each group: what the KL of a constant posterior is.
    """

    rows: tuple[tuple[np.ndarray, ...], ...]
    columns: tuple[tuple[np.ndarray, ...], ...]
    bits: np.ndarray


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A lossy file, and what its latents should cost.

    Args:
        data: the bytes of the file.
        steps: that are stored.
        promised_bits: the KL of what is stored, summed over the pictures.
        dims: values of all pictures.
    """

    data: bytes
    steps: int
    promised_bits: float
    dims: int

    @property
    def bits_per_dim(self) -> float:
        """Of the file."""
        return 8 * len(self.data) / self.dims


def check_model(loaded: LoadedModel) -> None:
    """Make sure that a model's latents can be stored alone.

    Raises:
        ModelError: they cannot.
    """
    if not all(group.certain for group in loaded.model.groups):
        raise ModelError(
            f"model {loaded.name!r} cannot store latents alone: its posterior's width depends on "
            "the picture, and bits that it takes could not be given back; use a photo-beta model"
        )


def steps_of(loaded: LoadedModel) -> int:
    """T of a model."""
    return max(group.step for group in loaded.model.groups)


def stored(model: Model, high: bool) -> list[int]:
    """Numbers of the groups that may be stored, in order: all, or those of the highest layer."""
    top = max(group.layer for group in model.groups)
    return [i for i, group in enumerate(model.groups) if not high or group.layer == top]


def analyse(images: np.ndarray, loaded: LoadedModel, high: bool = False) -> list[Coded]:
    """The latents of pictures, (N, H, W, C) uint8 with C the model's channels, for all T steps.

    Raises:
        ModelError: its posterior is not of constant width.
        InputError: only the highest layer is asked for, and there is but one; or the pictures are
            too large.
    """
    check_model(loaded)
    if images.shape[1] * images.shape[2] > LARGEST:
        raise InputError(f"a lossy file holds a picture of at most {LARGEST} pixels")
    if high and len({group.layer for group in loaded.model.groups}) < 2:
        raise InputError(f"model {loaded.name!r} has one layer: there is no higher one to store")
    together = _together(*images.shape[1:3])
    found: list[Coded] = []
    for begin in range(0, len(images), together):
        some = images[begin : begin + together]
        areas = [
            _analysed(some[:, rows, columns], loaded, high, number)
            for number, (rows, columns) in enumerate(_areas(*images.shape[1:3]))
        ]
        for n in range(len(some)):
            rows, columns = (tuple(area[i][n] for area in areas) for i in (0, 1))
            found.append(Coded(rows, columns, sum(area[2][n] for area in areas)))
    return found


def _analysed(
    images: np.ndarray, loaded: LoadedModel, high: bool, number: int
) -> tuple[list[tuple[np.ndarray, ...]], list[tuple[np.ndarray, ...]], np.ndarray]:
    """Rows and columns of each picture's groups, and their bits, (N, groups), of one area."""
    x = np.ascontiguousarray(_padded(images, loaded.multiple).transpose(0, 3, 1, 2))
    chosen = stored(loaded.model, high)
    link = _link(x.shape, chosen, number)
    ask = posteriors(loaded.model, link, x)
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    bits: list[np.ndarray] = []

    def choose(index: int, state: State, latents: Latents) -> np.ndarray:
        k = ask(index, state, latents).certain
        if index in chosen:
            bits.append(_bits(latents.prior_rows, k - tables.FIRST))
            rows.append(latents.prior_rows.astype(np.uint16))
            columns.append((k - tables.FIRST).astype(np.uint8))
        return k

    walk(loaded.model, link, choose)
    return list(zip(*rows, strict=True)), list(zip(*columns, strict=True)), np.stack(bits, 1)


def write(
    coded: Sequence[Coded],
    shape: tuple[int, int, int],
    loaded: LoadedModel,
    steps: int,
    high: bool = False,
    bare: bool = False,
) -> Encoded:
    """A lossy file of analysed pictures.

    Args:
        coded: of the pictures; one, if the file is not bare.
        shape: (H, W, C) of each.
        steps: how many are stored.

    Raises:
        InputError: there are not so many steps.
    """
    most = steps_of(loaded)
    if not 1 <= steps <= most:
        raise InputError(f"model {loaded.name!r} has steps 1 to {most}, not {steps}")
    height, width, channels = shape
    first = _first_groups(loaded.model, steps, high)
    stacks = []
    for picture in coded:
        message = stack.empty(_heads(height, width))
        for rows, columns in zip(reversed(picture.rows), reversed(picture.columns), strict=True):
            for group in reversed(range(first)):
                stack.push(message, rows[group].astype(np.int64), columns[group])
        stacks.append(stack.to_bytes(message))
    header = Header(
        model=model_bits(loaded.sha256),
        steps=steps,
        high=high,
        gray=channels < loaded.channels,
        height=height,
        width=width,
        bare=bare,
    )
    promised = sum(float(picture.bits[:first].sum()) for picture in coded)
    return Encoded(pack(header, stacks), steps, promised, len(coded) * height * width * channels)


def encode(
    images: np.ndarray, loaded: LoadedModel, steps: int, high: bool = False, bare: bool = False
) -> Encoded:
    """Store the latents of the first steps of a picture, or of a set of one size.

    Args:
        images: (N, H, W, C) uint8, C 1 or 3; N is 1 if the file is not bare.
        high: store the highest layer's latents only.

    Raises:
        InputError: the pictures do not suit the model, or there are not so many steps.
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
        InputError: the rate is not positive.
    """
    if not rate > 0:
        raise InputError(f"a rate is more than 0 bits/dim, not {rate}")
    most = rate * len(coded) * int(np.prod(shape))
    sums = np.cumsum(sum(picture.bits for picture in coded))
    steps = steps_of(loaded)
    while steps > 1 and sums[_first_groups(loaded.model, steps, high) - 1] > most:
        steps -= 1
    made = write(coded, shape, loaded, steps, high, bare)
    while steps > 1 and 8 * len(made.data) > most:
        steps -= 1
        made = write(coded, shape, loaded, steps, high, bare)
    return made


def decode(data: bytes, loaded: LoadedModel, variance: float = 1.0, seed: int = 0) -> np.ndarray:
    """The pictures of a lossy file, with the latents that it does not store generated.

    Args:
        loaded: the model that wrote it.
        variance: of the generated latents, in units of their priors'; 0 for the priors' means.
        seed: of these latents.

    Returns:
        (N, H, W, C) uint8; of a binary model, levels 0..255 that tell the probability of ink.

    Raises:
        FormatError: not a lossy file, or a damaged one.
        ModelError: another model wrote it.
        InputError: the variance is negative.
    """
    if not 0 <= variance < 1e6:
        raise InputError(f"a variance is 0 or more, not {variance}")
    header, stacks = unpack(data)
    if header.model != model_bits(loaded.sha256):
        raise ModelError(f"the file was not written by model {loaded.name!r} as it is here")
    check_model(loaded)
    several_layers = len({group.layer for group in loaded.model.groups}) > 1
    if header.steps > steps_of(loaded) or (header.high and not several_layers):
        raise FormatError("the file stores latents that its model does not have")
    together = _together(header.height, header.width)
    parts = [
        _decode(header, stacks[begin : begin + together], loaded, variance, seed)
        for begin in range(0, len(stacks), together)
    ]
    return np.concatenate(parts)


def _decode(
    header: Header, stacks: list[bytes], loaded: LoadedModel, variance: float, seed: int
) -> np.ndarray:
    height, width = header.height, header.width
    messages = [stack.from_bytes(each, _heads(height, width)) for each in stacks]
    x = np.empty((len(stacks), height, width, loaded.channels), np.uint8)
    for number, (rows, columns) in enumerate(_areas(height, width)):
        area = x[:, rows, columns]
        area[:] = _decode_area(header, messages, area.shape, loaded, number, variance, seed)
    for message in messages:
        stack.check_end(message)
    if not header.gray:
        return x
    total = x.astype(np.uint16).sum(3, keepdims=True)
    return ((total + loaded.channels // 2) // loaded.channels).astype(np.uint8)


def _decode_area(
    header: Header,
    messages: list[Message],
    shape: tuple[int, ...],
    loaded: LoadedModel,
    number: int,
    variance: float,
    seed: int,
) -> np.ndarray:
    count, height, width, channels = shape
    chosen = stored(loaded.model, header.high)
    chosen = chosen[: _first_groups(loaded.model, header.steps, header.high)]
    sides = (-(-side // loaded.multiple) * loaded.multiple for side in (height, width))
    link = _link((count, channels, *sides), chosen, number)

    def popped(index: int, state: State, latents: Latents) -> np.ndarray:
        if index not in chosen:
            return _nothing(latents)
        pairs = zip(messages, latents.prior_rows, strict=True)
        return np.stack([stack.pop(*pair) for pair in pairs]) + tables.FIRST

    visits, state = walk(loaded.model, link, popped)
    if variance > 0 and len(chosen) < len(visits):
        freely = dataclasses.replace(link, variance=variance, drawn_seed=seed)
        known = {i: visits[i].latents.z(visits[i].k) for i in chosen}
        state = _generated(loaded.model, freely, known)
    return loaded.model.picture(state)[:, :, :height, :width].transpose(0, 2, 3, 1)


def _generated(model: Model, link: Link, known: dict[int, np.ndarray]) -> State:
    """The state after all groups: known latents as they are, the others drawn from their priors.

    What is drawn may move the priors of what is known: so this is no walk over k.
    """
    state = model.start(link.batch, link.height, link.width)
    for index, group in enumerate(model.groups):
        z = known.get(index)
        if z is None:
            latents = prepare(link, index, group, model.prior(index, state))
            z = latents.z(_nothing(latents))
        state = model.step(index, state, z)
    return state


def widened(images: np.ndarray, loaded: LoadedModel) -> np.ndarray:
    """Pictures with as many channels as the model has; gray ones repeat theirs.

    Raises:
        InputError: they have more, or are not binary where the model is.
    """
    channels = images.shape[3]
    if channels > loaded.channels:
        raise InputError(f"model {loaded.name!r} takes gray pictures only")
    if loaded.binary and images.max() > 1:
        raise InputError(f"model {loaded.name!r} takes binary pictures only")
    return np.repeat(images, loaded.channels // channels, 3)


def _first_groups(model: Model, steps: int, high: bool) -> int:
    """How many of the groups that may be stored belong to the first steps."""
    return sum(model.groups[i].step <= steps for i in stored(model, high))


def _nothing(latents: Latents) -> np.ndarray:
    return latents.of_coded(np.zeros(latents.dither.shape, np.int64))


def _together(height: int, width: int) -> int:
    return min(_BATCH, max(1, _TOGETHER // (height * width)))


def _heads(height: int, width: int) -> int:
    pixels = height * width
    return 1 if pixels < _ONE_HEAD else pixels // _PER_HEAD


def _areas(height: int, width: int) -> list[tuple[slice, slice]]:
    """Parts of a picture that are coded one after another: one, but for large pictures."""
    rows, columns = (
        [slice(begin, begin + _AREA) for begin in range(0, side, _AREA)] for side in (height, width)
    )
    return list(itertools.product(rows, columns))


def _link(shape: Sequence[int], chosen: Sequence[int], number: int) -> Link:
    batch, _, height, width = shape
    return Link(batch, height, width, 0, number, coded=frozenset(chosen), alike=True)


def _padded(images: np.ndarray, multiple: int) -> np.ndarray:
    """Pictures whose sides are multiples, their last rows and columns repeated."""
    more = [(0, -side % multiple) for side in images.shape[1:3]]
    return np.pad(images, ((0, 0), *more, (0, 0)), "edge")


def _bits(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """-log2 p of each picture's columns, (N,)."""
    places = rows * (tables.COLUMNS + 1) + columns
    flat = tables.prior_table().ravel()
    freqs = flat[places + 1].astype(np.float64) - flat[places]
    return (tables.PRECISION - np.log2(freqs)).reshape(len(rows), -1).sum(1)
