"""Chunks coded by several processes, given out and taken back in their order.

A chunk depends on nothing but the file's header and itself, so that the bytes are the same as those
of one process. Each worker loads the model once. One that dies is replaced, and its chunks are
coded again.
"""

import collections
import dataclasses
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from .chunk_decoder import Restored, decode_chunk
from .chunk_encoder import Coding, encode_chunk
from .chunk_job import Chunk
from .errors import BitsbackError, InputError
from .images import ImageSet

T = TypeVar("T")
R = TypeVar("R")
_DEATHS = 3  # of workers, before it is given up


@dataclasses.dataclass(frozen=True)
class ToEncode:
    """A chunk's pictures, its number in the file, and the caller's payload."""

    images: ImageSet
    number: int
    payload: bytes


@dataclasses.dataclass(frozen=True)
class ToDecode:
    """A chunk's bytes, and what its file's header says of it; see `decode_chunk`."""

    data: bytes
    version: int
    seed: int
    number: int
    pictures: int


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a worker comes by its model: the arguments of `load_model`, and those of `Coding`.

    Args:
        jobs: processes; each takes its share of the processor's threads.
    """

    model: str
    device: str
    engine: str
    micro_batch: int | None
    sha256: bytes
    batch: int | None
    seed: int
    jobs: int

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise InputError(f"there is at least one job, not {self.jobs}")


_coding: Coding | None = None


def encoded(tasks: Iterable[ToEncode], recipe: Recipe) -> Iterator[Chunk]:
    """The chunks of the tasks, in their order."""
    return _spread(_encode, tasks, recipe)


def decoded(tasks: Iterable[ToDecode], recipe: Recipe) -> Iterator[Restored]:
    """The pictures of the tasks, in their order.

    Raises:
        FormatError: a chunk is damaged.
    """
    return _spread(_decode, tasks, recipe)


def _begin(recipe: Recipe) -> None:
    global _coding
    from .api import load_model

    if recipe.engine == "torch":
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // recipe.jobs))
    loaded = load_model(
        recipe.model, recipe.device, recipe.engine, recipe.micro_batch, recipe.sha256
    )
    _coding = Coding(loaded, recipe.batch, recipe.seed)


def _encode(task: ToEncode) -> Chunk:
    assert _coding is not None  # _begin ran
    return encode_chunk(task.images, _coding, task.number, task.payload, None)


def _decode(task: ToDecode) -> Restored:
    assert _coding is not None  # _begin ran
    return decode_chunk(
        task.data, task.version, _coding.loaded, task.seed, task.number, task.pictures
    )


def _spread(do: Callable[[T], R], tasks: Iterable[T], recipe: Recipe) -> Iterator[R]:
    """Results in the order of the tasks; no more than two for each process are under way."""
    coming = iter(tasks)
    waiting: collections.deque[tuple[T, Future[R]]] = collections.deque()
    pool, deaths = _pool(recipe), 0
    try:
        while True:
            for task in itertools.islice(coming, 2 * recipe.jobs - len(waiting)):
                waiting.append((task, pool.submit(do, task)))
            if not waiting:
                return
            try:
                found = waiting[0][1].result()
            except BrokenProcessPool as error:
                deaths += 1
                if deaths > _DEATHS:
                    raise BitsbackError(
                        f"{deaths} processes died while they coded chunks: is there enough memory?"
                    ) from error
                pool.shutdown()
                pool = _pool(recipe)
                waiting = collections.deque((task, pool.submit(do, task)) for task, _ in waiting)
                continue
            waiting.popleft()
            yield found
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(recipe: Recipe) -> ProcessPoolExecutor:
    # Forked processes would share the state of threads that they do not have.
    context: Any = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(recipe.jobs, context, initializer=_begin, initargs=(recipe,))
