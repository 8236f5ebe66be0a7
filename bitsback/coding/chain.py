"""The batches of a chunk in the order of encoding: segment after segment, a batch at a time.

The message must hold the bits of a batch's latents before the batch's first pop, and n tiles need
n times the bits of one. So a chain begins with batches of one tile, and lets them grow as the
message does. The first batches code the latents of the first groups only, from none to all: they
are the initial bits of those that follow.

A step is computed when it is asked for, so that a forged number of tiles costs nothing.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator

from bitsback.tiles.segments import Segment

from .batch import Batch


@dataclasses.dataclass(frozen=True)
class ChainStep:
    """A step of the chain: a batch, and which tiles of which segment it codes."""

    segment: int
    where: slice
    batch: Batch


@dataclasses.dataclass(frozen=True)
class Chain:
    """All batches of a chunk; tiles in a classical code have none.

    Args:
        segments: runs of equal tiles.
        batch: the most tiles per batch; the last batch of a segment may have fewer.
        seed: of the file's dither.
        chunk: number of the chunk in the file, so that no two share their dither.
        ramp: n tiles after the partial batches, a batch has at most 1 + n // ramp; 0 for `batch`
            from the first one.
        partial: how many batches, of one tile each, code the latents of 0, 1, 2, ... groups; they
            come before those of all groups.
    """

    segments: tuple[Segment, ...]
    batch: int
    seed: int
    chunk: int = 0
    ramp: int = 0
    partial: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.begins + len(self._growing) + sum(self._lengths)

    def __iter__(self) -> Iterator[ChainStep]:
        return self.steps(range(len(self)))

    def steps(self, numbers: range) -> Iterator[ChainStep]:
        """The steps of these numbers."""
        return (self._step(number) for number in numbers)

    @functools.cached_property
    def begins(self) -> int:
        """Number of the first batch that codes the latents of all groups."""
        return sum(self._partial)

    @functools.cached_property
    def _partial(self) -> list[int]:
        """Tiles of each segment that are in partial batches."""
        counts, left = [], sum(self.partial)
        for segment in self.segments:
            counts.append(min(left, segment.count - segment.classical))
            left -= counts[-1]
        return counts

    @functools.cached_property
    def _after(self) -> list[int]:
        """The first tile of each segment that is in no partial batch."""
        pairs = zip(self.segments, self._partial, strict=True)
        return [segment.classical + tiles for segment, tiles in pairs]

    @functools.cached_property
    def _growing(self) -> list[tuple[int, int, int]]:
        """Segment, first tile and end of the batches between the partial and the full ones."""
        batches: list[tuple[int, int, int]] = []
        done = 0
        for number, (segment, begin) in enumerate(zip(self.segments, self._after, strict=True)):
            while begin < segment.count:
                size = 1 + done // self.ramp if self.ramp else self.batch
                if size >= self.batch:
                    return batches
                end = min(segment.count, begin + size)
                batches.append((number, begin, end))
                done += end - begin
                begin = end
        return batches

    @functools.cached_property
    def _whole(self) -> list[int]:
        """The first tile of each segment that lies in a full batch."""
        firsts = list(self._after)
        for segment, _, end in self._growing:
            firsts[segment] = end
        return firsts

    @functools.cached_property
    def _lengths(self) -> list[int]:
        """Full batches of each segment; the last may be short."""
        pairs = zip(self.segments, self._whole, strict=True)
        return [-(-(segment.count - begin) // self.batch) for segment, begin in pairs]

    def _step(self, number: int) -> ChainStep:
        coded = None
        if number < self.begins:
            ends = itertools.accumulate(self.partial)
            coded = frozenset(range(next(n for n, end in enumerate(ends) if number < end)))
            at, within = _locate(self._partial, number)
            begin = self.segments[at].classical + within
            end = begin + 1
        elif number < self.begins + len(self._growing):
            at, begin, end = self._growing[number - self.begins]
        else:
            at, within = _locate(self._lengths, number - self.begins - len(self._growing))
            begin = self._whole[at] + within * self.batch
            end = min(self.segments[at].count, begin + self.batch)
        segment = self.segments[at]
        index = (self.chunk << 32) + number
        extents = segment.layout.extents(range(begin, end))
        batch = Batch(
            end - begin,
            segment.height,
            segment.width,
            self.seed,
            index,
            segment.gray,
            coded,
            extents,
            corrected=segment.corrected,
        )
        return ChainStep(at, slice(begin, end), batch)


def _locate(lengths: list[int], number: int) -> tuple[int, int]:
    """The part that holds item `number` of parts of these lengths, and its place within it."""
    for part, length in enumerate(lengths):
        if number < length:
            return part, number
        number -= length
    raise IndexError(number)
