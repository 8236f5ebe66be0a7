"""A file as pixels and what else gives it back; and what an independent reader sees of it."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bitsback.format import sidecar
from bitsback.format.sidecar import Record
from bitsback.images import bit_depth
from bitsback.images.outcomes import Outcome

Levels = NDArray[np.uint8 | np.uint16]


class NotKept(Exception):
    """A file is not one that this part of the rule keeps; the message is a predicate of it."""


@dataclass(frozen=True)
class Coded:
    """A file whose pixels are coded.

    Args:
        levels: (H, W, C) uint8 or uint16; mode "1" holds 0 and 1.
        mode: a key of `image_file.CHANNELS`.
        records: of its sidecar, without the low bits.
        outcome: how it comes back.
        hint: what was found by trial, so that it need not be sought again.
        proven: whether the records were followed and gave the very bytes.
    """

    levels: Levels
    mode: str
    records: tuple[Record, ...]
    outcome: Outcome
    hint: tuple[int, ...] = ()
    proven: bool = False

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, C): the levels, or their high bits."""
        if self.levels.dtype == np.uint8:
            return self.levels.astype(np.uint8, copy=False)
        return bit_depth.high(self._flat).reshape(self.levels.shape)

    @property
    def sidecar(self) -> tuple[Record, ...]:
        """Everything that the pixels do not hold; low bits are coded here."""
        if self.levels.dtype == np.uint8:
            return self.records
        return ((sidecar.LOW, bit_depth.low(self._flat)), *self.records)

    @property
    def _flat(self) -> NDArray[np.uint16]:
        return self.levels.reshape(len(self.levels), -1).astype(np.uint16, copy=False)


def seen(data: bytes, kind: str, complaint: str) -> tuple[NDArray[np.generic], str]:
    """An image file's samples, (H, W) or (H, W, C), and mode, as Pillow sees them.

    Args:
        kind: the format, by Pillow's name; a file of another one is not read.
        complaint: the message where Pillow cannot read it.

    Raises:
        NotKept: it cannot.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[kind]) as image:
                return np.array(image), image.mode
    except Exception as error:  # Pillow's plugins raise whatever their parsers run into
        raise NotKept(complaint) from error


def alike(data: bytes, other: bytes, kind: str, complaint: str) -> bool:
    """Whether Pillow sees the same samples in two files; arguments and errors as of `seen`."""
    (one, _), (two, _) = (seen(each, kind, complaint) for each in (data, other))
    return np.array_equal(one, two)
