"""Whether two PNG files hold the same samples and the same of everything else."""

import numpy as np

from . import png
from .coded import NotKept, alike


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
    if not same or not alike(data, other, "PNG", png.DAMAGED):
        raise NotKept("does not come back from its pixels")
