"""Fields of recipes: numbers and byte strings one after another, read with their bounds checked."""

import hashlib
from dataclasses import dataclass

from bitsback.errors import FormatError
from bitsback.format import varint

DIGEST = 4
"""Bytes of a file's SHA-256 that its recipe holds: chance hides a difference once in 2**32."""
_WHOSE = "a file's recipe"


def digest(data: bytes) -> bytes:
    """The first bytes of a file's SHA-256."""
    return hashlib.sha256(data).digest()[:DIGEST]


def sized(data: bytes) -> bytes:
    """A byte string after its length."""
    return varint.pack(len(data)) + data


def damaged(how: str) -> FormatError:
    """What is raised of a recipe that is damaged in a way."""
    return FormatError(f"{_WHOSE} is damaged: {how}")


def not_of_these_pixels() -> FormatError:
    """What is raised of a recipe beside the pixels of another image."""
    return damaged("it is not of these pixels")


@dataclass
class Fields:
    """What is left to read of a recipe.

    Raises:
        FormatError: (all methods) it is cut short, or goes on after its end.
    """

    data: bytes
    position: int = 0

    def number(self, most: int) -> int:
        """A number of at most so much."""
        value, self.position = varint.unpack(self.data, self.position, _WHOSE)
        if value > most:
            raise damaged("a number is out of range")
        return value

    def take(self, size: int) -> bytes:
        """So many bytes."""
        found = self.data[self.position : self.position + size]
        if len(found) < size:
            raise FormatError(f"{_WHOSE} is cut short")
        self.position += size
        return found

    def sized(self) -> bytes:
        """A byte string after its length."""
        return self.take(self.number(len(self.data)))

    def end(self) -> None:
        """Check that all was read."""
        if self.position != len(self.data):
            raise damaged("it goes on after its end")
