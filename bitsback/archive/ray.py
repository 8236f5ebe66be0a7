"""Chunks coded by Ray actors, on one machine or many; the bytes are those of one process.

Each actor is a process that holds the model once, on a GPU if the cluster has any. Results come
back in the order of the tasks, as they are done. Instead of an actor that dies, with its machine
or without, another is started, and the chunks that it was coding are given out again.
"""

import collections
import contextlib
import dataclasses
import importlib
import math
import os
import socket
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any

from bitsback.chunks.decoder import Restored
from bitsback.chunks.plan import Chunk
from bitsback.errors import BitsbackError, InputError

from . import processes
from .processes import Recipe, ToDecode, ToEncode

# Tasks for each actor: some wait, so that a fast one need not, while a slow one's turn comes.
_AHEAD = 4
_PATIENCE = 10  # seconds


def encoded(
    tasks: Iterable[ToEncode], recipe: Recipe, jobs: int | None = None, address: str | None = None
) -> Iterator[Chunk]:
    """The chunks of the tasks, in their order.

    Args:
        recipe: a model in a folder must lie under the same name on every machine.
        jobs: actors; one for each GPU of the cluster if None, or for each processor where there
            are no GPUs or the recipe's device is "cpu".
        address: of a running cluster; if None that of the environment's RAY_ADDRESS, or else a
            cluster of this machine alone is started.

    Raises:
        InputError: Ray is not installed, there is no cluster at the address, or it is too small.
        ModelError: an actor does not find the model.
        BitsbackError: actors died again and again.
    """
    return _spread("encode", tasks, recipe, jobs, address)


def decoded(
    tasks: Iterable[ToDecode], recipe: Recipe, jobs: int | None = None, address: str | None = None
) -> Iterator[Restored]:
    """The images of the tasks, in their order; arguments and errors as of `encoded`.

    Raises:
        FormatError: a chunk is damaged.
    """
    return _spread("decode", tasks, recipe, jobs, address)


class _Actor:
    """A process that holds the model, once it has a task."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe: Recipe | None = recipe

    def encode(self, task: ToEncode) -> Chunk:
        self._begin()
        return processes.encode(task)

    def decode(self, task: ToDecode) -> Restored:
        self._begin()
        return processes.decode(task)

    def _begin(self) -> None:
        # Not in __init__, whose errors Ray gives back as text.
        if self._recipe is not None:
            processes.begin(self._recipe, threads=1)
            self._recipe = None


@dataclasses.dataclass(frozen=True)
class _Given:
    """A task, which actor has it, and Ray's reference to the result."""

    task: Any
    actor: int
    result: Any


def _spread(
    what: str, tasks: Iterable[Any], recipe: Recipe, jobs: int | None, address: str | None
) -> Iterator[Any]:
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise InputError("engine ray needs Ray: pip install 'bitsback[ray]'") from error
    with _cluster(ray, address, jobs):
        jobs, gpus = _shares(ray.cluster_resources(), jobs, recipe.device)
        kind = ray.remote(num_cpus=1, num_gpus=gpus)(_Actor)
        actors = [kind.remote(recipe) for _ in range(jobs)]
        waiting: collections.deque[_Given] = collections.deque()
        deaths = 0

        def give(task: Any, actor: int) -> _Given:
            return _Given(task, actor, getattr(actors[actor], what).remote(task))

        try:
            coming = iter(tasks)
            while True:
                while len(waiting) < _AHEAD * jobs and (task := next(coming, None)) is not None:
                    waiting.append(give(task, _idlest(ray, waiting, jobs)))
                if not waiting:
                    return
                try:
                    found = ray.get(waiting[0].result)
                except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
                    deaths += 1
                    processes.check_deaths(deaths, "actors", error)
                    dead = waiting[0].actor
                    ray.kill(actors[dead])
                    actors[dead] = kind.remote(recipe)
                    waiting = collections.deque(
                        give(each.task, dead) if each.actor == dead else each for each in waiting
                    )
                    continue
                waiting.popleft()
                yield found
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, BitsbackError):
                raise error.cause from error
            raise BitsbackError(f"an actor failed: {error.cause!r}") from error
        except ray.exceptions.RayError as error:
            raise BitsbackError(f"the cluster failed: {' '.join(str(error).split())}") from error
        finally:
            for actor in actors:
                ray.kill(actor)


def _idlest(ray: Any, waiting: Iterable[_Given], jobs: int) -> int:
    """The actor with the fewest tasks that are not done."""
    given = list(waiting)
    refs = [each.result for each in given]
    done = set(ray.wait(refs, num_returns=len(refs), timeout=0)[0]) if refs else set()
    loads = collections.Counter(each.actor for each in given if each.result not in done)
    return min(range(jobs), key=lambda actor: loads[actor])


def _shares(has: dict[str, float], jobs: int | None, device: str) -> tuple[int, float]:
    """How many actors there are, and the share of a GPU that each takes.

    Raises:
        InputError: the cluster has fewer processors than actors are wanted.
    """
    gpus = 0 if device == "cpu" else int(has.get("GPU", 0))
    processors = int(has.get("CPU", 0))
    wanted = jobs or gpus or processors
    if wanted > processors or not wanted:
        raise InputError(f"the cluster has {processors} processors, too few for {wanted} actors")
    if not gpus:
        return wanted, 0.0
    # Rounded down, so that so many fit onto each; Ray counts in ten-thousandths.
    return wanted, (10_000 // math.ceil(wanted / gpus)) / 10_000


def _port(address: str) -> tuple[str, int] | None:
    """Host and port of an address that has them.

    Raises:
        ValueError: the port is none.
    """
    parts = urllib.parse.urlsplit(address if "://" in address else f"//{address}")
    return None if parts.hostname is None or parts.port is None else (parts.hostname, parts.port)


@contextlib.contextmanager
def _cluster(ray: Any, address: str | None, jobs: int | None) -> Iterator[None]:
    """A connection to a cluster: the one that is there, the one at the address, or one of ours."""
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    if where == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody agreed to send any
        options |= {"num_cpus": max(jobs or 1, os.cpu_count() or 1), "include_dashboard": False}
    try:
        if (port := _port(where)) is not None:
            # Ray itself tries for minutes, and then ends the process.
            socket.create_connection(port, timeout=_PATIENCE).close()
        ray.init(where, **options)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"there is no Ray cluster at {where}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()
