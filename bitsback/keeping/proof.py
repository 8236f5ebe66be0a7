"""Whether two PNG files hold the same samples and the same of everything else."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import png
from .coded import NotKept


def check_same(data: bytes, other: bytes) -> None:
    """Raise NotKept unless a file holds what another does.

    Pillow, which took no part in writing either, reads both; of 16-bit colour, which it cuts down,
    the levels are compared. All other chunks must be equal, in number, order and place.
    """
    parts, others = png.parts_of(data), png.parts_of(other)
    if (parts.before, parts.after) != (others.before, others.after):
        raise NotKept("does not come back with its metadata")
    one, two = (png.deep_levels(each) for each in (parts, others))
    same = one is two or (one is not None and two is not None and np.array_equal(one, two))
    if not same or not np.array_equal(_seen(data), _seen(other)):
        raise NotKept("does not come back from its pixels")


def _seen(data: bytes) -> NDArray[np.generic]:
    """What Pillow sees of a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                return np.array(image)
    except Exception as error:  # Pillow's plugins raise whatever their parsers run into
        raise NotKept("is a damaged PNG") from error
