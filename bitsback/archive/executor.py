"""What codes a file's chunks: an executor, which runs tasks and gives their results in order.

A task depends on nothing but itself and the model, so that the bytes are the same whether this
process runs all tasks, several processes do (`processes`), or the actors of a cluster (`ray`).
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from bitsback.chunks.decoder import Restored, decode_chunk
from bitsback.chunks.encoder import Chunk, encode_chunk
from bitsback.chunks.plan import Settings
from bitsback.coding.model import LoadedModel
from bitsback.images.image_set import ImageSet
from bitsback.progress import Progress

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
    bounds: Sequence[tuple[int, int]],
    progress: Progress | None,
    first: int = 0,
) -> Iterator[R]:
    """The results of a file's last chunks, in order, with their progress counted in images.

    Args:
        tasks: of chunk number `first` and all that follow.
        bounds: of every chunk of the file, its first image and the one after its last.
        progress: called with (images done, images in all) within chunks and after each.
    """
    tell, number = progress or (lambda done, total: None), first

    def within(done: int, total: int) -> None:
        begin, end = bounds[number]
        tell(begin + (end - begin) * done // total, bounds[-1][1])

    for result in executor.run(tasks, within):
        tell(bounds[number][1], bounds[-1][1])
        number += 1
        yield result
