"""What codes a file's chunks: an executor, which runs tasks and gives their results in order.

A task depends on nothing but itself and the model, so that the bytes are the same whether this
process runs all tasks, several processes do (`processes`), or the actors of a cluster (`ray`).
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from bitsback.chunks.chain_encoder import Chunk
from bitsback.chunks.decoder import Restored, decode_chunk
from bitsback.chunks.encoder import encode_chunk
from bitsback.chunks.plan import Settings
from bitsback.coding.model import LoadedModel
from bitsback.images.image_set import ImageSet
from bitsback.progress import Progress, Stretch, enter

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Task(Protocol[R_co]):
    """Work on one chunk: a value that can be pickled and run in another process."""

    def run(self, loaded: LoadedModel, progress: Progress | None = None) -> R_co:
        """Do the work.

        Args:
            loaded: the file's model.
            progress: called with (tiles done, tiles in all).
        """
        ...


class Executor(Protocol):
    """Runs tasks with the file's model."""

    def run(self, tasks: Iterable[Task[R]], progress: Progress | None = None) -> Iterator[R]:
        """The results, in the order of the tasks.

        Args:
            tasks: taken a few at a time, as results are asked for.
            progress: called with (tiles done, tiles in all) of the chunk whose result comes next,
                if this process runs its task.

        Raises:
            BitsbackError: a task failed, as the task itself raised it, or workers died.
        """
        ...


@dataclasses.dataclass(frozen=True)
class EncodeTask:
    """Encode a chunk of a file; see `encode_chunk`."""

    images: ImageSet
    settings: Settings
    number: int
    payload: bytes

    def run(self, loaded: LoadedModel, progress: Progress | None = None) -> Chunk:
        """The chunk's bytes and report."""
        return encode_chunk(
            self.images,
            loaded,
            self.settings,
            number=self.number,
            payload=self.payload,
            progress=progress,
        )


@dataclasses.dataclass(frozen=True)
class DecodeTask:
    """Decode a chunk of a file; see `decode_chunk`."""

    data: bytes
    version: int
    seed: int
    number: int
    images: int

    def run(self, loaded: LoadedModel, progress: Progress | None = None) -> Restored:
        """The chunk's images and payload."""
        return decode_chunk(
            self.data,
            loaded,
            version=self.version,
            seed=self.seed,
            number=self.number,
            images=self.images,
            progress=progress,
        )


@dataclasses.dataclass(frozen=True)
class SerialExecutor:
    """Runs each task in this process, when its result is asked for."""

    loaded: LoadedModel

    def run(self, tasks: Iterable[Task[R]], progress: Progress | None = None) -> Iterator[R]:
        """The results, in the order of the tasks; see `Executor`."""
        return (task.run(self.loaded, progress) for task in tasks)


def run_chunks(
    executor: Executor,
    tasks: Iterable[Task[R]],
    sizes: Iterable[int],
    progress: Progress | None,
    first: int = 0,
) -> Iterator[R]:
    """The results of a file's last chunks, in order, with their progress.

    Args:
        tasks: of chunk number `first` and all that follow.
        sizes: of every chunk of the file, in the unit of the progress.
        progress: called with (done, in all) within chunks and after each.
    """
    ends = list(itertools.accumulate(sizes))
    whole = Chunks(progress, ends, first)
    for result in executor.run(tasks, whole):
        whole.number += 1
        whole.tell()
        yield result


@dataclasses.dataclass
class Chunks:
    """The progress of a chunk as that of its file.

    Args:
        ends: of all chunks, in the unit of the file's progress.
        number: of the chunk.
    """

    progress: Progress | None
    ends: Sequence[int]
    number: int

    def __call__(self, done: int, total: int) -> None:
        begin = self.ends[self.number - 1] if self.number else 0
        Stretch(self.progress, begin, self.ends[self.number], self.ends[-1])(done, total)

    def tell(self) -> None:
        """Say that all chunks before this one are done."""
        if self.progress is not None:
            self.progress(self.ends[self.number - 1], self.ends[-1])

    def phase(self, name: str) -> None:
        """Name a phase of the chunk."""
        enter(self.progress, name)
