"""Sequences whose items are read when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

T = TypeVar("T")


@dataclass(frozen=True)
class Lazy(Sequence[T]):
    """So many items; `read(begin, end)` gives those of a range."""

    length: int
    read: Callable[[int, int], list[T]]

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, where: int) -> T: ...
    @overload
    def __getitem__(self, where: slice) -> list[T]: ...
    def __getitem__(self, where: int | slice) -> T | list[T]:
        if isinstance(where, int):
            number = range(self.length)[where]
            return self.read(number, number + 1)[0]
        begin, end, _ = where.indices(self.length)
        return self.read(begin, max(begin, end))
