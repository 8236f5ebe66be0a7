"""A compressed file opened, of either kind: images that come back, or their first latents alone."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bitsback.errors import FormatError, InputError

from .streams import archive_from

if TYPE_CHECKING:
    from bitsback.archive.reader import Reader
    from bitsback.coding.model import LoadedModel
    from bitsback.lossy.container import LossyHeader

_MOST_BYTES = 1 << 26  # of a lossy file; larger ones are not read to learn their kind


@dataclass(frozen=True)
class Reading:
    """What the options say of the model that a file needs.

    Args:
        model: that the user names; None for the file's own, which ships.
        device, engine, micro_batch: as of `bitsback.load_model`.
    """

    model: str | None = None
    device: str = "auto"
    engine: str = "auto"
    micro_batch: int | None = None

    def find(self, name: str, sha256: bytes) -> "LoadedModel":
        """The model of a file that names it so."""
        from bitsback.api import load_named
        from bitsback.archive import own_models

        if self.model is None:
            return load_named(name, sha256, self.device, self.engine, self.micro_batch)
        return own_models.load(self.model, self.device, self.engine, self.micro_batch, sha256)


@dataclass(frozen=True)
class Lossy:
    """A lossy file whose checksum holds."""

    header: "LossyHeader"
    data: bytes


@contextlib.contextmanager
def opened(file: Path, reading: Reading) -> "Iterator[Reader | Lossy]":
    """A file of either kind; "-" is standard input.

    Raises:
        InputError: it cannot be read.
        FormatError: it is of neither kind, or its header is damaged.
    """
    from bitsback.archive.reader import open_path

    with archive_from(file) as path:
        lossy = _lossy(path)
        if lossy is not None:
            yield lossy
            return
        with open_path(path, reading.find) as reader:
            yield reader


@contextlib.contextmanager
def opened_lossless(file: Path, reading: Reading) -> "Iterator[Reader]":
    """`opened`, of images that come back.

    Raises:
        InputError: it is a lossy file.
    """
    with opened(file, reading) as found:
        if isinstance(found, Lossy):
            raise InputError(f"{file} is a lossy file: bitsback lossy decode shows what it holds")
        yield found


def _lossy(path: Path) -> Lossy | None:
    """A lossy file; None of any other file, also of one that cannot be read."""
    from bitsback.format.header import MAGIC
    from bitsback.lossy import container

    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
            if start == MAGIC:
                return None
            data = start + file.read()
    except OSError:  # which the reader tells of
        return None
    try:
        return Lossy(container.unpack(data)[0], data)
    except FormatError:
        return None
