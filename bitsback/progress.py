"""How work tells how far it has come, and what it is doing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Progress = Callable[[int, int], None]
"""Called with (done, in all); the unit is told where it is asked for."""


@runtime_checkable
class Phased(Protocol):
    """A progress that also wants to know the phases of the work."""

    def __call__(self, done: int, total: int) -> None:
        """How far the work has come."""
        ...

    def phase(self, name: str) -> None:
        """What comes next, such as "encoding"."""
        ...


def enter(progress: Progress | None, name: str) -> None:
    """Name the phase that begins, if anybody wants to know."""
    if isinstance(progress, Phased):
        progress.phase(name)


@dataclass(frozen=True)
class Stretch:
    """The progress of a part of some work: what is done of it counts from begin to end.

    Args:
        progress: of the whole work; None if nobody wants to know.
        total: of the whole work.
    """

    progress: Progress | None
    begin: int
    end: int
    total: int

    def __call__(self, done: int, total: int) -> None:
        if self.progress is not None:
            share = (self.end - self.begin) * done // max(1, total)
            self.progress(self.begin + share, self.total)

    def phase(self, name: str) -> None:
        """Name a phase of the part."""
        enter(self.progress, name)


@dataclass
class Rising:
    """A progress that never goes back, of work that is done in more than one way.

    Args:
        progress: of the work; None if nobody wants to know.
        most: what was told last.
    """

    progress: Progress | None
    most: int = 0

    def __call__(self, done: int, total: int) -> None:
        if self.progress is not None and done > self.most:
            self.most = done
            self.progress(done, total)

    def phase(self, name: str) -> None:
        """Name a phase of the work."""
        enter(self.progress, name)
