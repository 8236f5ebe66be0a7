"""Which classical codes of a chunk's tiles are worth trying, from a sample of the tiles.

A code of all tiles takes up to a third of the time of a fast network. So it is made only where the
sample takes less in it than the chain took for the very same tiles: these may be easier or harder
than others, but for both.
"""

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitsback.images import classical
from bitsback.images.classical import METHODS, Method

from .cost import Bits, ChainCost
from .plan import Plan

# A sample is a small part of the values, but not below or above so many; fewer than the least are
# not sampled, since all codes of all of them take some hundredths of a second.
_PART, _FEWEST_VALUES, _MOST_VALUES, _LEAST = 12, 1 << 14, 1 << 18, 1 << 16
# Where a classical code is so much smaller than the model's, the chain is not even tried.
_PLAIN = 0.5
_TELLING = 1 << 12  # values: the code of fewer is mostly its head
# A sample is coded with less effort than all tiles: so many times faster.
_EFFORT = 2.0


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a sample of tiles takes in classical codes.

    Args:
        numbers: of the sampled tiles of each segment.
        bits: that these take together in the smallest code, by segment.
        methods: those worth trying, by segment.
        seconds: that the sample took here.
        is_hopeless: whether no sample was needed to tell that nothing is worth trying.
    """

    numbers: tuple[NDArray[np.int64], ...]
    bits: tuple[float, ...]
    methods: tuple[Sequence[Method], ...]
    seconds: float = 0.0
    is_hopeless: bool = False

    def saves(self, of_tiles: Bits, begun: int) -> bool:
        """Whether the codes may be smaller than the chain; yes where nothing was sampled.

        Args:
            of_tiles: bits of each tile of each segment in the chain.
            begun: so many first tiles are initial bits, and took more than others do.
        """
        if self.is_hopeless or not self.numbers:
            return not self.is_hopeless
        usual = []
        for bits, at in zip(of_tiles, self.numbers, strict=True):
            skipped = min(begun, len(bits))
            begun -= skipped
            if at[0] < skipped:  # few tiles, or much that is initial bits
                return True
            usual.append(len(bits) * float(bits[skipped:].mean()))
        chain = [float(bits[at].sum()) for bits, at in zip(of_tiles, self.numbers, strict=True)]
        counts = [len(bits) for bits in of_tiles]
        ratio = self._scaled(self.bits, counts) / max(1.0, self._scaled(chain, counts))
        return ratio * sum(usual) < sum(float(bits.sum()) for bits in of_tiles)

    def bits_of(self, plan: Plan) -> float:
        """What all tiles should take; infinite where nothing was sampled."""
        if not self.numbers:
            return math.inf
        return self._scaled(self.bits, [len(segment.tiles) for segment in plan.segments])

    def seconds_of(self, plan: Plan) -> float:
        """What trying the codes on all tiles should take."""
        sampled = sum(map(len, self.numbers))
        return _EFFORT * self.seconds * plan.count / sampled if sampled else 0.0

    def _scaled(self, bits: Sequence[float], counts: Sequence[int]) -> float:
        """Bits of so many tiles of each segment, from those of the sample."""
        sampled = map(len, self.numbers)
        return sum(b * n / k for b, n, k in zip(bits, counts, sampled, strict=True))


HOPELESS = Trial((), (), (), is_hopeless=True)


def sample(plan: Plan, binary: bool) -> Trial:
    """Try all codes on some tiles, with less effort than all tiles are coded.

    Args:
        binary: whether the values are 0 and 1.
    """
    values = sum(segment.tiles.size for segment in plan.segments)
    if values <= _LEAST:
        return Trial((), (), (METHODS,) * len(plan.segments))
    wanted = min(max(values // _PART, _FEWEST_VALUES), _MOST_VALUES)
    began = time.perf_counter()
    numbers, bits, methods = [], [], []
    for segment in plan.segments:
        share = math.ceil(wanted * segment.tiles.size / values / segment.tiles[0].size)
        numbers.append(spread(len(segment.tiles), share))
        some = segment.some(numbers[-1])
        sizes = classical.quick_sizes(some.tiles, binary, some.extents)
        bits.append(8.0 * min(sizes.values()))
        methods.append(classical.promising(sizes, segment.tiles))
    return Trial(tuple(numbers), tuple(bits), tuple(methods), time.perf_counter() - began)


def is_plain(trial: Trial, plan: Plan, expected: ChainCost, binary: bool) -> bool:
    """Whether a classical code is so much smaller than the model's that the chain is left out.

    Both by the two samples as they are, and on tiles that the model was tried on: a chunk may hold
    a drawing among photographs. Tiles of few values do not tell.
    """
    if not trial.numbers or not len(expected.numbers):
        return False
    segment = plan.segments[expected.segment]
    tile = segment.tiles[0].size
    values = sum(each.tiles.size for each in plan.segments)
    if trial.bits_of(plan) >= _PLAIN * expected.net * values / tile:
        return False
    most = max(1, len(trial.numbers[expected.segment]))
    some = segment.some(expected.numbers[:most])
    if some.tiles.size < _TELLING:
        return True
    sizes = classical.quick_sizes(some.tiles, binary, some.extents)
    return 8 * min(sizes.values()) < _PLAIN * float(expected.bits[:most].sum())


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Numbers of `wanted` of `count` tiles, at least one: from the middles of equal parts.

    Three parts at most, so that neighbours stay together: a classical code may use what they have
    in common.
    """
    wanted = min(max(1, wanted), count)
    parts = min(3, wanted)
    blocks = []
    for part in range(parts):
        size = (wanted + part) // parts
        begin, end = part * count // parts, (part + 1) * count // parts
        start = max(begin, min(end, (begin + end + size) // 2) - size)
        blocks.append(np.arange(start, start + size))
    return np.unique(np.concatenate(blocks))
