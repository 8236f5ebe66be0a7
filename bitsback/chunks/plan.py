"""What a chunk holds before it is coded: its images as tiles, and how many are coded at once."""

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import DEFAULT_HEADS
from bitsback.coding.chain import Chain
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError, whole_number
from bitsback.format.chunk_head import (
    MAX_BATCH_VALUES,
    MOST_IN_ANY_ORDER,
    batch_values,
    fewest_bytes,
)
from bitsback.format.payload import pack_payload
from bitsback.images.image_set import ImageSet
from bitsback.side.wanted import Wanted
from bitsback.tiles import channels, segments, tiles
from bitsback.tiles.segments import Segment, SegmentTiles

Check = Literal["none", "last", "all"]
"""What of a chunk is decoded again before it is written."""

# A chain needs many tiles to earn back its initial bits, if its model has any latents.
_LEAST_TILES = 48


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the chunks of a file are coded.

    Args:
        batch: the most tiles per batch; if None the model's default, in pixels of its largest tile.
        seed: of the file's dither.
        heads: of the stack; 8 to 512 by the length of the chain if None.
        always_chain: code through the model even where a classical code is smaller, to
            measure the model.
        check: what is decoded again before a chunk is written: nothing, the last batch that was
            coded, or all.
        any_order: whether the images of each chunk may come back in another order, which then costs
            nothing (see `chunks.order`); they are of one size, each no larger than a tile.
        measure: whether the report has the bits of every image, the rounding of the pixels'
            pushes simulated, and what lies beyond the tables; pixels are coded more slowly.
        predictor, recalibration: whether these kinds of side information are sent where they save
            more than they take (see `bitsback.side`).

    Raises:
        InputError: the batch or the seed is out of range, or no integer, or no such check is known.
    """

    batch: int | None = None
    seed: int = 0
    heads: int | None = None
    always_chain: bool = False
    check: Check = "last"
    measure: bool = False
    any_order: bool = False
    predictor: bool = True
    recalibration: bool = True

    def __post_init__(self) -> None:
        if self.check not in get_args(Check):
            raise InputError(f"unknown check {self.check!r}: {', '.join(get_args(Check))}")
        for name in ("batch", "seed", "heads"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, whole_number(value, name))
        if self.batch is not None and not 1 <= self.batch <= 65535:
            raise InputError("the batch must lie between 1 and 65535")
        if not 0 <= self.seed < 2**64:
            raise InputError("the seed must lie between 0 and 2**64 - 1")

    @property
    def side(self) -> Wanted:
        """Which side information may be sent."""
        return Wanted(self.predictor, self.recalibration)


DEFAULT = Settings()


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a chunk holds, and the shape of its chain.

    Args:
        shapes: (H, W, C) of each image.
        segments: the images' tiles, all of one side; colour before gray.
        payload: what lies at the bottom of the stack: manifest, sidecars, and the caller's bytes.
        number: of the chunk in its file.
        seed: of the file's dither.
        batch, ramp: as of a `Chain`.
        heads: of the stack.
    """

    shapes: tuple[channels.Shape, ...]
    segments: tuple[SegmentTiles, ...]
    payload: bytes
    number: int
    seed: int
    batch: int
    ramp: int = 1
    heads: int = DEFAULT_HEADS

    @property
    def side(self) -> int:
        """Of a tile, in pixels."""
        return self.segments[0].tiles.shape[1]

    @property
    def count(self) -> int:
        """Tiles in all."""
        return sum(len(segment.tiles) for segment in self.segments)

    @property
    def dims(self) -> int:
        """Values of the images."""
        return sum(math.prod(shape) for shape in self.shapes)

    @cached_property
    def fewest_bytes(self) -> int:
        """Bytes that the message must have."""
        return fewest_bytes(self.described())

    def described(self, classical: int = 0) -> tuple[Segment, ...]:
        """The segments as the chunk's head has them, the first tiles being in a classical code."""
        counts = self._split(classical)
        return tuple(s.segment(count) for s, count in zip(self.segments, counts, strict=True))

    def chain(self, partial: Sequence[int]) -> Chain:
        """The chain of all tiles; for `partial` see there."""
        described = self.described()
        return Chain(described, self.batch, self.seed, self.number, self.ramp, tuple(partial))

    def corrected(self, corrected: bool) -> "Plan":
        """The plan with or without side information."""
        parts = tuple(dataclasses.replace(s, corrected=corrected) for s in self.segments)
        return dataclasses.replace(self, segments=parts)

    def dims_after(self, count: int) -> int:
        """Values of the images in all tiles but the first `count`, the padding left out."""
        dims = 0
        for segment, skipped in zip(self.segments, self._split(count), strict=True):
            shapes = channels.shapes(self.shapes, segment.tiles.shape[3])
            dims += int(tiles.values(shapes, (self.side, self.side))[skipped:].sum())
        return dims

    def image_bits(self, of_tiles: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Bits of each image, (N,), from those of each tile of each segment."""
        count = len(self.shapes)
        bits = np.zeros(count)
        for segment, tile_bits in zip(self.segments, of_tiles, strict=True):
            own = segment.tiles.shape[3]
            numbers = [
                channels.PLANES[shape[2]].count(own)
                * math.prod(tiles.grid(shape, (self.side, self.side)))
                for shape in self.shapes
            ]
            bits += np.bincount(np.repeat(np.arange(count), numbers), tile_bits, count)
        return bits

    def _split(self, count: int) -> list[int]:
        """How the first `count` tiles divide among the segments."""
        counts = []
        for segment in self.segments:
            counts.append(min(count, len(segment.tiles)))
            count -= counts[-1]
        return counts


def plan_chunk(
    images: ImageSet, loaded: LoadedModel, settings: Settings, number: int, payload: bytes
) -> Plan:
    """Cut images into tiles that the model codes.

    Args:
        number: of the chunk in its file.
        payload: the caller's bytes.

    Raises:
        InputError: the model cannot code such images, or not so many side by side; or they changed
            since they were found to be binary.
    """
    check_codable(images, loaded)
    shapes = tuple(_shape(pixels.shape) for pixels in images.pixels)
    side = tile_side(shapes, loaded)
    plan = Plan(
        shapes=shapes,
        segments=tuple(segments.cut(images.pixels, side, loaded.channels)),
        payload=payload_of(images, payload),
        number=number,
        seed=settings.seed,
        batch=settings.batch or loaded.batch * (loaded.tiles[-1] // side) ** 2,
        heads=settings.heads or DEFAULT_HEADS,
    )
    if images.binary and any(segment.tiles.max() > 1 for segment in plan.segments):
        raise InputError("the images changed while they were read")
    if settings.any_order:
        plan = dataclasses.replace(plan, segments=_in_any_order(plan))
    if settings.side and not loaded.binary:
        plan = plan.corrected(True)
    most = _largest_batch(plan)
    if plan.batch > most:
        if settings.batch is not None:
            raise InputError(f"the batch must be at most {most} for tiles of this size")
        plan = dataclasses.replace(plan, batch=most)
    return plan


def _in_any_order(plan: Plan) -> tuple[SegmentTiles, ...]:
    """The plan's segment, marked.

    Raises:
        InputError: its images are not of one size and kind, too large or too many.
    """
    alike = len(plan.segments) == 1 and len(set(plan.shapes)) == 1
    if not alike or plan.count != len(plan.shapes):
        raise InputError(
            f"only images of one size and kind, none larger than a tile of {plan.side} x "
            f"{plan.side} pixels, can be coded in any order"
        )
    if plan.count >= MOST_IN_ANY_ORDER:
        raise InputError(f"fewer than {MOST_IN_ANY_ORDER} images a chunk can be coded in any order")
    return (dataclasses.replace(plan.segments[0], any_order=True),)


def payload_of(images: ImageSet, payload: bytes) -> bytes:
    """What lies at the bottom of the stack: manifest, sidecars, and the caller's bytes."""
    fields = images.manifest.to_json() | {"binary": images.binary}
    return pack_payload(fields, images.packed, payload)


def check_codable(images: ImageSet, loaded: LoadedModel) -> None:
    """Raise InputError unless the model codes images of this kind."""
    if loaded.binary and not images.binary:
        raise InputError(
            f"model {loaded.name!r} codes binary images (0 and 1) only: "
            "use a model of 8-bit images, such as photo"
        )
    if loaded.channels < max(max(channels.PLANES[p.shape[2]]) for p in images.pixels):
        raise InputError(
            f"model {loaded.name!r} codes gray images only: use a colour model, such as photo"
        )


def tile_side(shapes: Sequence[channels.Shape], loaded: LoadedModel) -> int:
    """The side in pixels of the tiles that images of shapes (H, W, C) are cut into."""
    planes = [shape for own in (3, 1) for shape in channels.shapes(shapes, own)]
    return segments.tile_side(planes, loaded.tiles, _LEAST_TILES if loaded.has_latents else 1)


def _largest_batch(plan: Plan) -> int:
    """The most tiles of a batch that a decoder allows, at least one; as planned if it does."""
    most = plan.batch
    for segment in plan.described():
        if batch_values(plan.batch, segment) > MAX_BATCH_VALUES:
            most = min(most, MAX_BATCH_VALUES // batch_values(1, segment))
    return max(1, most)


def _shape(shape: Sequence[int]) -> channels.Shape:
    height, width, own = shape
    return height, width, own
