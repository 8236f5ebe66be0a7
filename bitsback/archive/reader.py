"""Files back to images: whole, or any range from the chunks that hold it."""

import bisect
import dataclasses
import io
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, overload

import numpy as np
from numpy.typing import NDArray

from bitsback.chunks.decoder import Restored
from bitsback.coding.model import NO_MODEL, LoadedModel, check_weights
from bitsback.errors import FormatError, InputError, ModelError
from bitsback.format import header as container
from bitsback.format.chunk import unpack_chunk
from bitsback.format.chunk_head import ChunkHead
from bitsback.images.image_set import NO_IMAGES, ImageSet, part, to_stack
from bitsback.images.parts import Lost
from bitsback.progress import Progress, Stretch, enter
from bitsback.tables import tables

from .executor import DecodeTask, Executor, SerialExecutor, run_chunks

_log = logging.getLogger(__name__)

# Values of images that were lost: so many, for each chunk that is whole, and for each byte.
_MOST_LOST, _MOST_SHRINKAGE = 1 << 28, 1 << 9

LoadModel = Callable[[str, bytes], LoadedModel]
"""A model by its name and the first bytes of its SHA-256."""


@dataclasses.dataclass(frozen=True)
class Damage:
    """A chunk that cannot be decoded, its images first..last, and why."""

    chunk: int
    first: int
    last: int
    error: FormatError

    def __str__(self) -> str:
        what = f"images {self.first} to {self.last}" if self.first <= self.last else "files"
        return f"chunk {self.chunk}, {what}: {self.error}"


class Reader:
    """An open file, as a sequence of images; the header is read at once, chunks when needed.

    `reader[i]` is an image and `reader[i:j]` an array of images, as they were compressed: in the
    array's dtype and without the axis of channels where it had none, and (H, W, C) uint8 from
    image files, uint16 of those with 16 bits. Only the chunks that hold these images are decoded;
    the last one is kept. Threads and forked processes may share a reader.

    Raises:
        FormatError: not a bitsback file, or its header is damaged.
        ModelError: when images are asked for: the model is missing, or not the one that wrote it.
    """

    def __init__(self, file: BinaryIO, load_model: LoadModel) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)
        self.header = container.read_header(file, self._size)
        _log.info(
            "format version %d; chunks: %d; coded images: %d; model %s, SHA-256 %s...",
            self.header.format_version,
            len(self.header.chunks),
            self.header.images,
            self.header.model or "none",
            self.header.model_sha256.hex()[:16],
        )
        self._load_model = load_model
        self._loaded: LoadedModel | None = None
        self._last: tuple[int, Restored] | None = None
        self._lock = threading.Lock()  # of the file's position
        self._loading = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return self._size

    def check_size(self) -> None:
        """Raise FormatError unless the file ends where its last chunk does."""
        container.check_size(self.header, self._size)

    def __len__(self) -> int:
        return self.header.images

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, where: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, where: slice) -> NDArray[Any]: ...
    def __getitem__(self, where: int | slice) -> NDArray[Any]:
        if not isinstance(where, slice):
            number = range(len(self))[where]
            return self.images(number, number + 1)[0]
        begin, end, step = where.indices(len(self))
        numbers = range(begin, end, step)
        if not numbers:
            return self.images(0, 1)[:0]
        low, high = min(numbers[0], numbers[-1]), max(numbers[0], numbers[-1]) + 1
        return self.images(low, high)[np.array(numbers) - low]

    def images(self, begin: int, end: int) -> NDArray[Any]:
        """Images begin..end - 1, 0 <= begin < end <= len, as one array with an axis for them."""
        if not len(self):
            raise InputError(NO_IMAGES)
        firsts = self.header.firsts
        stacks = []
        for number in range(
            bisect.bisect_right(firsts, begin) - 1, bisect.bisect_left(firsts, end)
        ):
            if not self.header.chunks[number].images:
                continue
            images, first = self.chunk(number).images, firsts[number]
            low, high = max(begin - first, 0), min(end - first, len(images.pixels))
            stacks.append(to_stack(part(images, low, high)))
        if len({stack.shape[1:] for stack in stacks}) > 1:
            raise InputError("images of different sizes make no single array; take them one by one")
        if len({stack.dtype for stack in stacks}) > 1:
            raise InputError("images of several dtypes make no single array; take them one by one")
        # Without a dtype NumPy would change the byte order.
        return np.concatenate(stacks, dtype=stacks[0].dtype)

    def restored(
        self, progress: Progress | None = None, executor: Executor | None = None
    ) -> Iterator[ImageSet]:
        """Every chunk's images, in order.

        Args:
            progress: called with (bytes done, bytes in all) of the file's chunks.
            executor: what decodes the chunks, with the same model; this process if None.

        Raises:
            FormatError: a chunk is damaged, or the file is longer or shorter than it should be.
        """
        self.check_size()
        sizes = [entry.size for entry in self.header.chunks]
        loaded = self._model()  # the right one, before a task is given out
        # The first chunk may have been decoded for its payload.
        kept = self._last
        first = 1 if kept is not None and kept[0] == 0 else 0
        tasks = map(self._task, range(first, len(sizes)))
        enter(progress, "decoding")
        results = run_chunks(executor or SerialExecutor(loaded), tasks, sizes, progress, first)
        for number in range(len(sizes)):
            try:
                if kept is None or number >= first:
                    self._last = kept = number, next(results)
            except FormatError as error:
                raise self._damaged(number, error) from error
            self._tell(number)
            yield kept[1].images

    def _task(self, number: int) -> DecodeTask:
        return DecodeTask(
            data=self._bytes(number),
            version=self.header.format_version,
            seed=self.header.seed,
            number=number,
            images=self.header.chunks[number].images,
        )

    def _damage(self, number: int, error: FormatError) -> Damage:
        first = self.header.firsts[number]
        return Damage(number, first, first + self.header.chunks[number].images - 1, error)

    def _damaged(self, number: int, error: FormatError) -> FormatError:
        return type(error)(f"the file is damaged in {self._damage(number, error)}")

    def salvaged(
        self, damage: list[Damage], progress: Progress | None = None
    ) -> Iterator[ImageSet | Lost]:
        """Every chunk's images, or how many were lost; `damage` is added to.

        Raises:
            FormatError: the index promises more images than such a file can have held.
        """
        # What is lost takes room in the output: no more than what a file of this size may hold.
        room, values = _MOST_LOST + _MOST_SHRINKAGE * self._size, 1
        for number, entry in enumerate(self.header.chunks):
            try:
                images = self._decode(number, progress).images
            except FormatError as error:
                damage.append(self._damage(number, error))
                room -= entry.images * values
                if room < 0:
                    raise FormatError(
                        f"the file's index promises {entry.images} images in chunk {number}, "
                        "more than it can hold"
                    ) from error
                yield Lost(entry.images)
            else:
                values = max([values, *(image.size for image in images.pixels[:1])])
                room += _MOST_LOST
                yield images

    @property
    def payload(self) -> bytes:
        """The caller's payload; this decodes the first chunk."""
        return self.chunk(0).payload

    def head(self, number: int) -> ChunkHead:
        """How a chunk was coded.

        Raises:
            FormatError: the chunk is damaged.
        """
        return unpack_chunk(self._bytes(number), self.header.format_version)[0]

    def chunk(self, number: int, progress: Progress | None = None) -> Restored:
        """Images and payload of a chunk.

        Args:
            progress: called with (bytes done, bytes in all) of the file.

        Raises:
            FormatError: the chunk is damaged; the sentence says which.
            ModelError: the model is missing, or not the one that wrote the file.
        """
        try:
            return self._decode(number, progress)
        except FormatError as error:
            raise self._damaged(number, error) from error

    def _decode(self, number: int, progress: Progress | None) -> Restored:
        kept = self._last
        if kept is not None and kept[0] == number:
            return kept[1]
        loaded, task, begin = self._model(), self._task(number), self.header.offsets[number]
        began = time.perf_counter()
        enter(progress, "decoding")
        end = begin + len(task.data)
        restored = task.run(loaded, Stretch(progress, begin, end, self.header.file_size))
        self._last = number, restored
        self._tell(number, time.perf_counter() - began)
        return restored

    def _tell(self, number: int, seconds: float | None = None) -> None:
        """Log that a chunk is decoded."""
        entry = self.header.chunks[number]
        taken = "" if seconds is None else f" in {seconds:.2f} s"
        _log.info(
            "chunk %d decoded%s; bytes: %d; images: %d", number, taken, entry.size, entry.images
        )

    def _bytes(self, number: int) -> bytes:
        begin, size = self.header.offsets[number], self.header.chunks[number].size
        if begin + size > self._size:
            missing = self.header.file_size - self._size
            raise FormatError(f"the file is truncated: {missing} bytes are missing")
        if isinstance(self._file, io.BufferedReader | io.FileIO):
            return _read_at(self._file.fileno(), begin, size)
        with self._lock:
            self._file.seek(begin)
            return self._file.read(size)

    def _model(self) -> LoadedModel:
        with self._loading:
            if self._loaded is None:
                self._loaded = _matching_model(self.header, self._load_model)
            return self._loaded


def _read_at(descriptor: int, begin: int, size: int) -> bytes:
    """Bytes of a file, whose position other threads and processes may move."""
    parts = []
    while size and (part := os.pread(descriptor, size, begin)):
        parts.append(part)
        begin, size = begin + len(part), size - len(part)
    return b"".join(parts)


def open_path(path: str | Path, load_model: LoadModel) -> Reader:
    """A reader of a file.

    Raises:
        InputError: it cannot be read.
        FormatError: not a bitsback file, or its header is damaged.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - the reader closes it
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or 'error').lower()}") from error
    except ValueError as error:
        raise InputError(f"{path!r} is no name of a file") from error
    try:
        return Reader(file, load_model)
    except BaseException as error:
        file.close()
        if isinstance(error, FormatError):
            raise type(error)(f"{path}: {error}") from error
        raise


def _matching_model(header: container.Header, load_model: LoadModel) -> LoadedModel:
    """The model that wrote the file; `NO_MODEL` if nothing in it is coded.

    Raises:
        ModelError: it is missing or another; the sentence says which is needed.
        FormatError: the file's tables are not this version's.
    """
    if not header.images:
        return NO_MODEL
    known = (tables.TABLES_SHA256, *tables.EARLIER_SHA256)
    if not any(bytes.fromhex(sha256).startswith(header.tables_sha256) for sha256 in known):
        raise FormatError("the file was written with other frequency tables than this version's")
    bound = f" on {header.machine}, where alone it decodes" if header.machine else ""
    needed = f"model {header.model!r} with SHA-256 {header.model_sha256.hex()}..."
    try:
        loaded = load_model(header.model, header.model_sha256)
    except ModelError as error:
        raise ModelError(f"the file needs {needed}{bound}: {error}") from error
    check_weights(loaded, header.model_sha256, "the file", header.model)
    if header.machine != loaded.machine:
        raise ModelError(
            f"the file decodes only where it was written, since its model computes in floats: on "
            f"{header.machine or 'any machine, by the exact model'}; here is "
            f"{loaded.machine or 'an exact model'}"
        )
    return loaded
