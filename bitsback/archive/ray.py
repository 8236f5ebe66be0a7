"""Tasks run by Ray actors, on one machine or many.

Each actor is a process that holds the model once, on a GPU if the cluster has any. Instead of an
actor that dies, with its machine or without, another is started.
"""

import contextlib
import dataclasses
import importlib
import math
import os
import socket
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from bitsback.errors import BitsbackError, InputError
from bitsback.progress import Progress

from .executor import Task
from .workers import Recipe, WorkerDiedError, in_order, worker_model

R = TypeVar("R")
# Tasks for each actor: some wait, so that a fast one need not, while a slow one's turn comes.
_AHEAD = 4
_PATIENCE = 10  # seconds


@dataclasses.dataclass(frozen=True)
class RayExecutor:
    """Runs tasks in the actors of a cluster, which it starts for each `run`.

    `run` raises InputError if Ray is not installed, or the cluster is not there or too small.

    Args:
        recipe: a model in a folder must lie under the same name on every machine.
        jobs: actors; one for each GPU of the cluster if None, or for each processor where there
            are no GPUs or the recipe's device is "cpu".
        address: of a running cluster; if None that of the environment's RAY_ADDRESS, or else a
            cluster of this machine alone is started.
    """

    recipe: Recipe
    jobs: int | None = None
    address: str | None = None

    def run(self, tasks: Iterable[Task[R]], progress: Progress | None = None) -> Iterator[R]:
        """The results, in the order of the tasks; see `Executor`."""
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise InputError("engine ray needs Ray: pip install 'bitsback[ray]'") from error
        with _cluster(ray, self.address, self.jobs):
            count, gpus = _shares(ray.cluster_resources(), self.jobs, self.recipe.device)
            with contextlib.closing(_Actors(ray, self.recipe, count, gpus)) as actors:
                try:
                    yield from in_order(actors, tasks)
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, BitsbackError):
                        raise error.cause from error
                    raise BitsbackError(f"an actor failed: {error.cause!r}") from error
                except ray.exceptions.RayError as error:
                    reason = " ".join(str(error).split())
                    raise BitsbackError(f"the cluster failed: {reason}") from error


class _Worker:
    """What an actor is: a process that holds the model, once it has a task."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def run(self, task: Task[R]) -> R:
        # The model is not loaded in __init__, whose errors Ray gives back as text.
        return task.run(worker_model(self._recipe, threads=1))


@dataclasses.dataclass
class _Actor:
    """An actor's handle, and Ray's references to the results that it still owes."""

    handle: Any
    owed: set[Any] = dataclasses.field(default_factory=set)
    dead: bool = False


class _Actors:
    """So many actors, each with its share of a GPU."""

    name = "actors"

    def __init__(self, ray: Any, recipe: Recipe, count: int, gpus: float) -> None:
        self.most_tasks = _AHEAD * count
        self._ray, self._recipe = ray, recipe
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus)(_Worker)
        self._actors = [self._started() for _ in range(count)]

    def give(self, task: Task[R]) -> "_Promise[R]":
        for number, actor in enumerate(self._actors):
            if actor.dead:
                self._ray.kill(actor.handle)
                self._actors[number] = self._started()
        actor = self._idlest()
        reference = actor.handle.run.remote(task)
        actor.owed.add(reference)
        return _Promise(self._ray, actor, reference)

    def close(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor.handle)

    def _started(self) -> _Actor:
        return _Actor(self._remote.remote(self._recipe))

    def _idlest(self) -> _Actor:
        """The actor with the fewest tasks that are not done."""
        owed = [reference for actor in self._actors for reference in actor.owed]
        if owed:
            done, _ = self._ray.wait(owed, num_returns=len(owed), timeout=0)
            for actor in self._actors:
                actor.owed.difference_update(done)
        return min(self._actors, key=lambda actor: len(actor.owed))


@dataclasses.dataclass(frozen=True)
class _Promise(Generic[R]):
    ray: Any
    actor: _Actor
    reference: Any

    def result(self) -> R:
        errors = self.ray.exceptions
        try:
            result: R = self.ray.get(self.reference)
        except (errors.RayActorError, errors.ObjectLostError) as error:
            self.actor.dead = True
            raise WorkerDiedError from error
        finally:
            self.actor.owed.discard(self.reference)
        return result

    @property
    def lost(self) -> bool:
        return self.actor.dead


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
def _loopback() -> Iterator[None]:
    """A cluster that starts within it listens on this machine alone: it runs what anyone sends.

    Ray takes 127.0.0.1 only where it believes that clusters of several machines do not work.
    """
    constants: Any = importlib.import_module("ray._private.ray_constants")
    name, before = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", constants.ENABLE_RAY_CLUSTER
    with_variable = os.environ.get(name)
    os.environ[name], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
        del os.environ[name]
        if with_variable is not None:
            os.environ[name] = with_variable


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
        with _loopback() if where == "local" else contextlib.nullcontext():
            ray.init(where, **options)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"there is no Ray cluster at {where}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()
