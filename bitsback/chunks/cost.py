"""What a chain of tiles would cost, from a sample of them."""

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.model import LoadedModel
from bitsback.coding.reports.costs import BatchCost
from bitsback.errors import EmptyMessageError
from bitsback.side.wanted import BOTH, Wanted

from .plan import Plan

Bits = Sequence[NDArray[np.float64]]
"""Bits of each tile of each segment."""
_SAMPLE_WORDS = 1 << 18  # of the message that the model is tried on, at first
# Each batch starts on so many times the bits that a tile takes on average, and some.
CAUTION, _SPARE_BITS = 1.15, 64
_BITS_OF_HEAD = 52  # that unfolding takes, on average
# More heads are faster, but each takes about 52 bits off the message before the first pop. Initial
# bits are worth less than they cost by a third or so: at 16,000 bits of chain a head, 0.1 %.
_FEWEST_HEADS, _MOST_HEADS, _CHAIN_BITS_PER_HEAD = 8, 512, 16000
# Batches grow as the message does, with a little to spare for tiles that add less than others.
# A sample that saves a smaller share may not speak for all, nor repay the time.
_LEAST_SAVED = 3e-3
_RAMP_MARGIN, _MOST_RAMP = 1.25, 65535


@dataclasses.dataclass(frozen=True)
class ChainCost:
    """What a tile costs in a chain, on average; bits.

    Args:
        net: that it adds to the message.
        popped: how far it takes the message down if the latents of its first 0, 1, 2, ... groups
            are coded; infinite where they cannot be.
        seconds: that coding it took here.
        segment: whose tiles were coded.
        numbers: of these tiles, (n,).
        bits: of each of them, (n,).
        saved: by side information.
    """

    net: float
    popped: tuple[float, ...]
    seconds: float = 0.0
    segment: int = 0
    numbers: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    bits: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros(0))
    saved: float = 0.0


@dataclasses.dataclass(frozen=True)
class Needs:
    """Bits that must lie on the message before a tile is coded.

    Args:
        popped: as of a `ChainCost`.
        heads: of the stack.
        margin: how many times the usual bits.
    """

    popped: tuple[float, ...]
    heads: int
    margin: float = 1.0

    @property
    def all_groups(self) -> float:
        """Before the first batch that codes the latents of all groups, and spreads the message."""
        heads = _BITS_OF_HEAD * self.heads
        return self.margin * (heads + _SPARE_BITS + CAUTION * self.popped[-1])

    def groups(self, coded: int) -> float:
        """Before a batch of one tile that codes the latents of the first groups only."""
        return self.margin * (_SPARE_BITS + CAUTION * self.popped[coded]) if coded else 0.0

    def affordable(self, bits: float, least: int) -> int | None:
        """Groups whose latents a tile may code on a message of so many bits; None for all.

        Args:
            least: groups that the tile before it coded, which are coded in any case.
        """
        if self.all_groups <= bits:
            return None
        more = range(least + 1, len(self.popped) - 1)
        return max((coded for coded in more if self.groups(coded) <= bits), default=least)


def chain_cost(plan: Plan, loaded: LoadedModel, wanted: Wanted = BOTH) -> ChainCost:
    """What tiles cost in a chain, from a batch of them spread over the longest segment.

    Args:
        wanted: which side information may be sent, if the plan has any.
    """
    number = max(range(len(plan.segments)), key=lambda n: len(plan.segments[n].tiles))
    segment = plan.segments[number]
    step = max(1, len(segment.tiles) // plan.batch)
    chosen = np.arange(0, len(segment.tiles), step)[: plan.batch]
    extents = segment.segment(0).layout.extents(chosen)
    batch = Batch(len(chosen), plan.side, plan.side, plan.seed, 0, segment.gray)
    batch = dataclasses.replace(batch, extents=extents, corrected=segment.corrected)
    words = _SAMPLE_WORDS
    while True:
        began = time.perf_counter()
        message = Message.random(plan.heads, words, 0)
        try:
            x = segment.batch(chosen)
            cost = bits_back.encode(message, loaded.model, batch, x, wanted=wanted)
        except EmptyMessageError:
            words *= 4
            continue
        seconds = (time.perf_counter() - began) / len(chosen)
        popped = tuple(bits / len(chosen) for bits in cost.taken)
        return ChainCost(
            cost.net / len(chosen),
            popped,
            seconds,
            number,
            chosen,
            net_of_tiles(cost),
            cost.side.saved / len(chosen),
        )


def net_of_tiles(cost: BatchCost) -> NDArray[np.float64]:
    """Bits that each tile of a batch added, (B,): latents in proportion to the pixels."""
    return cost.code_length * (cost.net / max(1.0, cost.expected_likelihood))


def shaped(plan: Plan, cost: ChainCost, heads: int | None) -> Plan:
    """The plan with batches that grow as the message does, and side information if that saves.

    Args:
        heads: of the stack; by the length of the chain if None.
    """
    ramp = math.ceil(_RAMP_MARGIN * cost.popped[-1] / cost.net)
    return dataclasses.replace(
        plan.corrected(plan.segments[0].corrected and cost.saved > _LEAST_SAVED * cost.net),
        ramp=min(max(1, ramp), _MOST_RAMP),
        heads=heads or heads_for(cost.net * plan.count),
    )


def heads_for(chain_bits: float) -> int:
    """Heads of the stack for a chain of so many net bits: a power of two, 8 to 512."""
    wanted = min(max(chain_bits / _CHAIN_BITS_PER_HEAD, _FEWEST_HEADS), _MOST_HEADS)
    return 1 << (int(wanted).bit_length() - 1)
