"""Tasks given out to workers and taken back in order: what `processes` and `ray` have in common.

Each worker loads the model once. One that dies is replaced, and its tasks are given out again.
"""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from bitsback.coding.model import LoadedModel, check_weights
from bitsback.errors import BitsbackError, ModelError

from .executor import Task

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_MOST_DEATHS = 3  # more are not by chance


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a worker comes by its model: the arguments of `bitsback.load_model`.

    Args:
        model: a shipped model's name, a folder, or a Python object's name.
        sha256: first bytes of the model's digest, which any other model is refused for.
    """

    model: str
    sha256: bytes
    device: str = "auto"
    engine: str = "auto"
    micro_batch: int | None = None


@functools.cache
def worker_model(recipe: Recipe, threads: int) -> LoadedModel:
    """The model of this process, a worker; loaded when its first task comes.

    Args:
        threads: that torch may use.

    Raises:
        ModelError: it cannot be loaded, or is not the recipe's.
    """
    from bitsback.models import store

    from . import own_models

    if store.engine_of(recipe.engine) == "torch":
        import torch

        torch.set_num_threads(threads)
    loaded = own_models.load(
        recipe.model, recipe.device, recipe.engine, recipe.micro_batch, recipe.sha256
    )
    check_weights(loaded, recipe.sha256, "a worker")
    if loaded.machine:
        raise ModelError(f"{recipe.model} computes in floats: no worker codes with it")
    return loaded


class WorkerDiedError(Exception):
    """A worker ended before the result of its task came."""


class Promise(Protocol[R_co]):
    """The result of a task that was given to a worker."""

    def result(self) -> R_co:
        """The result, once it is there.

        Raises:
            WorkerDiedError: it will not come.
        """
        ...

    @property
    def lost(self) -> bool:
        """Whether a worker's death took the result, as far as is known yet."""
        ...


class Workers(Protocol):
    """Some workers that take tasks."""

    @property
    def name(self) -> str:
        """What they are called in errors."""
        ...

    @property
    def most_tasks(self) -> int:
        """How many tasks may be under way at once."""
        ...

    def give(self, task: Task[R]) -> Promise[R]:
        """Give a task to a worker; those that died are replaced first."""
        ...


def in_order(workers: Workers, tasks: Iterable[Task[R]]) -> Iterator[R]:
    """Results in the order of the tasks; what a dead worker had is given out again.

    Raises:
        BitsbackError: workers died again and again.
    """
    coming, deaths = iter(tasks), 0
    waiting: collections.deque[tuple[Task[R], Promise[R]]] = collections.deque()
    while True:
        for task in itertools.islice(coming, workers.most_tasks - len(waiting)):
            waiting.append((task, workers.give(task)))
        if not waiting:
            return
        try:
            result = waiting[0][1].result()
        except WorkerDiedError as error:
            deaths += 1
            check_deaths(deaths, workers.name, error)
            # The first one is lost: giving it out again settles which others are.
            waiting = collections.deque(
                (task, workers.give(task) if promise.lost else promise) for task, promise in waiting
            )
            continue
        waiting.popleft()
        yield result


def check_deaths(deaths: int, of: str, error: Exception) -> None:
    """Raise BitsbackError where so many workers died that it is not by chance."""
    if deaths > _MOST_DEATHS:
        raise BitsbackError(
            f"{deaths} {of} died while they coded chunks: is there enough memory?"
        ) from error
