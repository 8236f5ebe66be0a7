"""The latents of an image's regions: what the network has to do with a lossy file.

A small image is one region. A large one, whose memory would have no bound, is cut into regions that
are coded one after another, each as an image of its own.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.coding.batch import Batch
from bitsback.coding.bits_back import walk
from bitsback.coding.latents import Latents, posteriors, prepare
from bitsback.coding.model import LoadedModel, M, Model, S
from bitsback.tables import tables

from . import stack
from .container import LossyHeader

SIDE = 1024  # rows and columns of a region, at most


def steps_of(loaded: LoadedModel) -> int:
    """T of a model."""
    return max(group.step for group in loaded.model.groups)


def layers_of(model: Model[S, M]) -> int:
    """1 or 2."""
    return max(group.layer for group in model.groups)


def stored(model: Model[S, M], high: bool) -> list[int]:
    """Numbers of the groups that may be stored, in order: all, or those of the highest layer."""
    top = layers_of(model)
    return [i for i, group in enumerate(model.groups) if not high or group.layer == top]


def first_groups(model: Model[S, M], steps: int, high: bool) -> int:
    """How many of the groups that may be stored belong to the first steps."""
    return sum(model.groups[i].step <= steps for i in stored(model, high))


def parts_of(height: int, width: int) -> list[tuple[slice, slice]]:
    """Parts of an image that are coded one after another: one, but for large images."""
    rows, columns = (
        [slice(begin, begin + SIDE) for begin in range(0, side, SIDE)] for side in (height, width)
    )
    return list(itertools.product(rows, columns))


@dataclasses.dataclass(frozen=True)
class RegionLatents:
    """The latents of one region of N images.

    Args:
        rows, columns: of the prior's table, for each image and group, (C, h, w), uint16 and uint8.
        bits: -log2 p of the columns, (N, groups) float64.
    """

    rows: list[tuple[NDArray[np.uint16], ...]]
    columns: list[tuple[NDArray[np.uint8], ...]]
    bits: NDArray[np.float64]


def analyse(
    images: NDArray[np.uint8], loaded: LoadedModel, high: bool, number: int
) -> RegionLatents:
    """The latents of one region.

    Args:
        images: (N, h, w, C) uint8, the region of each image.
        high: of the highest layer only.
        number: of the region in its images.
    """
    x = np.ascontiguousarray(_padded(images, loaded.multiple).transpose(0, 3, 1, 2))
    chosen = stored(loaded.model, high)
    batch = _batch_of(x.shape, chosen, number)
    ask = posteriors(loaded.model, batch, x)
    rows: list[NDArray[np.uint16]] = []
    columns: list[NDArray[np.uint8]] = []
    bits: list[NDArray[np.float64]] = []

    def choose(index: int, state: object, latents: Latents) -> NDArray[np.int64]:
        k = ask(index, state, latents).nearest
        if index in chosen:
            bits.append(_bits(latents.prior_rows, k - tables.FIRST))
            rows.append(latents.prior_rows.astype(np.uint16))
            columns.append((k - tables.FIRST).astype(np.uint8))
        return k

    walk(loaded.model, batch, choose)
    return RegionLatents(
        list(zip(*rows, strict=True)), list(zip(*columns, strict=True)), np.stack(bits, 1)
    )


def decode(
    header: LossyHeader,
    message: Message,
    shape: tuple[int, ...],
    loaded: LoadedModel,
    number: int,
    variance: float,
    seed: int,
) -> NDArray[np.uint8]:
    """The images of one region, (N, h, w, C) uint8, their latents popped and the others drawn.

    Args:
        shape: (N, h, w, C) of the region.
        number: of the region in its images.
        variance, seed: of the latents that are drawn.

    Raises:
        FormatError: the stack holds too little.
    """
    count, height, width, channels = shape
    chosen = stored(loaded.model, header.high)
    chosen = chosen[: first_groups(loaded.model, header.steps, header.high)]
    sides = (-(-side // loaded.multiple) * loaded.multiple for side in (height, width))
    batch = _batch_of((count, channels, *sides), chosen, number)

    def popped(index: int, state: object, latents: Latents) -> NDArray[np.int64]:
        if index not in chosen:
            return latents.nothing
        return stack.pop(message, latents.prior_rows) + tables.FIRST

    visits, state = walk(loaded.model, batch, popped)
    if variance > 0 and len(chosen) < len(visits):
        freely = dataclasses.replace(batch, variance=variance, drawn_seed=seed)
        known = {i: visits[i].latents.z(visits[i].k) for i in chosen}
        state = generated(loaded.model, freely, known)
    return loaded.model.image(state)[:, :, :height, :width].transpose(0, 2, 3, 1)


def generated(model: Model[S, M], batch: Batch, known: dict[int, NDArray[np.int64]]) -> S:
    """The state after all groups: known latents as they are, the others drawn from their priors.

    What is drawn may move the priors of what is known: so this is no walk over k.
    """
    state = model.start(batch.size, batch.height, batch.width)
    for index, group in enumerate(model.groups):
        z = known.get(index)
        if z is None:
            latents = prepare(batch, index, group, model.prior(index, state))
            z = latents.z(latents.nothing)
        state = model.step(index, state, z)
    return state


def _batch_of(shape: Sequence[int], chosen: Sequence[int], number: int) -> Batch:
    batch, _, height, width = shape
    return Batch(batch, height, width, 0, number, coded=frozenset(chosen), shared_dither=True)


def _padded(images: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """Images whose sides are multiples, their last rows and columns repeated."""
    more = [(0, -side % multiple) for side in images.shape[1:3]]
    return np.pad(images, ((0, 0), *more, (0, 0)), "edge")


def _bits(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """-log2 p of each image's columns, (N,)."""
    indices = rows * (tables.COLUMNS + 1) + columns
    flat = tables.prior_table().ravel()
    freqs = flat[indices + 1].astype(np.float64) - flat[indices]
    return (tables.PRECISION - np.log2(freqs)).reshape(len(rows), -1).sum(1)
