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

from bitsback.chunks.decoder import Restored, decode_chunk
from bitsback.chunks.encoder import Coding, encode_chunk
from bitsback.chunks.plan import Chunk
from bitsback.coding.model import check_weights
from bitsback.errors import BitsbackError, InputError
from bitsback.images.image_set import ImageSet

T = TypeVar("T")
R = TypeVar("R")
_DEATHS = 3  # of workers, before it is given up


@dataclasses.dataclass(frozen=True)
class ToEncode:
    """A chunk's images, its number in the file, and the caller's payload."""

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
    images: int


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a worker comes by its model: the arguments of `load_model`, and those of `Coding`."""

    model: str
    device: str
    engine: str
    micro_batch: int | None
    sha256: bytes
    batch: int | None
    seed: int


_coding: Coding | None = None


def encoded(tasks: Iterable[ToEncode], recipe: Recipe, jobs: int) -> Iterator[Chunk]:
    """The chunks of the tasks, in their order, by so many processes.

    Raises:
        InputError: `jobs` is below 1.
        BitsbackError: processes died again and again.
    """
    return _spread(encode, tasks, recipe, jobs)


def decoded(tasks: Iterable[ToDecode], recipe: Recipe, jobs: int) -> Iterator[Restored]:
    """The images of the tasks, in their order; arguments and errors as of `encoded`.

    Raises:
        FormatError: a chunk is damaged.
    """
    return _spread(decode, tasks, recipe, jobs)


def begin(recipe: Recipe, threads: int) -> None:
    """Load the model, in a process that is to code chunks.

    Raises:
        ModelError: it cannot be loaded, or is not the recipe's.
    """
    global _coding
    from bitsback.models import store

    if recipe.engine == "torch":
        import torch

        torch.set_num_threads(threads)
    loaded = store.load(
        recipe.model, recipe.device, recipe.engine, recipe.micro_batch, recipe.sha256
    )
    check_weights(loaded, recipe.sha256, "a worker")
    _coding = Coding(loaded, recipe.batch, recipe.seed)


def encode(task: ToEncode) -> Chunk:
    """Code a chunk, in a process that has begun."""
    assert _coding is not None
    return encode_chunk(task.images, _coding, task.number, task.payload, None)


def decode(task: ToDecode) -> Restored:
    """Decode a chunk, in a process that has begun."""
    assert _coding is not None
    return decode_chunk(
        task.data, task.version, _coding.loaded, task.seed, task.number, task.images
    )


def check_deaths(deaths: int, of: str, error: Exception) -> None:
    """Raise BitsbackError where so many workers died that it is not by chance."""
    if deaths > _DEATHS:
        raise BitsbackError(
            f"{deaths} {of} died while they coded chunks: is there enough memory?"
        ) from error


def _spread(do: Callable[[T], R], tasks: Iterable[T], recipe: Recipe, jobs: int) -> Iterator[R]:
    """Results in the order of the tasks; no more than two for each process are under way."""
    if jobs < 1:
        raise InputError(f"there is at least one job, not {jobs}")
    coming = iter(tasks)
    waiting: collections.deque[tuple[T, Future[R]]] = collections.deque()
    pool, deaths = _pool(recipe, jobs), 0
    try:
        while True:
            for task in itertools.islice(coming, 2 * jobs - len(waiting)):
                waiting.append((task, pool.submit(do, task)))
            if not waiting:
                return
            try:
                found = waiting[0][1].result()
            except BrokenProcessPool as error:
                deaths += 1
                check_deaths(deaths, "processes", error)
                pool.shutdown()
                pool = _pool(recipe, jobs)
                waiting = collections.deque((task, pool.submit(do, task)) for task, _ in waiting)
                continue
            waiting.popleft()
            yield found
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(recipe: Recipe, jobs: int) -> ProcessPoolExecutor:
    # Forked processes would share the state of threads that they do not have.
    context: Any = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    return ProcessPoolExecutor(jobs, context, initializer=begin, initargs=(recipe, threads))
