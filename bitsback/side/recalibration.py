"""Shifts of log-scales: at each node the one under which the pixels near it take fewest bits."""

import numpy as np
from numpy.typing import NDArray

from bitsback.tables import corrections
from bitsback.tables.corrections import NODES
from bitsback.tables.tables import PIXEL_SCALES

from .channel import BITS, Channel

Int64 = NDArray[np.int64]
F64 = NDArray[np.float64]

_SHIFTS = (-6, -4, -2, 0, 2, 4, 6)
_SCALES = PIXEL_SCALES[1] - PIXEL_SCALES[0] + 1
_COST = 6.0  # bits that a node's shift must save


def recalibration(pixels: Channel, move: Int64) -> tuple[int, ...]:
    """Shifts of log-scales at the nodes, none where all are 0.

    Args:
        move: of the means, (n,), in 1/16 level.
    """
    some = pixels.some(pixels.tried)
    own = move[pixels.tried]
    scale = (some.weights * some.scales).sum(0) // 256
    node, rest = corrections.between(scale)
    step = NODES[1] - NODES[0]
    by_node = []
    for shift in _SHIFTS:
        length = some.length(own, np.full(_SCALES, shift))
        low = np.bincount(node, length * (step - rest), len(NODES))
        by_node.append(low + np.bincount(node + 1, length * rest, len(NODES)))
    bits = np.stack(by_node, 1) * (some.times / (step * (1 << BITS)))
    shifts = tuple(_least(row) for row in bits)
    return shifts if any(shifts) else ()


def _least(bits: F64) -> int:
    """The shift of the fewest bits, from those of `_SHIFTS`: the vertex of a parabola."""
    at = int(bits.argmin())
    if bits[_SHIFTS.index(0)] - bits[at] < _COST:
        return 0
    if not 0 < at < len(_SHIFTS) - 1:
        return _SHIFTS[at]
    low, middle, high = bits[at - 1 : at + 2].tolist()
    bend = low + high - 2 * middle
    step = _SHIFTS[1] - _SHIFTS[0]
    return _SHIFTS[at] + (int(np.floor((low - high) / (2 * bend) * step + 0.5)) if bend > 0 else 0)
