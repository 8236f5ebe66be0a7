"""Tiles on a message in a chain through the model, and a chunk's bytes of such a message.

A segment is a run of equal tiles of one kind (colour, or gray); its batches are coded in order, and
segments one after another, on one message. See `bits_back` for a batch, `format.chunk` for the
bytes.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.heads import fold, unfold
from bitsback.ans.message import Message, flatten
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.chain import ChainStep
from bitsback.coding.initial_bits import Initial
from bitsback.coding.model import LoadedModel
from bitsback.coding.rates import OrderRate, RateReport
from bitsback.coding.reports.costs import BatchCost
from bitsback.coding.reports.tally import Tally
from bitsback.errors import EmptyMessageError
from bitsback.format.chunk import pack_chunk, pixel_checksum
from bitsback.format.chunk_head import ChunkHead
from bitsback.progress import Progress
from bitsback.side.wanted import BOTH, Wanted

from . import order
from .check import check_batch
from .cost import CAUTION, Bits, Needs, net_of_tiles
from .plan import Plan


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A chunk's bytes and where its bits went.

    Args:
        image_bits: that the pixels of each image took, (N,).
        tile_bits: that each tile of each segment took; none of a chunk that is done.
        carried: numbers of images whose files travel in place of their pixels.
        without_model: whether the model has no part in it.
        is_new: whether only readers of version 5 of the format know its classical code.
        image_files: that travel as they are in it.
        is_corrected: whether its batches have side information.
        how: its images are coded, in words.
        why: in words; "" where there was no choice.
    """

    data: bytes
    report: RateReport
    image_bits: NDArray[np.float64]
    tile_bits: Bits = ()
    carried: frozenset[int] = frozenset()
    without_model: bool = False
    is_new: bool = False
    image_files: int = 0
    is_corrected: bool = False
    how: str = "through the model"
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Beginning:
    """The first tiles of a chunk, which are initial bits to the others.

    Args:
        partial: batches of one tile by the number of groups whose latents they code: 0, 1, 2, ...;
            none where the tiles are in a classical code.
        count: tiles.
        bits: that they add to the message.
    """

    partial: tuple[int, ...]
    count: int
    bits: float


@dataclasses.dataclass(frozen=True)
class ChainEncoder:
    """Codes all tiles of a chunk in a chain through the model.

    Args:
        progress: called with (tiles done, tiles in all).
        check: whether the chain's last batch is decoded again.
        measure, side: as of `Settings`.
    """

    plan: Plan
    loaded: LoadedModel
    needs: Needs
    progress: Progress
    check: bool = True
    measure: bool = False
    side: Wanted = BOTH

    def encode(self, filled: bool) -> Chunk:
        """The chunk.

        Args:
            filled: whether filler is put below the first batch, so that it codes all groups.
        """
        encoder = self
        while True:
            try:
                return encoder._encode_once(filled)
            except EmptyMessageError:
                needs = dataclasses.replace(encoder.needs, margin=CAUTION * encoder.needs.margin)
                encoder = dataclasses.replace(encoder, needs=needs)

    def _encode_once(self, filled: bool) -> Chunk:
        """`encode`.

        Raises:
            EmptyMessageError: a batch found fewer bits than it took.
        """
        plan = self.plan
        least = math.ceil(self.needs.all_groups / 8) if filled else 0
        filler = max(0, max(least, plan.fewest_bytes) - len(plan.payload))
        initial = Initial(plan.payload, b"", filler)
        message = initial.message(plan.seed, plan.number)
        bits = [np.zeros(len(segment.tiles)) for segment in plan.segments]
        beginning = self._begin(message, bits)
        tally, done, chain = Tally(), beginning.count, plan.chain(beginning.partial)
        if done < plan.count:
            message = unfold(message, plan.heads)
        remaining = self._remaining(done)
        for step in chain.steps(range(done, len(chain))):
            done += step.batch.size
            size = step.batch.size
            where = step.where if remaining is None else remaining.pop(message, size)
            cost = self._push(message, step, where, step.batch, done == plan.count, bits)
            tally.add(cost, plan.segments[step.segment].tiles[where].size)
            self.progress(done, plan.count)
        padded = tuple(s.with_padding(self.loaded.model.passes) for s in plan.segments)
        coded = dataclasses.replace(plan, segments=padded)
        return pack(coded, fold(message), initial, beginning, tally, bits, remaining)

    def _remaining(self, done: int) -> order.Remaining | None:
        """The tiles after the first ones, if they may be coded in any order."""
        (segment, *others) = self.plan.segments
        if others or not segment.any_order:
            return None
        height, width = segment.segment(0).image_size
        keys = [order.key(tile[:height, :width]) for tile in segment.tiles[done:]]
        return order.Remaining(keys, done)

    def _begin(self, message: Message, of_tiles: Bits) -> Beginning:
        """Code tiles, one a batch, until the message has the bits that all groups need."""
        partial, bits, coded = [0] * len(self.loaded.model.groups), 0.0, 0
        for step in self.plan.chain([self.plan.count]):
            affordable = self.needs.affordable(message.bits, coded)
            if affordable is None:
                break
            coded = affordable
            batch = dataclasses.replace(step.batch, coded=frozenset(range(coded)))
            partial[coded] += 1
            last = sum(partial) == self.plan.count
            bits += self._push(message, step, step.where, batch, last, of_tiles).net
            self.progress(sum(partial), self.plan.count)
        return Beginning(tuple(partial), sum(partial), bits)

    def _push(
        self,
        message: Message,
        step: ChainStep,
        where: slice | NDArray[np.int64],
        batch: Batch,
        last: bool,
        of_tiles: Bits,
    ) -> BatchCost:
        """Code a batch of these tiles, and decode it again if it is the chain's last one."""
        model, x = self.loaded.model, self.plan.segments[step.segment].batch(where)
        before = message.copy() if last and self.check else None
        cost = bits_back.encode(message, model, batch, x, self.measure, self.side)
        of_tiles[step.segment][where] = net_of_tiles(cost)
        if before is not None:
            check_batch(message.copy(), before, self.loaded, batch, x)
        return cost


def pack(
    plan: Plan,
    message: Message,
    initial: Initial,
    beginning: Beginning,
    tally: Tally,
    of_tiles: Bits,
    remaining: order.Remaining | None = None,
) -> Chunk:
    """The bytes of a chunk, and its report.

    Args:
        plan: of the tiles as they were coded, padding included.
        message: on one head.
        tally: of the batches after the beginning.
        of_tiles: bits of each tile of each segment.
        remaining: what the order of the tiles gave back.
    """
    words = flatten(message)
    partial = beginning.partial
    while partial and not partial[-1]:
        partial = partial[:-1]
    head = ChunkHead(
        segments=plan.described(classical=plan.count if initial.prefix else 0),
        batch=plan.batch,
        ramp=plan.ramp,
        heads=plan.heads,
        payload_bytes=len(initial.payload),
        classical_bytes=len(initial.prefix),
        filler_bytes=initial.filler,
        partial=partial,
        pixels_checksum=pixel_checksum((s.tiles for s in plan.segments), initial.payload),
    )
    data = pack_chunk(head, words)
    payload_bits, filler_bits = 8 * len(initial.payload), 8 * initial.filler
    net = sum(batch.net_bits for batch in tally.batches)
    given = OrderRate()
    if remaining is not None:
        given = OrderRate(remaining.bits, remaining.promised_bits, remaining.spread)
    alone = remaining is None and len(plan.segments) == 1 and plan.count == len(plan.shapes)
    report = tally.report(
        beginning.count if alone else None,
        images=len(plan.shapes),
        dims=plan.dims,
        chained_dims=plan.dims_after(beginning.count),
        classical_dims=plan.dims if initial.prefix else 0,
        payload_bits=payload_bits,
        first_bits=beginning.bits,
        filler_bits=filler_bits,
        header_bits=8 * (len(data) - 4 * len(words)),
        head_bits=32 * len(words) - payload_bits - beginning.bits - filler_bits - net + given.bits,
        order=given,
    )
    chunk = Chunk(data, report, plan.image_bits(of_tiles), of_tiles)
    if not any(segment.corrected for segment in plan.segments):
        return chunk
    how = f"{chunk.how}, with side information"
    return dataclasses.replace(chunk, is_corrected=True, how=how)
