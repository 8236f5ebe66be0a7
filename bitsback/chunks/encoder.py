"""Images to a chunk: tiles, segments, initial bits, chain.

A segment is a run of equal tiles of one kind (colour, or gray); its batches are coded in order, and
segments one after another, on one message. See `bits_back` for a batch, `chunk` for the bytes.
"""

import dataclasses
import math

from bitsback.ans.message import DEFAULT_HEADS
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError
from bitsback.format.payload import pack_payload
from bitsback.images.image_set import ImageSet
from bitsback.progress import Progress
from bitsback.tiles import channels, segments

from .plan import Chunk, Job

_FEWEST_HEADS, _MOST_HEADS = 8, 512
# More heads are faster, but each takes about 52 bits off the message before the first pop. Initial
# bits are worth less than they cost by a third or so: at 16,000 bits of chain a head, 0.1 %.
_CHAIN_BITS_PER_HEAD = 16000
# Batches grow as the message does, with a little to spare for tiles that add less than others.
_RAMP_MARGIN, _MOST_RAMP = 1.25, 65535
# A chain needs many tiles to earn back its initial bits, if its model has any latents.
_LEAST_TILES = 48
# A classical code of all tiles is tried unless a sample makes it so much larger than net; where it
# is so much smaller than the model's code, the chain is not even tried.
_HOPELESS, _PLAIN = 1.07, 0.5


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the chunks of a file are coded.

    Args:
        batch: the most tiles per batch; if None the model's default, in pixels of its largest tile.
        seed: of the file's dither.
        heads: of the stack; 8 to 512 by the length of the chain if None.
        always_chain: code through the model even where a classical code is smaller, to
            measure the model.

    Raises:
        InputError: the batch or the seed is out of range.
    """

    batch: int | None = None
    seed: int = 0
    heads: int | None = None
    always_chain: bool = False

    def __post_init__(self) -> None:
        if self.batch is not None and not 1 <= self.batch <= 65535:
            raise InputError("the batch must lie between 1 and 65535")
        if not 0 <= self.seed < 2**64:
            raise InputError("the seed must lie between 0 and 2**64 - 1")


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
    groups; a classical code takes the place of everything where it is smaller.

    Args:
        number: of the chunk in its file.
        payload: the caller's bytes, to lie at the bottom of the stack.
        progress: called with (tiles done, tiles in all).

    Raises:
        InputError: the model cannot code such images, or not so many side by side.
    """
    check_codable(images, loaded)
    side = tile_side(images, loaded)
    runs = segments.cut(images.pixels, side, loaded.channels)
    job = Job(
        images,
        runs,
        side,
        loaded,
        number,
        pack_payload(images.manifest | {"binary": images.binary}, images.packed, payload),
        settings.batch or loaded.batch * (loaded.tiles[-1] // side) ** 2,
        (),
        1,
        settings.seed,
        settings.heads or DEFAULT_HEADS,
        None if progress is None else _rising(progress),
    )
    job.check_batch()
    modelled, popped = job.sample()
    classical = math.inf if settings.always_chain else job.classical_sample()
    if classical < _PLAIN * modelled:
        return job.classical()
    job = dataclasses.replace(
        job,
        popped=popped,
        ramp=min(max(1, math.ceil(_RAMP_MARGIN * popped[-1] / modelled)), _MOST_RAMP),
        heads=settings.heads or heads_for(modelled * job.count),
    )
    chained = job.chained(filled=False)
    if not chained.report.batches:
        filled = job.chained(filled=True)
        if settings.always_chain:
            return filled
        return min(chained, filled, job.classical(), key=lambda c: len(c.data))
    if classical > _HOPELESS * chained.report.net_bits / chained.report.chained_images:
        return chained
    return min(chained, job.classical(), key=lambda c: len(c.data))


def check_codable(images: ImageSet, loaded: LoadedModel) -> None:
    """Raise InputError unless the model codes images of this kind."""
    if loaded.binary and not images.binary:
        raise InputError(
            f"model {loaded.name!r} codes binary images (0 and 1) only: "
            "use a model of 8-bit images, such as photo"
        )
    if loaded.channels < max(max(channels.PLANES[p.shape[2]]) for p in images.pixels):
        raise InputError(
            f"model {loaded.name!r} codes gray images only: use a colour model, such as photo"
        )


def tile_side(images: ImageSet, loaded: LoadedModel) -> int:
    """The side in pixels of the tiles that images are cut into."""
    shapes = [plane.shape for pixels in images.pixels for plane in channels.split(pixels)]
    return segments.tile_side(shapes, loaded.tiles, _LEAST_TILES if loaded.has_latents else 1)


def _rising(progress: Progress) -> Progress:
    """Progress that never goes back, where tiles are coded in more than one way."""
    most = 0

    def tell(done: int, total: int) -> None:
        nonlocal most
        if done > most:
            most = done
            progress(done, total)

    return tell


def heads_for(chain_bits: float) -> int:
    """Heads of the stack for a chain of so many net bits: a power of two, 8 to 512."""
    wanted = min(max(chain_bits / _CHAIN_BITS_PER_HEAD, _FEWEST_HEADS), _MOST_HEADS)
    return 1 << (int(wanted).bit_length() - 1)
