"""A chunk back to its images: the mirror of `encoder`."""

import dataclasses
import itertools

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.heads import fold, unfold
from bitsback.ans.message import unflatten
from bitsback.coding import bits_back, initial_bits
from bitsback.coding.chain import Chain, ChainStep
from bitsback.coding.model import LoadedModel
from bitsback.errors import ChecksumError, EmptyMessageError, FormatError
from bitsback.format.chunk import pixel_checksum, unpack_chunk
from bitsback.format.chunk_head import ChunkHead
from bitsback.format.payload import unpack_payload
from bitsback.images.image_set import ImageSet, from_payload
from bitsback.images.manifest import from_json
from bitsback.progress import Progress
from bitsback.tiles import channels as planes
from bitsback.tiles import tiles

from .order import Gathered
from .prefix import decode_prefix


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a chunk gives back: its images, and the caller's payload."""

    images: ImageSet
    payload: bytes


def decode_chunk(
    data: bytes,
    loaded: LoadedModel,
    *,
    version: int,
    seed: int,
    number: int,
    images: int,
    progress: Progress | None = None,
) -> Restored:
    """Inverse of `encode_chunk`.

    Args:
        data: the bytes of a chunk.
        loaded: the model that wrote it.
        version: of the file's format.
        seed: of the file's dither.
        number: of the chunk in its file.
        images: that the file's index promises.
        progress: called with (tiles done, tiles in all).

    Raises:
        FormatError: the chunk is damaged.
        ChecksumError: it was altered, or the decoded pixels are not those that were coded.
    """
    head, words = unpack_chunk(data, version)
    _check_tiles(head, loaded)
    segments = head.segments
    message = unflatten(words, 1)
    decoded = [np.empty((s.count, s.height, s.width, s.channels), np.uint8) for s in segments]
    total, done = sum(s.count for s in segments), 0

    def put(step: ChainStep, x: NDArray[np.uint8]) -> None:
        nonlocal done
        channels = segments[step.segment].channels
        decoded[step.segment][step.where] = x.transpose(0, 2, 3, 1)[..., :channels]
        done += step.batch.size
        if progress is not None:
            progress(done, total)

    if not segments:
        return _restore_files(words, head, seed, number, images)
    chain = Chain(segments, head.batch, seed, number, head.ramp, head.partial)
    try:
        if chain.begins < len(chain):
            message = unfold(message, head.heads)
            gathered = Gathered()
            for step in chain.steps(range(chain.begins, len(chain))[::-1]):
                x = bits_back.decode(message, loaded.model, step.batch)
                put(step, x)
                segment = segments[step.segment]
                if segment.any_order:
                    found = decoded[0][step.where].copy()
                    height, width = segment.image_size
                    gathered.push(message, found, found[:, :height, :width])
            if gathered.images:
                decoded[0][-len(gathered.images) :] = gathered.images
            message = fold(message)
        for step in chain.steps(range(chain.begins)[::-1]):
            put(step, bits_back.decode(message, loaded.model, step.batch))
    except EmptyMessageError as error:
        raise FormatError("its message is too short") from error
    except ValueError as error:
        # The coder met a latent to which the posterior gives no interval.
        raise FormatError("its message is not one of its model") from error
    initial = initial_bits.recover(message, head.initial, seed, number)
    prefix = decode_prefix(initial.prefix, segments, loaded.binary)
    for segment_tiles, classical in zip(decoded, prefix, strict=True):
        segment_tiles[: len(classical)] = classical
    size = len(head.pixels_checksum)
    if pixel_checksum(decoded, initial.payload, size) != head.pixels_checksum:
        raise ChecksumError("its decoded pixels and payload do not have its checksum")
    return _restore(decoded, initial.payload, images)


def _restore_files(
    words: NDArray[np.uint32], head: ChunkHead, seed: int, number: int, images: int
) -> Restored:
    """Files and payload of a chunk without images."""
    try:
        initial = initial_bits.recover(unflatten(words, 1), head.initial, seed, number)
    except EmptyMessageError as error:
        raise FormatError("its message is too short") from error
    size = len(head.pixels_checksum)
    if images or pixel_checksum([], initial.payload, size) != head.pixels_checksum:
        raise ChecksumError("its files do not have its checksum")
    return _restore([], initial.payload, 0)


def _check_tiles(head: ChunkHead, loaded: LoadedModel) -> None:
    for segment in head.segments:
        suits = segment.height == segment.width == head.segments[0].height
        suits &= segment.height in loaded.tiles
        if not suits or segment.channels != (1 if segment.gray else loaded.channels):
            raise FormatError("its tiles are not of its model's shape")


def _restore(decoded: list[NDArray[np.uint8]], payload: bytes, count: int) -> Restored:
    """Images and payload from the decoded tiles of each segment, (n, h, w, C) uint8."""
    if count > sum(map(len, decoded)):
        raise FormatError("it has fewer tiles than its index has images")
    fields, packed, user = unpack_payload(payload)
    binary = bool(fields.pop("binary", False))
    manifest = from_json(fields)
    shapes = manifest.image_shapes(count)
    joined = {}
    for segment_tiles in decoded:
        channels = segment_tiles.shape[3]
        joined[channels] = iter(tiles.join(segment_tiles, planes.shapes(shapes, channels)))
    wanted = [planes.PLANES[shape[2]] for shape in shapes]
    if joined.keys() != set(itertools.chain(*wanted)):
        raise FormatError("its images are not those of its manifest")
    pixels = [np.concatenate([next(joined[c]) for c in own], 2) for own in wanted]
    return Restored(from_payload(pixels, binary, manifest, packed), user)
