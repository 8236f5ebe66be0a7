"""Pictures to a chunk: tiles, segments, initial bits, chain.

A segment is a run of equal tiles of one kind (colour, or gray); its links are coded in order, and
segments one after another, on one message. See `bits_back` for a link, `chunk` for the bytes.
"""

import dataclasses
import math

import numpy as np

from . import bits_back, initial, tiles
from .ans import DEFAULT_HEADS, Message, flatten
from .chain import Chain
from .chunk import (
    MAX_LINK_VALUES,
    ChunkHead,
    Segment,
    fewest_bytes,
    link_values,
    pack_chunk,
    pixel_checksum,
)
from .errors import EmptyMessageError, InputError
from .heads import fold, unfold
from .images import ImageSet
from .payload import pack_payload
from .progress import Progress
from .protocol import LoadedModel
from .rates import RateReport, Tally
from .runs import Run, runs_of, tile_side

_MARGIN_WORDS = 4
_FEWEST_HEADS, _MOST_HEADS = 8, 512
# More heads are faster, but each takes about 52 bits off the message before the first pop. Initial
# bits are worth less than they cost by a third or so: at 16,000 bits of chain a head, 0.1 %.
_CHAIN_BITS_PER_HEAD = 16000
# Links grow as the message does, with a little to spare for tiles that add less to it than others.
_RAMP_MARGIN, _MOST_RAMP = 1.25, 65535
# A classical code of all tiles is tried unless, of so many values, it is so much larger than net;
# where it is so much smaller than the model's code, the chain is not even tried.
_SAMPLE_VALUES, _HOPELESS, _PLAIN = 1 << 18, 1.07, 0.5


@dataclasses.dataclass(frozen=True)
class Coding:
    """How pictures are coded, for all chunks of a file.

    Args:
        loaded: the model.
        batch: the most tiles per link; if None the model's default, in pixels, of the largest tile.
        seed: of the file's dither.
        heads: of the stack; 8 to 512 by the length of the chain if None.
        always_chain: code through the model even where a classical code is smaller, to
            measure the model.
    """

    loaded: LoadedModel
    batch: int | None = None
    seed: int = 0
    heads: int | None = None
    always_chain: bool = False

    def __post_init__(self) -> None:
        if self.batch is not None and not 1 <= self.batch <= 65535:
            raise InputError("the batch must lie between 1 and 65535")
        if not 0 <= self.seed < 2**64:
            raise InputError("the seed must lie between 0 and 2**64 - 1")


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A chunk's bytes and where its bits went."""

    data: bytes
    report: RateReport


def encode_chunk(
    images: ImageSet, coding: Coding, number: int, payload: bytes, progress: Progress | None
) -> Chunk:
    """Compress pictures to the bytes of a chunk.

    The initial bits are the payload, then as many first tiles in a classical code as the chain
    needs; a set too small for a chain is stored classically, or with filler, whichever is less.

    Args:
        number: of the chunk in its file.
        payload: the caller's bytes, to lie at the bottom of the stack.
        progress: called with (tiles done, tiles in all).

    Raises:
        InputError: the model cannot code such pictures, or not so many side by side.
    """
    loaded = coding.loaded
    side = tile_side(images, loaded)
    runs = runs_of(images, loaded, side)
    job = _Job(
        images,
        runs,
        side,
        loaded,
        number,
        pack_payload(images.manifest | {"binary": images.binary}, images.extra, payload),
        coding.batch or loaded.batch * (loaded.tiles[-1] // side) ** 2,
        1,
        coding.seed,
        coding.heads or DEFAULT_HEADS,
        progress,
    )
    job.check_batch()
    modelled, borrowed = job.sample()
    classical = math.inf if coding.always_chain else job.classical_sample()
    if classical < _PLAIN * modelled:
        return job.encode(job.count, 0)
    job = dataclasses.replace(
        job,
        ramp=min(max(1, math.ceil(_RAMP_MARGIN * borrowed / modelled)), _MOST_RAMP),
        heads=coding.heads or heads_for(modelled * job.count),
    )
    need = job.probe()
    first = job.prefix_for(need)
    if first is None:
        counts = (0,) if coding.always_chain else (job.count, 0)
        return min((job.encode(n, need) for n in counts), key=lambda c: len(c.data))
    chained = job.encode(first, need)
    if classical > _HOPELESS * chained.report.net_bits / chained.report.chained_images:
        return chained
    return min(chained, job.encode(job.count, 0), key=lambda c: len(c.data))


def heads_for(chain_bits: float) -> int:
    """Heads of the stack for a chain of so many net bits: a power of two, 8 to 512."""
    wanted = min(max(chain_bits / _CHAIN_BITS_PER_HEAD, _FEWEST_HEADS), _MOST_HEADS)
    return 1 << (int(wanted).bit_length() - 1)


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
class _Job:
    images: ImageSet
    runs: list[Run]
    side: int
    loaded: LoadedModel
    number: int
    payload: bytes
    batch: int
    ramp: int
    seed: int
    heads: int
    progress: Progress | None

    @property
    def count(self) -> int:
        return sum(len(run.tiles) for run in self.runs)

    def check_batch(self) -> None:
        """Raise InputError if a link would be larger than a decoder allows."""
        for segment in self.segments([0] * len(self.runs)):
            if self.batch > 1 and link_values(self.batch, segment) > MAX_LINK_VALUES:
                most = MAX_LINK_VALUES // link_values(1, segment)
                raise InputError(f"the batch must be at most {most} for tiles of this size")

    def chain_of(self, segments: tuple[Segment, ...]) -> Chain:
        """The links of these segments."""
        return Chain(segments, self.batch, self.seed, self.number, self.ramp)

    def split(self, count: int) -> list[int]:
        """How the first `count` tiles divide among the segments."""
        found = []
        for run in self.runs:
            found.append(min(count, len(run.tiles)))
            count -= found[-1]
        return found

    def segments(self, counts: list[int]) -> tuple[Segment, ...]:
        """The runs as the header tells them, with their first counts[i] tiles classical."""
        return tuple(
            Segment(len(r.tiles), self.side, self.side, r.tiles.shape[3], r.gray, n)
            for r, n in zip(self.runs, counts, strict=True)
        )

    def chained_dims(self, counts: list[int]) -> int:
        """Values of the pictures, padding left out, in all tiles but the first counts[i]."""
        found = 0
        for run, count in zip(self.runs, counts, strict=True):
            shapes = [p.shape for p in self.images.pictures if p.shape[2] == run.tiles.shape[3]]
            found += int(tiles.values(shapes, (self.side, self.side))[count:].sum())
        return found

    def prefix(self, count: int) -> bytes:
        """Classical code of the first `count` tiles."""
        return initial.encode_prefix(
            [run.tiles for run in self.runs], self.split(count), self.loaded.binary
        )

    def classical_sample(self) -> float:
        """Bits per tile of a classical code, over tiles from all parts."""
        wanted = -(-_SAMPLE_VALUES // self.runs[0].tiles[0].size)
        spread = [_spread(len(r.tiles), wanted * len(r.tiles) // self.count) for r in self.runs]
        some = [run.tiles[where] for run, where in zip(self.runs, spread, strict=True)]
        counts = [len(where) for where in spread]
        return 8 * len(initial.encode_prefix(some, counts, self.loaded.binary)) / sum(counts)

    def sample(self) -> tuple[float, float]:
        """Bits per tile of the model, and those that a tile's latents take first.

        From a link of tiles that are spread over the longest run.
        """
        run = max(self.runs, key=lambda r: len(r.tiles))
        few = np.arange(0, len(run.tiles), max(1, len(run.tiles) // self.batch))[: self.batch]
        link = bits_back.Link(len(few), self.side, self.side, self.seed, 0, run.gray)
        cost, used = self.trial(link, run.batch(few))
        return cost.net / len(few), 32 * used / len(few)

    def probe(self) -> int:
        """Bytes that the first link needs, found by coding it on an ample message."""
        place = next(iter(self.chain_of(self.segments([0] * len(self.runs)))))
        _, used = self.trial(place.link, self.runs[place.segment].batch(place.where))
        # Unfolding takes 52 bits a head on average; where that is too little, `encode` adds.
        return 4 * (used + 13 * self.heads // 8 + _MARGIN_WORDS)

    def trial(self, link: bits_back.Link, x: np.ndarray) -> tuple[bits_back.LinkCost, int]:
        """Code a link on an ample message: what it costs, and how many words it takes first."""
        words = 1 << 18
        while True:
            message = Message.random(self.heads, words, 0)
            message.track_low_water()
            try:
                cost = bits_back.encode(message, self.loaded.model, link, x)
            except EmptyMessageError:
                words *= 4
                continue
            return cost, words - message.lowest_words

    def prefix_for(self, need: int) -> int | None:
        """Fewest tiles whose classical code, with the payload, fills `need` bytes."""

        def enough(count: int) -> bool:
            return len(self.payload) + (len(self.prefix(count)) if count else 0) >= need

        if enough(0):
            return 0
        most = self.count - 1  # a chain has a tile at least
        low, high = 0, min(1, most)
        while not enough(high):
            if high == most:
                return None
            low, high = high, min(2 * high, most)
        while high - low > max(1, high // 64):
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high

    def encode(self, count: int, need: int) -> Chunk:
        """The file with its first `count` tiles in the prefix and at least `need` initial bytes."""
        prefix = self.prefix(count)
        fewest = fewest_bytes(self.segments([0] * len(self.runs)))
        need = fewest if count == self.count else max(need, fewest)
        while True:
            filler = max(0, need - len(self.payload) - len(prefix))
            try:
                return self.chain(count, initial.Initial(self.payload, prefix, filler))
            except EmptyMessageError as error:
                need += 2 * (error.missing_bits // 8 + 4 * _MARGIN_WORDS)
                if need > len(self.payload) + len(prefix) and count:
                    count = self.prefix_for(need) or count
                    prefix = self.prefix(count)

    def chain(self, count: int, start: initial.Initial) -> Chunk:
        """Code all tiles but the first `count` on top of the initial bits."""
        tally = Tally()
        message = start.message(self.seed, self.number)
        counts = self.split(count)
        segments = self.segments(counts)
        if count < self.count:
            message = unfold(message, self.heads)
            done = count
            for place in self.chain_of(segments):
                x = self.runs[place.segment].batch(place.where)
                cost = bits_back.encode(message, self.loaded.model, place.link, x)
                tally.add(cost, self.runs[place.segment].tiles[place.where].size)
                done += place.link.batch
                if self.progress is not None:
                    self.progress(done, self.count)
            message = fold(message)
        words = flatten(message)
        head = ChunkHead(
            segments=segments,
            batch=self.batch,
            ramp=self.ramp,
            heads=self.heads,
            payload_bytes=len(start.payload),
            classical_bytes=len(start.prefix),
            filler_bytes=start.filler,
            pixels_checksum=pixel_checksum((run.tiles for run in self.runs), start.payload),
        )
        data = pack_chunk(head, words)
        net = sum(link.net_bits for link in tally.links)
        report = tally.report(
            images=len(self.images.pictures),
            dims=sum(p.size for p in self.images.pictures),
            chained_dims=self.chained_dims(counts),
            payload_bits=8 * len(start.payload),
            classical_bits=8 * len(start.prefix),
            filler_bits=8 * start.filler,
            header_bits=8 * (len(data) - 4 * len(words)),
            head_bits=32 * len(words) - net - 8 * start.size,
        )
        return Chunk(data, report)
