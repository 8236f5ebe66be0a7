"""The ways to code a chunk's tiles: in a chain, or classically; and what each would cost."""

import dataclasses
import itertools
import math

import numpy as np

from bitsback.ans.heads import fold, unfold
from bitsback.ans.message import Message, flatten
from bitsback.coding import bits_back, initial_bits
from bitsback.coding.batch import Batch
from bitsback.coding.chain import Chain
from bitsback.coding.model import LoadedModel
from bitsback.coding.rates import RateReport, Tally
from bitsback.errors import EmptyMessageError, InputError
from bitsback.format.chunk import pack_chunk, pixel_checksum
from bitsback.format.chunk_head import (
    MAX_BATCH_VALUES,
    ChunkHead,
    batch_values,
    fewest_bytes,
)
from bitsback.images.image_set import ImageSet
from bitsback.progress import Progress
from bitsback.tiles import channels, tiles
from bitsback.tiles.padding import Layout
from bitsback.tiles.segments import Segment, SegmentTiles

from .prefix import encode_prefix

# Each batch starts on so many times the bits that a tile takes on average, and some.
_CAUTION, _SPARE_BITS = 1.15, 64
_BITS_OF_HEAD = 52  # that unfolding takes, on average
_SAMPLE_VALUES = 1 << 18  # that a classical code is tried on


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A chunk's bytes and where its bits went."""

    data: bytes
    report: RateReport


def _spread(count: int, some: int) -> np.ndarray:
    """Numbers of `some` of `count` tiles, at least one: from the beginning, middle and end.

    Neighbours stay together, since a classical code may use what they have in common.
    """
    block = -(-max(1, some) // 3)
    if 3 * block >= count:
        return np.arange(count)
    starts = (0, (count - block) // 2, count - block)
    return np.concatenate([np.arange(start, start + block) for start in starts])


@dataclasses.dataclass(frozen=True)
class Job:
    images: ImageSet
    runs: list[SegmentTiles]
    side: int
    loaded: LoadedModel
    number: int
    payload: bytes
    batch: int
    popped: tuple[float, ...]
    ramp: int
    seed: int
    heads: int
    progress: Progress | None

    @property
    def count(self) -> int:
        return sum(len(run.tiles) for run in self.runs)

    def check_batch(self) -> None:
        """Raise InputError if a batch would be larger than a decoder allows."""
        for segment in self.segments([0] * len(self.runs)):
            if self.batch > 1 and batch_values(self.batch, segment) > MAX_BATCH_VALUES:
                most = MAX_BATCH_VALUES // batch_values(1, segment)
                raise InputError(f"the batch must be at most {most} for tiles of this size")

    def split(self, count: int) -> list[int]:
        """How the first `count` tiles divide among the segments."""
        found = []
        for run in self.runs:
            found.append(min(count, len(run.tiles)))
            count -= found[-1]
        return found

    def segments(self, counts: list[int]) -> tuple[Segment, ...]:
        """The runs as the header tells them, with their first counts[i] tiles classical."""
        return tuple(run.segment(n) for run, n in zip(self.runs, counts, strict=True))

    def chained_dims(self, counts: list[int]) -> int:
        """Values of the images, padding left out, in all tiles but the first counts[i]."""
        found = 0
        for run, count in zip(self.runs, counts, strict=True):
            whole = (image.shape for image in self.images.pixels)
            shapes = channels.shapes(whole, run.tiles.shape[3])
            found += int(tiles.values(shapes, (self.side, self.side))[count:].sum())
        return found

    def classical_sample(self) -> float:
        """Bits per tile of a classical code, over tiles from all parts."""
        wanted = -(-_SAMPLE_VALUES // self.runs[0].tiles[0].size)
        spread = [_spread(len(r.tiles), wanted * len(r.tiles) // self.count) for r in self.runs]
        some = [run.tiles[where] for run, where in zip(self.runs, spread, strict=True)]
        counts = [len(where) for where in spread]
        return 8 * len(encode_prefix(some, counts, self.loaded.binary)) / sum(counts)

    def sample(self) -> tuple[float, tuple[float, ...]]:
        """Bits per tile of the model, and those that its first 0, 1, 2, ... groups pop.

        From a batch of tiles that are spread over the longest run, on an ample message.
        """
        run = max(self.runs, key=lambda r: len(r.tiles))
        few = np.arange(0, len(run.tiles), max(1, len(run.tiles) // self.batch))[: self.batch]
        extents = Layout(run.images, self.side, self.side).extents(few)
        batch = Batch(len(few), self.side, self.side, self.seed, 0, run.gray, extents=extents)
        words = 1 << 18
        while True:
            try:
                message = Message.random(self.heads, words, 0)
                cost = bits_back.encode(message, self.loaded.model, batch, run.batch(few))
            except EmptyMessageError:
                words *= 4
                continue
            popped = itertools.accumulate((g.popped / len(few) for g in cost.groups), initial=0.0)
            return cost.net / len(few), tuple(popped)

    def classical(self) -> Chunk:
        """All tiles in a classical code."""
        counts = [len(run.tiles) for run in self.runs]
        prefix = encode_prefix([run.tiles for run in self.runs], counts, self.loaded.binary)
        filler = max(0, self.fewest - len(self.payload) - len(prefix))
        start = initial_bits.Initial(self.payload, prefix, filler)
        message = start.message(self.seed, self.number)
        return self.packed(message, start, [], self.count, 8.0 * len(prefix), Tally())

    @property
    def fewest(self) -> int:
        """Bytes that the message must have."""
        return fewest_bytes(self.segments([0] * len(self.runs)))

    def chained(self, filled: bool) -> Chunk:
        """All tiles in a chain.

        Args:
            filled: whether filler is put below the first batch, so that it codes all groups.
        """
        more = 1.0
        while True:
            try:
                return self.chain(filled, more)
            except EmptyMessageError:
                more *= _CAUTION

    def chain(self, filled: bool, more: float) -> Chunk:
        """`chained`, with so many times the usual bits before the first batches.

        Raises:
            EmptyMessageError: it was not enough.
        """
        need = math.ceil(self.needed(None, more) / 8) if filled else 0
        filler = max(0, max(need, self.fewest) - len(self.payload))
        start = initial_bits.Initial(self.payload, b"", filler)
        message = start.message(self.seed, self.number)
        partial, first_bits = self.begin(message, more)
        first = sum(partial)
        tally, done = Tally(), first
        chain = self.batches(partial)
        if first < self.count:
            message = unfold(message, self.heads)
        for step in chain.steps(range(first, len(chain))):
            x = self.runs[step.segment].batch(step.where)
            cost = bits_back.encode(message, self.loaded.model, step.batch, x)
            tally.add(cost, self.runs[step.segment].tiles[step.where].size)
            done += step.batch.size
            self.tell(done)
        runs = [run.with_padding(self.loaded.model.passes) for run in self.runs]
        coded = dataclasses.replace(self, runs=runs)
        return coded.packed(fold(message), start, partial, first, first_bits, tally)

    def begin(self, message: Message, more: float) -> tuple[list[int], float]:
        """Code the partial batches: how many of each number of groups, and the bits they add."""
        partial, bits = [0] * len(self.loaded.model.groups), 0.0
        for step in self.batches([self.count]):
            coded = self.affordable(message.bits, more, partial)
            if coded is None:
                break
            batch = dataclasses.replace(step.batch, coded=frozenset(range(coded)))
            x = self.runs[step.segment].batch(step.where)
            bits += bits_back.encode(message, self.loaded.model, batch, x).net
            partial[coded] += 1
            self.tell(sum(partial))
        return partial, bits

    def batches(self, partial: list[int]) -> Chain:
        """The chain of all tiles."""
        segments = self.segments([0] * len(self.runs))
        return Chain(segments, self.batch, self.seed, self.number, self.ramp, tuple(partial))

    def tell(self, done: int) -> None:
        """Report so many tiles as done."""
        if self.progress is not None:
            self.progress(done, self.count)

    def needed(self, coded: int | None, more: float) -> float:
        """Bits before a tile's batch of so many groups, None for all; `more` times as usual."""
        if coded == 0:
            return 0.0
        if coded is None:
            heads = _BITS_OF_HEAD * self.heads
            return more * (heads + _SPARE_BITS + _CAUTION * self.popped[-1])
        return more * (_SPARE_BITS + _CAUTION * self.popped[coded])

    def affordable(self, bits: float, more: float, partial: list[int]) -> int | None:
        """Groups that a tile's batch may code on a message of so many bits, None for all.

        No fewer than the batches before it, which `partial` counts.
        """
        if self.needed(None, more) <= bits:
            return None
        least = max((coded for coded, batches in enumerate(partial) if batches), default=0)
        larger = range(least + 1, len(partial))
        good = (coded for coded in larger if self.needed(coded, more) <= bits)
        return max(good, default=least)

    def packed(
        self,
        message: Message,
        start: initial_bits.Initial,
        partial: list[int],
        first: int,
        first_bits: float,
        tally: Tally,
    ) -> Chunk:
        """The bytes of a chunk, and its report.

        Args:
            message: on one head.
            partial: batches by the groups that they code, without those that code all.
            first, first_bits: tiles that are initial bits, and how many bits.
        """
        words = flatten(message)
        classical = self.count if start.prefix else 0
        while partial and not partial[-1]:
            partial = partial[:-1]
        head = ChunkHead(
            segments=self.segments(self.split(classical)),
            batch=self.batch,
            ramp=self.ramp,
            heads=self.heads,
            payload_bytes=len(start.payload),
            classical_bytes=len(start.prefix),
            filler_bytes=start.filler,
            partial=tuple(partial),
            pixels_checksum=pixel_checksum((run.tiles for run in self.runs), start.payload),
        )
        data = pack_chunk(head, words)
        payload_bits, filler_bits = 8 * len(start.payload), 8 * start.filler
        net = sum(batch.net_bits for batch in tally.batches)
        report = tally.report(
            images=len(self.images.pixels),
            dims=sum(p.size for p in self.images.pixels),
            chained_dims=self.chained_dims(self.split(first)),
            payload_bits=payload_bits,
            first_bits=first_bits,
            filler_bits=filler_bits,
            header_bits=8 * (len(data) - 4 * len(words)),
            head_bits=32 * len(words) - payload_bits - first_bits - filler_bits - net,
        )
        return Chunk(data, report)
