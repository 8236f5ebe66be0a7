"""The batches of a chunk, in the order of encoding: the segments' tiles, a batch at a time.

The latents of a batch must lie on the message before its first pop, those of n tiles n times those
of one. So a chain may begin with batches of one tile, and let them grow as the message does. Its
first batches may code the latents of the first groups only, from none to all as the message grows:
they are the initial bits of the others.

Places are computed when they are asked for, so that a forged number of tiles costs nothing.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator

from bitsback.tiles.segments import Segment

from .batch import Batch


@dataclasses.dataclass(frozen=True)
class ChainStep:
    """A batch, and the tiles of a segment that it codes."""

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
        """The batches of these numbers."""
        return (self._step(number) for number in numbers)

    @functools.cached_property
    def begins(self) -> int:
        """Number of the first batch that codes the latents of all groups."""
        return sum(self._partial)

    @functools.cached_property
    def _partial(self) -> list[int]:
        """Tiles of each segment that are in partial batches."""
        counts, left = [], sum(self.partial)
        for run in self.segments:
            counts.append(min(left, run.count - run.classical))
            left -= counts[-1]
        return counts

    @functools.cached_property
    def _after(self) -> list[int]:
        """The first tile of each segment that is in no partial batch."""
        pairs = zip(self.segments, self._partial, strict=True)
        return [run.classical + tiles for run, tiles in pairs]

    @functools.cached_property
    def _growing(self) -> list[tuple[int, int, int]]:
        """Segment, first tile and end of the batches between the partial and the whole ones."""
        batches: list[tuple[int, int, int]] = []
        done = 0
        for segment, (run, begin) in enumerate(zip(self.segments, self._after, strict=True)):
            while begin < run.count:
                size = 1 + done // self.ramp if self.ramp else self.batch
                if size >= self.batch:
                    return batches
                end = min(run.count, begin + size)
                batches.append((segment, begin, end))
                done += end - begin
                begin = end
        return batches

    @functools.cached_property
    def _whole(self) -> list[int]:
        """The first tile of each segment that lies in a batch of a whole batch."""
        firsts = list(self._after)
        for segment, _, end in self._growing:
            firsts[segment] = end
        return firsts

    @functools.cached_property
    def _lengths(self) -> list[int]:
        """Batches of a whole batch in each segment."""
        pairs = zip(self.segments, self._whole, strict=True)
        return [-(-(run.count - begin) // self.batch) for run, begin in pairs]

    def _step(self, number: int) -> ChainStep:
        coded = None
        if number < self.begins:
            ends = itertools.accumulate(self.partial)
            coded = frozenset(range(next(n for n, end in enumerate(ends) if number < end)))
            segment, within = _locate(self._partial, number)
            begin = self.segments[segment].classical + within
            end = begin + 1
        elif number < self.begins + len(self._growing):
            segment, begin, end = self._growing[number - self.begins]
        else:
            segment, within = _locate(self._lengths, number - self.begins - len(self._growing))
            begin = self._whole[segment] + within * self.batch
            end = min(self.segments[segment].count, begin + self.batch)
        run = self.segments[segment]
        index = (self.chunk << 32) + number
        extents = run.layout.extents(range(begin, end))
        batch = Batch(
            end - begin, run.height, run.width, self.seed, index, run.gray, coded, extents
        )
        return ChainStep(segment, slice(begin, end), batch)


def _locate(lengths: list[int], number: int) -> tuple[int, int]:
    """The part that holds item `number` of parts of these lengths, and its place within it."""
    for part, length in enumerate(lengths):
        if number < length:
            return part, number
        number -= length
    raise IndexError(number)
