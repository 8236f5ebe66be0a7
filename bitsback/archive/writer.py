"""Sets of images to files: chunks one after another, and the index before them.

The writer holds one chunk of images at a time, beside those that an executor's workers have.
"""

import dataclasses
import io
import itertools
import logging
from collections.abc import Callable, Collection
from functools import partial
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bitsback.chunks.chain_encoder import Chunk
from bitsback.chunks.plan import DEFAULT, Settings
from bitsback.coding.model import NO_MODEL, LoadedModel
from bitsback.coding.rates import RateReport
from bitsback.coding.reports import tally
from bitsback.errors import InputError, plain_bytes, whole_number
from bitsback.format import header as container
from bitsback.format.header import ChunkEntry, Header, pack_header
from bitsback.images.image_set import Block, ImageSet, bare, part
from bitsback.images.manifest import FilesManifest
from bitsback.images.outcomes import Kept
from bitsback.progress import Progress, enter
from bitsback.tables import tables

from . import any_order
from .executor import EncodeTask, Executor, SerialExecutor, run_chunks

_log = logging.getLogger(__name__)

# A chunk is the unit of access and of damage, and pays for its own initial bits (docs/design.md).
# Binary values are worth far fewer bits.
CHUNK_VALUES, CHUNK_BINARY_VALUES = 1 << 22, 1 << 24
_MOVED = 1 << 20  # bytes at once


@dataclasses.dataclass(frozen=True)
class Written:
    """What became of a set.

    Args:
        report: where the file's bits went.
        kept: how the set's files come back.
    """

    report: RateReport
    kept: Kept


@dataclasses.dataclass(frozen=True)
class Compressed(Written):
    """A file's bytes, and what became of the set."""

    data: bytes


def compress_to(
    file: BinaryIO,
    images: ImageSet,
    loaded: LoadedModel,
    settings: Settings,
    *,
    payload: bytes = b"",
    chunk: int | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Written:
    """Compress images to a file.

    Args:
        file: open for writing and reading, and one that can seek.
        loaded: the model; `NO_MODEL` will do for a set without images.
        payload: the caller's bytes, which lie in the first chunk.
        chunk: images per chunk; if None, chunks of about 4 MiB of pixels, 16 MiB where the
            images are binary.
        progress: called with (values done, values in all), those of files that have no pixels being
            their bytes.
        executor: what codes the chunks, with the same model; this process if None.

    Raises:
        InputError: the model cannot code such images, or chunk is out of range.
        ModelError: what was coded does not decode.
    """
    payload = plain_bytes(payload, "payload")
    if settings.any_order:
        images = any_order.with_companions(images, bounds_of(images, chunk))
    parts = parts_of(images, chunk)
    bounds = [(each.begin, each.end) for each in parts]
    header = Header(
        model=loaded.name,
        model_sha256=loaded.sha256[: container.MODEL_BYTES],
        tables_sha256=bytes.fromhex(tables.TABLES_SHA256)[: container.TABLES_BYTES],
        seed=settings.seed,
        chunks=tuple(ChunkEntry(end - begin, 0) for begin, end in bounds),
        format_version=_version(images, loaded, settings),
        machine=loaded.machine,
    )
    # The header's size is known before the chunks', so it is written over these bytes in the end.
    start = file.tell()
    file.write(bytes(header.size))
    entries, reports, larger = list[ChunkEntry](), list[RateReport](), dict[int, str]()
    is_new = is_corrected = False
    tasks = (
        EncodeTask(each.read(), settings, number, b"" if number else payload)
        for number, each in enumerate(parts)
    )
    enter(progress, "encoding")
    counted = [each.size for each in parts]
    coded = run_chunks(executor or SerialExecutor(loaded), tasks, counted, progress)
    for place, (chunk_of, (begin, end)) in enumerate(zip(coded, bounds, strict=True)):
        file.write(chunk_of.data)
        _log.info("chunk %d of %d: %s", place, len(bounds), _told(chunk_of, begin, end))
        left = end - begin - len(chunk_of.carried)
        files = chunk_of.image_files if header.format_version >= container.COUNTS else 0
        entries.append(ChunkEntry(left, len(chunk_of.data), files))
        reports.append(chunk_of.report)
        numbers = (begin + number for number in sorted(chunk_of.carried))
        larger |= {number: _name(images, number) for number in numbers}
        is_new |= chunk_of.is_new
        is_corrected |= chunk_of.is_corrected
    version = max(header.format_version, container.RECIPES if is_new else 0)
    final = dataclasses.replace(
        header,
        chunks=tuple(entries),
        format_version=version,
        side_information=is_corrected,
    )
    if not final.images:
        sha256 = NO_MODEL.sha256[: container.MODEL_BYTES]
        final = dataclasses.replace(final, model=NO_MODEL.name, model_sha256=sha256, machine="")
    enter(progress, "writing")
    if final.size != header.size:
        _move_up(file, start + header.size, start + final.size)
    file.seek(start)
    file.write(pack_header(final))
    file.seek(0, io.SEEK_END)
    return Written(tally.join(reports, 8 * final.size), images.kept.with_larger(larger))


def _told(chunk: Chunk, begin: int, end: int) -> str:
    """How a chunk of images begin..end - 1 was coded, in words."""
    what = f"images {begin} to {end - 1}" if begin < end else "files"
    size, dims = len(chunk.data), chunk.report.dims
    told = [what, f"{size:,} bytes", *([f"{8 * size / dims:.4f} bits/dim"] if dims else [])]
    told.append(f"{chunk.how}{f' ({chunk.why})' if chunk.why else ''}")
    if chunk.carried:
        told.append(f"{len(chunk.carried)} of them as files, which take less")
    return ", ".join(told)


def _name(images: ImageSet, number: int) -> str:
    """The name of an image's file."""
    return images.manifest.names[number] if isinstance(images.manifest, FilesManifest) else ""


def _move_up(file: BinaryIO, source: int, target: int) -> None:
    """Move all bytes from a place on to an earlier one: numbers of fewer images are shorter."""
    while file.seek(source) and (block := file.read(_MOVED)):
        file.seek(target)
        file.write(block)
        source, target = source + len(block), target + len(block)
    file.truncate(target)


def _version(images: ImageSet, loaded: LoadedModel, settings: Settings) -> int:
    if settings.any_order:
        return container.ANY_ORDER
    if images.is_new or images.originals is not None:
        return container.COUNTS
    if loaded.machine:
        return container.MACHINES
    return container.VERSION


def compress_set(
    images: ImageSet,
    loaded: LoadedModel,
    settings: Settings = DEFAULT,
    *,
    payload: bytes = b"",
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Compressed:
    """`compress_to` in memory."""
    file = io.BytesIO()
    written = compress_to(
        file, images, loaded, settings, payload=payload, chunk=chunk, progress=progress
    )
    return Compressed(written.report, written.kept, file.getvalue())


@dataclasses.dataclass(frozen=True)
class ChunkPart:
    """What a chunk takes of a set: images begin..end - 1, or a block of files before `begin`.

    Args:
        size: values of its images, or bytes of its files.
    """

    begin: int
    end: int
    size: int
    read: Callable[[], ImageSet]


def parts_of(images: ImageSet, chunk: int | None) -> list[ChunkPart]:
    """The parts of a set that become chunks, in order; see `compress_to`."""
    blocks = {place: list(group) for place, group in itertools.groupby(images.blocks, _place)}
    cuts = set(blocks) - {0, len(images.pixels)}
    parts, sizes = [], images.manifest.sizes() if len(images.pixels) else np.zeros(0, np.int64)
    for begin, end in [*bounds_of(images, chunk, cuts), (len(images.pixels),) * 2]:
        for block in blocks.get(begin, []):
            parts.append(ChunkPart(begin, begin, block.size, partial(bare, images, block)))
        if begin < end:
            size = int(sizes[begin:end].sum())
            parts.append(ChunkPart(begin, end, size, partial(part, images, begin, end)))
    return parts


def _place(block: Block) -> int:
    return block.before


def bounds_of(
    images: ImageSet, chunk: int | None, cuts: Collection[int] = ()
) -> list[tuple[int, int]]:
    """`chunk_bounds` of a set; see `compress_to`.

    Args:
        cuts: images that begin a chunk in any case.
    """
    if not len(images.pixels):
        return []
    most = CHUNK_BINARY_VALUES if images.binary else CHUNK_VALUES
    bounds = chunk_bounds(images.manifest.sizes(), chunk, most)
    begins = sorted({*cuts, *(begin for begin, _ in bounds)})
    return list(itertools.pairwise([*begins, len(images.pixels)]))


def chunk_bounds(sizes: NDArray[np.int64], chunk: int | None, most: int) -> list[tuple[int, int]]:
    """First image of every chunk, and the one after its last.

    Args:
        sizes: values of every image, (N,).
        chunk: images per chunk; if None, as many as come to `most` values, all chunks alike.

    Raises:
        InputError: chunk is not positive, or no integer.
    """
    chunk = None if chunk is None else whole_number(chunk, "number of images in a chunk")
    if chunk is not None and not 1 <= chunk < 2**32:
        raise InputError("a chunk must hold at least one image and less than 2**32")
    if chunk is not None:
        starts = np.arange(0, len(sizes), chunk)
    else:
        ends = np.cumsum(sizes)
        parts = -(-int(ends[-1]) // most)
        # Cut where an image begins at or after each even share of the values.
        shares = np.arange(parts) * (int(ends[-1]) / parts)
        starts = np.unique(np.searchsorted(ends - sizes, shares))
        starts = starts[starts < len(sizes)]
    cuts = [*map(int, starts), len(sizes)]
    return list(itertools.pairwise(cuts))
