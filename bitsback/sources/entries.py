"""Files of a set, sorted into those whose pixels are coded and those that travel as they are."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from bitsback.errors import InputError
from bitsback.format import sidecar
from bitsback.format.sidecar import Record
from bitsback.images.image_set import Block
from bitsback.images.manifest import ImageShape
from bitsback.images.outcomes import Outcome

_BLOCK_BYTES = 1 << 23  # of files, that images of one chunk have beside them
_MOST_SHOWN = 20


@dataclass(frozen=True)
class SourceFile:
    """A file in a folder or a tar.

    Args:
        name: in its set.
        open: gives it, open; raises InputError.
        size: bytes.
        header: of a tar's member, the bytes before it; None of others.
        kind: of the header's record.
    """

    name: str
    open: Callable[[], BinaryIO]
    size: int
    header: bytes | None = None
    kind: bytes = sidecar.TAR

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            InputError: it cannot be read.
        """
        try:
            with self.open() as file:
                return file.read()
        except OSError as error:
            raise InputError(f"{self.name} cannot be read: {error.strerror}") from error


def refuse(problems: Sequence[str]) -> None:
    """Raise one InputError that tells of all problems, if there are any."""
    if problems:
        more = len(problems) - _MOST_SHOWN
        rest = [f"and {more} more"] if more > 0 else []
        raise InputError("; ".join([*problems[:_MOST_SHOWN], *rest]))


@dataclass(frozen=True)
class Facts:
    """What is known of a file whose pixels are coded, before they are.

    Args:
        target: the name to write it under.
        binary: whether its pixels are 0 and 1.
        sha256: of the file.
    """

    entry: SourceFile
    target: str
    mode: str
    shape: ImageShape
    binary: bool
    outcome: Outcome
    hint: tuple[int, ...]
    sha256: bytes
    has_sidecar: bool


@dataclass
class Sorted:
    """Files sorted into those whose pixels are coded and others.

    Args:
        others: those before each image, and those after the last.
        blocks: of others that are too many to lie beside an image.
    """

    images: list[Facts] = field(default_factory=list)
    others: list[list[SourceFile]] = field(default_factory=lambda: [[]])
    blocks: list[Block] = field(default_factory=list)
    _beside: int = 0

    def add_image(self, facts: Facts) -> None:
        self.images.append(facts)
        self.others.append([])

    def add_other(self, entry: SourceFile) -> None:
        run = self.others[-1]
        run.append(entry)
        self._beside += entry.size
        if self._beside >= _BLOCK_BYTES:
            self._cut()

    def end(self) -> None:
        """Without images, what is left is a block, too."""
        if not self.images and self.others[-1]:
            self._cut()

    def _cut(self) -> None:
        run = self.others[-1]
        size = sum(entry.size for entry in run)
        self.blocks.append(Block(len(self.images), size, partial(_packed_files, tuple(run))))
        self.others[-1] = []
        self._beside = 0

    def neighbours(self, number: int) -> list[Record]:
        """The other files at an image, with a mark between those before it and those after."""
        last = number == len(self.images) - 1
        before, after = self.others[number], self.others[number + 1] if last else []
        own = _header(self.images[number].entry)
        if not before and not after and not own:
            return []
        mark = (sidecar.IMAGE, b"")
        return [*_packed(before), *own, mark, *_packed(after)]


def _header(entry: SourceFile) -> list[Record]:
    return [] if entry.header is None else [(entry.kind, entry.header)]


def _packed(entries: Iterable[SourceFile]) -> Iterator[Record]:
    for entry in entries:
        yield from _header(entry)
        if entry.name:
            yield sidecar.pack_file(entry.name, entry.read())


def _packed_files(entries: Sequence[SourceFile]) -> bytes:
    return sidecar.pack(_packed(entries))
