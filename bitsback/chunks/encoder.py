"""A chunk's images to its bytes: in a chain through the model, or in a classical code.

The smallest way is taken; see `chain_encoder` for the chain.
"""

import dataclasses
import zlib

import numpy as np

from bitsback.coding.initial_bits import Initial
from bitsback.coding.model import LoadedModel
from bitsback.coding.reports.tally import Tally
from bitsback.errors import BitsbackError, InputError
from bitsback.images.image_set import ImageSet
from bitsback.images.manifest import ArrayManifest
from bitsback.images.parts import carried_images
from bitsback.progress import Progress, Rising, Stretch, enter

from . import carrying, cost, order, trials
from .chain_encoder import Beginning, ChainEncoder, Chunk, pack
from .check import comes_back, differs
from .cost import Needs
from .plan import Plan, Settings, payload_of, plan_chunk
from .prefix import encode_prefix, is_new, methods
from .trials import Trial

_UNITS = 1 << 20  # of a chunk's progress


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
    return dataclasses.replace(chunk, tile_bits=(), image_files=len(carried_images(images)))


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
    expected, trial = cost.chain_cost(plan, loaded, settings.side), trials.HOPELESS
    if not settings.always_chain:
        trial = trials.sample(plan, loaded.binary)
    if trials.is_plain(trial, plan, expected, loaded.binary):
        chunk = encode_classically(plan, loaded.binary, trial, progress)
        return dataclasses.replace(chunk, why=_sampled(plan, expected.net * plan.count, trial))
    # What comes after the chain takes its share of the time, too.
    chain = expected.seconds * plan.count
    trying_all = trial.seconds_of(plan) if trial.bits_of(plan) < expected.net * plan.count else 0.0
    after = trying_all + (chain if settings.check == "all" else 0.0)
    seconds = max(chain + after, 1e-9)  # nobody's clock need be so fine
    first, second = (round(_UNITS * share / seconds) for share in (chain, chain + trying_all))
    enter(progress, "encoding")
    encoding = Stretch(progress, 0, first, _UNITS)
    trying = Stretch(progress, first, second, _UNITS)
    plan = cost.shaped(plan, expected, settings.heads)
    needs = Needs(expected.popped, plan.heads)
    check = settings.check != "none"
    encoder = ChainEncoder(plan, loaded, needs, encoding, check, settings.measure, settings.side)
    chained = encoder.encode(filled=False)
    if not chained.report.batches:
        filled = dataclasses.replace(
            encoder.encode(filled=True), how="through the model, on filler"
        )
        if settings.always_chain:
            return filled
        return _smallest(chained, filled, encode_classically(plan, loaded.binary, trial, trying))
    is_small = len(chained.data) <= len(plan.payload) + plan.dims
    begun = plan.count - chained.report.chained_images
    if settings.always_chain or (is_small and not trial.saves(chained.tile_bits, begun)):
        net = chained.report.net_bits / chained.report.chained_images * plan.count
        return dataclasses.replace(chained, why=_sampled(plan, net, trial))
    return _smallest(chained, encode_classically(plan, loaded.binary, trial, trying))


def encode_files(images: ImageSet, settings: Settings, number: int, payload: bytes) -> Chunk:
    """A chunk of files without images: a payload alone."""
    plan = Plan((), (), payload_of(images, payload), number, settings.seed, batch=1, heads=1)
    initial = Initial(plan.payload, b"", 0)
    message = initial.message(plan.seed, plan.number)
    chunk = pack(plan, message, initial, Beginning((), 0, 0.0), Tally(), [])
    return dataclasses.replace(chunk, without_model=True, how="as files")


def _smallest(*chunks: Chunk) -> Chunk:
    best, *others = sorted(chunks, key=lambda chunk: len(chunk.data))
    why = ", ".join(f"{len(chunk.data):,} bytes {chunk.how}" for chunk in others)
    return dataclasses.replace(best, why=why)


def _sampled(plan: Plan, net: float, trial: Trial) -> str:
    """In words, what the ways to code a chunk take; "" where no sample was taken.

    Args:
        net: bits of all tiles through the model.
    """
    if not trial.numbers:
        return ""
    return (
        f"net {net / plan.dims:.3f} bits/dim through the model, "
        f"on a sample {trial.bits_of(plan) / plan.dims:.3f} in a classical code"
    )


def encode_classically(
    plan: Plan, binary: bool, trial: Trial, progress: Progress | None = None
) -> Chunk:
    """All tiles in a classical code, the smallest of those that a sample does not rule out."""
    plan = plan.corrected(False)
    enter(progress, "trying classical codes")
    tiles = [segment.some() for segment in plan.segments]
    prefix = encode_prefix(tiles, binary, progress, trial.methods or None)
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
    chunk = pack(plan, message, initial, Beginning((), plan.count, bits), Tally(), shares)
    how = f"in a classical code ({', '.join(methods(prefix))})"
    return dataclasses.replace(chunk, without_model=True, is_new=is_new(prefix), how=how)
