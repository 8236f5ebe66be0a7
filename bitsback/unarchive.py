"""Files back to sets of pictures: the mirror of `archive`."""

import dataclasses
from collections.abc import Callable

import numpy as np

from . import bits_back, container, initial, tables, tiles
from .ans import unflatten
from .archive import Progress
from .chain import Chain
from .container import Header
from .errors import ChecksumError, EmptyMessageError, FormatError, ModelError
from .heads import fold, unfold
from .images import ImageSet, picture_shapes
from .payload import unpack_payload
from .protocol import LoadedModel
from .runs import Run

LoadModel = Callable[[str], LoadedModel]


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a file gives back."""

    images: ImageSet
    payload: bytes


def decompress_set(
    data: bytes, load_model: LoadModel, progress: Progress | None = None
) -> Restored:
    """Inverse of `compress_set`.

    Args:
        data: the bytes of a file.
        load_model: gives the model of a name; called once.

    Raises:
        FormatError: not a bitsback file, or a damaged one.
        ChecksumError: the decoded pixels are not those that were coded.
        ModelError: the model is missing, or not the one that wrote the file.
    """
    header, words = container.unpack(data)
    loaded = matching_model(header, load_model)
    segments = header.segments
    message = unflatten(words, 1)
    runs = [
        Run(np.empty((s.count, s.height, s.width, s.channels), np.uint8), s.gray) for s in segments
    ]
    chain = Chain(segments, header.batch, header.seed)
    total, left = sum(s.count for s in segments), sum(s.count - s.classical for s in segments)
    try:
        if left:
            message = unfold(message, header.heads)
            for place in reversed(chain):
                x = bits_back.decode(message, loaded.model, place.link).transpose(0, 2, 3, 1)
                channels = segments[place.segment].channels
                runs[place.segment].tiles[place.where] = x[..., :channels]
                left -= place.link.batch
                if progress is not None:
                    progress(total - left, total)
            message = fold(message)
    except EmptyMessageError as error:
        raise FormatError("the file is damaged: its message is too short") from error
    except ValueError as error:
        # The coder met a latent to which the posterior gives no interval.
        raise FormatError("the file is damaged: its message is not one of its model") from error
    start = initial.recover(
        message, header.payload_bytes, header.classical_bytes, header.filler_bytes, header.seed
    )
    prefix = initial.decode_prefix(start.prefix, segments, loaded.binary)
    for run, part in zip(runs, prefix, strict=True):
        run.tiles[: len(part)] = part
    if container.pixel_checksum(run.tiles for run in runs) != header.pixels_checksum:
        raise ChecksumError("the decoded pixels do not have the file's checksum")
    return restore(runs, start.payload)


def matching_model(header: Header, load_model: LoadModel) -> LoadedModel:
    """The model that wrote the file.

    Raises:
        ModelError: it is missing or another; the sentence says which is needed.
        FormatError: the file's tables or tiles are not this version's or this model's.
    """
    if header.tables_sha256 != bytes.fromhex(tables.TABLES_SHA256)[:8]:
        raise FormatError("the file was written with other frequency tables than this version's")
    needed = f"model {header.model!r} with SHA-256 {header.model_sha256.hex()}"
    try:
        loaded = load_model(header.model)
    except ModelError as error:
        raise ModelError(f"the file needs {needed}: {error}") from error
    if loaded.sha256 != header.model_sha256:
        raise ModelError(f"the file needs {needed}, but this one has {loaded.sha256.hex()}")
    for segment in header.segments:
        suits = segment.height == segment.width == header.segments[0].height
        suits &= segment.height in loaded.tiles
        if not suits or segment.channels != (1 if segment.gray else loaded.channels):
            raise FormatError("the file is damaged: its tiles are not of its model's shape")
    return loaded


def restore(runs: list[Run], payload: bytes) -> Restored:
    """Pictures and payload from decoded tiles."""
    manifest, extra, user = unpack_payload(payload)
    shapes = picture_shapes(manifest)
    joined = {
        run.tiles.shape[3]: iter(
            tiles.join(run.tiles, [s for s in shapes if s[2] == run.tiles.shape[3]])
        )
        for run in runs
    }
    if joined.keys() != {shape[2] for shape in shapes}:
        raise FormatError("the file is damaged: its pictures are not those of its manifest")
    pictures = [next(joined[shape[2]]) for shape in shapes]
    binary = bool(manifest.pop("binary", False))
    return Restored(ImageSet(pictures, binary, manifest, extra), user)
