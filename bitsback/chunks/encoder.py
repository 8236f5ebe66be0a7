"""A chunk's images to its bytes: in a chain through the model, or in a classical code.

A segment is a run of equal tiles of one kind (colour, or gray); its batches are coded in order, and
segments one after another, on one message. See `bits_back` for a batch, `format.chunk` for the
bytes.
"""

import dataclasses
import math
import zlib

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
from bitsback.errors import BitsbackError, EmptyMessageError, InputError
from bitsback.format.chunk import pack_chunk, pixel_checksum
from bitsback.format.chunk_head import ChunkHead
from bitsback.images.image_set import ImageSet
from bitsback.images.manifest import ArrayManifest
from bitsback.images.parts import carried_images
from bitsback.progress import Progress, Rising, Stretch, enter
from bitsback.side.wanted import BOTH, Wanted

from . import carrying, cost, order
from .check import check_batch, comes_back, differs
from .cost import CAUTION, Needs
from .plan import Plan, Settings, payload_of, plan_chunk
from .prefix import encode_prefix, is_new

# A classical code of all tiles is tried unless a sample makes it so much larger than net; where it
# is so much smaller than the model's code, the chain is not even tried.
_HOPELESS, _PLAIN = 1.07, 0.5
_UNITS = 1 << 20  # of a chunk's progress

Bits = list[NDArray[np.float64]]
"""Bits of each tile of each segment."""


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A chunk's bytes and where its bits went.

    Args:
        image_bits: that the pixels of each image took, (N,).
        carried: numbers of images whose files travel in place of their pixels.
        without_model: whether the model has no part in it.
        is_new: whether only readers of version 5 of the format know its classical code.
        image_files: that travel as they are in it.
        is_corrected: whether its batches have side information.
    """

    data: bytes
    report: RateReport
    image_bits: NDArray[np.float64]
    carried: frozenset[int] = frozenset()
    without_model: bool = False
    is_new: bool = False
    image_files: int = 0
    is_corrected: bool = False


def encode_chunk(
    images: ImageSet,
    loaded: LoadedModel,
    settings: Settings,
    *,
    number: int,
    payload: bytes,
    progress: Progress | None = None,
) -> Chunk:
    """Compress images to the bytes of a chunk.

    The initial bits are the payload and what the first batches add, which code the latents of few
    groups; a classical code takes the place of everything where it is smaller, and the files of
    images that of their pixels (see `carrying`).

    Args:
        number: of the chunk in its file.
        payload: the caller's bytes, to lie at the bottom of the stack.
        progress: called with (done, in all) of the time that this chunk should take.

    Raises:
        InputError: the model cannot code such images, or not so many side by side.
        ModelError: what was coded does not decode: the model gives other numbers the second time.
        BitsbackError: what was coded without the model does not decode.
    """
    if len(images.pixels):
        if isinstance(images.pixels, np.ndarray):  # which its owner may change in the meantime
            images = dataclasses.replace(images, pixels=images.pixels.copy())
        if settings.any_order:
            images = in_canonical_order(images)
        chunk, images = _encode_smallest(images, loaded, settings, number, payload, progress)
    else:
        chunk = encode_files(images, settings, number, payload)
    if settings.check == "all" or (settings.check == "last" and chunk.without_model):
        enter(progress, "checking")
        whole = comes_back(chunk.data, images, payload, loaded, settings, number)
        if not whole and chunk.without_model:
            raise BitsbackError(
                "what was coded without a model does not decode, and nothing is written: a library "
                "for images or for compression is at fault"
            )
        if not whole:
            raise differs(loaded)
    return dataclasses.replace(chunk, image_files=len(carried_images(images)))


def in_canonical_order(images: ImageSet) -> ImageSet:
    """The images of an array, sorted as they come back where their order is not coded.

    Raises:
        InputError: they are files, or have low bits beside them.
    """
    if images.sidecars is not None or not isinstance(images.manifest, ArrayManifest):
        raise InputError("only arrays of 8-bit or binary images can be coded in any order")
    numbers = order.canonical(images.pixels).tolist()
    return dataclasses.replace(images, pixels=[images.pixels[number] for number in numbers])


def _encode_smallest(
    images: ImageSet,
    loaded: LoadedModel,
    settings: Settings,
    number: int,
    payload: bytes,
    progress: Progress | None,
) -> tuple[Chunk, ImageSet]:
    """The smallest chunk of these images, some perhaps as files, and the set that it holds."""
    tell = Rising(progress)  # where tiles are coded in more than one way
    best, held = _encode(images, loaded, settings, number, payload, tell), images
    if settings.always_chain:
        return best, held
    size, beside = len(best.data), best.report.payload_bits // 8
    for numbers in carrying.choices(images, best.image_bits, size, beside):
        left = carrying.carried(images, numbers)
        if len(left.pixels):
            other = _encode(left, loaded, settings, number, payload, tell)
        else:
            other = encode_files(left, settings, number, payload)
        if len(other.data) < len(best.data):
            best, held = dataclasses.replace(other, carried=numbers), left
    return best, held


def _encode(
    images: ImageSet,
    loaded: LoadedModel,
    settings: Settings,
    number: int,
    payload: bytes,
    progress: Progress,
) -> Chunk:
    """`encode_chunk`, its last batch checked if the settings say so."""
    enter(progress, "sampling")
    plan = plan_chunk(images, loaded, settings, number, payload)
    expected, classical, trial = cost.chain_cost(plan, loaded, settings.side), math.inf, 0.0
    if not settings.always_chain:
        sampled = cost.classical_cost(plan, loaded.binary)
        classical, trial = sampled.bits, sampled.seconds
    if classical < _PLAIN * expected.net:
        return encode_classically(plan, loaded.binary, progress)
    # What comes after the chain takes its share of the time, too.
    if classical > _HOPELESS * expected.net:
        trial = 0.0
    after = trial + (expected.seconds if settings.check == "all" else 0.0)
    seconds = max(expected.seconds + after, 1e-9)  # nobody's clock need be so fine
    first, second = (
        round(_UNITS * share / seconds) for share in (expected.seconds, expected.seconds + trial)
    )
    enter(progress, "encoding")
    encoding = Stretch(progress, 0, first, _UNITS)
    trying = Stretch(progress, first, second, _UNITS)
    plan = cost.shaped(plan, expected, settings.heads)
    needs = Needs(expected.popped, plan.heads)
    check = settings.check != "none"
    encoder = ChainEncoder(plan, loaded, needs, encoding, check, settings.measure, settings.side)
    chained = encoder.encode(filled=False)
    if not chained.report.batches:
        filled = encoder.encode(filled=True)
        if settings.always_chain:
            return filled
        return _smallest(chained, filled, encode_classically(plan, loaded.binary, trying))
    hopeless = _HOPELESS * chained.report.net_bits / chained.report.chained_images
    is_small = len(chained.data) <= len(plan.payload) + plan.dims
    if settings.always_chain or (is_small and classical > hopeless):
        return chained
    return _smallest(chained, encode_classically(plan, loaded.binary, trying))


def encode_files(images: ImageSet, settings: Settings, number: int, payload: bytes) -> Chunk:
    """A chunk of files without images: a payload alone."""
    plan = Plan((), (), payload_of(images, payload), number, settings.seed, batch=1, heads=1)
    initial = Initial(plan.payload, b"", 0)
    message = initial.message(plan.seed, plan.number)
    chunk = _pack(plan, message, initial, Beginning((), 0, 0.0), Tally(), [])
    return dataclasses.replace(chunk, without_model=True)


def _smallest(*chunks: Chunk) -> Chunk:
    return min(chunks, key=lambda chunk: len(chunk.data))


def encode_classically(plan: Plan, binary: bool, progress: Progress | None = None) -> Chunk:
    """All tiles in a classical code."""
    plan = plan.corrected(False)
    enter(progress, "trying classical codes")
    prefix = encode_prefix([segment.some() for segment in plan.segments], binary, progress)
    filler = max(0, plan.fewest_bytes - len(plan.payload) - len(prefix))
    initial = Initial(plan.payload, prefix, filler)
    message = initial.message(plan.seed, plan.number)
    bits = 8.0 * len(prefix)
    # All tiles are coded together: each takes about its share of what they take by themselves.
    alone = [
        np.array([len(zlib.compress(tile, 1)) for tile in segment.tiles])
        for segment in plan.segments
    ]
    shares = [sizes * (bits / sum(map(np.sum, alone))) for sizes in alone]
    chunk = _pack(plan, message, initial, Beginning((), plan.count, bits), Tally(), shares)
    return dataclasses.replace(chunk, without_model=True, is_new=is_new(prefix))


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
        return _pack(coded, fold(message), initial, beginning, tally, bits, remaining)

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
        share = cost.net / max(1.0, cost.expected_likelihood)
        of_tiles[step.segment][where] = cost.code_length * share
        if before is not None:
            check_batch(message.copy(), before, self.loaded, batch, x)
        return cost


def _pack(
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
    corrected = any(segment.corrected for segment in plan.segments)
    return Chunk(data, report, plan.image_bits(of_tiles), is_corrected=corrected)
