"""The links of a chunk, in the order of encoding: the segments' tiles, a batch at a time.

The latents of a link must lie on the message before its first pop, those of n tiles n times those
of one. So a chain may begin with links of one tile, and let them grow as the message does: the
initial bits are then those of one tile.

Places are computed when they are asked for, so that a forged number of tiles costs nothing.
"""

import dataclasses
import functools
from collections.abc import Iterator

from .bits_back import Link
from .chunk import Segment


@dataclasses.dataclass(frozen=True)
class Place:
    """A link, and the tiles of a segment that it codes."""

    segment: int
    where: slice
    link: Link


@dataclasses.dataclass(frozen=True)
class Chain:
    """All links of a chunk; tiles in the classical prefix have none.

    Args:
        segments: runs of equal tiles.
        batch: the most tiles per link; the last link of a segment may have fewer.
        seed: of the file's dither.
        chunk: number of the chunk in the file, so that no two share their dither.
        ramp: after n tiles a link has at most 1 + n // ramp; 0 for `batch` from the first one.
    """

    segments: tuple[Segment, ...]
    batch: int
    seed: int
    chunk: int = 0
    ramp: int = 0

    def __len__(self) -> int:
        return len(self._growing) + sum(self._lengths)

    def __iter__(self) -> Iterator[Place]:
        return (self._place(number) for number in range(len(self)))

    def __reversed__(self) -> Iterator[Place]:
        return (self._place(number) for number in reversed(range(len(self))))

    @functools.cached_property
    def _growing(self) -> list[tuple[int, int, int]]:
        """Segment, first tile and end of the links before those of a whole batch."""
        found: list[tuple[int, int, int]] = []
        done = 0
        for segment, run in enumerate(self.segments):
            begin = run.classical
            while begin < run.count:
                size = 1 + done // self.ramp if self.ramp else self.batch
                if size >= self.batch:
                    return found
                end = min(run.count, begin + size)
                found.append((segment, begin, end))
                done += end - begin
                begin = end
        return found

    @functools.cached_property
    def _begins(self) -> list[int]:
        """The first tile of each segment that lies in a link of a whole batch."""
        found = [run.classical for run in self.segments]
        for segment, _, end in self._growing:
            found[segment] = end
        return found

    @functools.cached_property
    def _lengths(self) -> list[int]:
        """Links of a whole batch in each segment."""
        pairs = zip(self.segments, self._begins, strict=True)
        return [-(-(run.count - begin) // self.batch) for run, begin in pairs]

    def _place(self, number: int) -> Place:
        if number < len(self._growing):
            segment, begin, end = self._growing[number]
        else:
            within, segment = number - len(self._growing), 0
            while within >= self._lengths[segment]:
                within, segment = within - self._lengths[segment], segment + 1
            begin = self._begins[segment] + within * self.batch
            end = min(self.segments[segment].count, begin + self.batch)
        run = self.segments[segment]
        index = (self.chunk << 32) + number
        link = Link(end - begin, run.height, run.width, self.seed, index, run.gray)
        return Place(segment, slice(begin, end), link)
