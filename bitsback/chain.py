"""The links of a chunk, in the order of encoding: the segments' tiles, a batch at a time.

Places are computed when they are asked for, so that a forged number of tiles costs nothing.
"""

import dataclasses
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
        batch: tiles per link; the last link of a segment may have fewer.
        seed: of the file's dither.
        chunk: number of the chunk in the file, so that no two share their dither.
    """

    segments: tuple[Segment, ...]
    batch: int
    seed: int
    chunk: int = 0

    def __len__(self) -> int:
        return sum(self._lengths)

    def __iter__(self) -> Iterator[Place]:
        return (self._place(number) for number in range(len(self)))

    def __reversed__(self) -> Iterator[Place]:
        return (self._place(number) for number in reversed(range(len(self))))

    @property
    def _lengths(self) -> list[int]:
        return [-(-(s.count - s.classical) // self.batch) for s in self.segments]

    def _place(self, number: int) -> Place:
        within, segment = number, 0
        for length in self._lengths:
            if within < length:
                break
            within, segment = within - length, segment + 1
        run = self.segments[segment]
        begin = run.classical + within * self.batch
        end = min(run.count, begin + self.batch)
        index = (self.chunk << 32) + number
        link = Link(end - begin, run.height, run.width, self.seed, index, run.gray)
        return Place(segment, slice(begin, end), link)
