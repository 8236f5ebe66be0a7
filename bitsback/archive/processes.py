"""Tasks run by several processes of this machine."""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, TypeVar

from bitsback.errors import InputError
from bitsback.progress import Progress

from .executor import Task
from .workers import Recipe, WorkerDiedError, in_order, worker_model

R = TypeVar("R")
# What OpenBLAS, MKL and Accelerate read, when they are loaded and at no other time.
_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_AHEAD = 2  # tasks for each process: one waits while the other is done


@dataclasses.dataclass(frozen=True)
class ProcessExecutor:
    """Runs tasks in `jobs` processes, which it starts for each `run`.

    Raises:
        InputError: there are fewer than one.
    """

    recipe: Recipe
    jobs: int

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise InputError(f"there is at least one job, not {self.jobs}")

    def run(self, tasks: Iterable[Task[R]], progress: Progress | None = None) -> Iterator[R]:
        """The results, in the order of the tasks; see `Executor`."""
        with contextlib.closing(_Processes(self.recipe, self.jobs)) as processes:
            try:
                yield from in_order(processes, tasks)
            except BaseException:  # an interruption, or nobody wants the rest
                processes.end()
                raise


class _Processes:
    """A pool of processes, which is started anew when one of them dies."""

    name = "processes"

    def __init__(self, recipe: Recipe, jobs: int) -> None:
        self.most_tasks = _AHEAD * jobs
        self._recipe, self._jobs = recipe, jobs
        self._threads = max(1, (os.cpu_count() or 1) // jobs)
        self._pool = self._started()

    def give(self, task: Task[R]) -> "_Promise[R]":
        try:
            return self._submit(task)
        except BrokenProcessPool:
            self._pool.shutdown()
            self._pool = self._started()
            return self._submit(task)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        # Forked processes would share the state of threads that they do not have.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._jobs, context, initializer=_follow_parent)

    def end(self) -> None:
        """End the processes, whatever they are doing."""
        for process in list((self._pool._processes or {}).values()):
            process.terminate()

    def _submit(self, task: Task[R]) -> "_Promise[R]":
        # A process that this starts inherits the mask: Ctrl-C is the parent's to handle.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with _blas_threads(self._threads):
                return _Promise(self._pool.submit(_run, self._recipe, self._threads, task))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _blas_threads(count: int) -> Iterator[None]:
    """Within it, processes are started whose NumPy takes so many threads, unless the user says."""
    names = [name for name in _BLAS_THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)


def _follow_parent() -> None:
    """End this process when its parent does, which may be killed and have no time to say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _run(recipe: Recipe, threads: int, task: Task[R]) -> R:
    return task.run(worker_model(recipe, threads))


@dataclasses.dataclass(frozen=True)
class _Promise(Generic[R]):
    future: Future[R]

    def result(self) -> R:
        try:
            return self.future.result()
        except BrokenProcessPool as error:
            raise WorkerDiedError from error

    @property
    def lost(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), BrokenProcessPool)
