"""Which pixels are coded together, and in which order: passes over blocks of 2x2.

Level 1 has the blocks of neighbouring pixels. The first pixels of its blocks are an image of half
the size, whose blocks are level 2, and so on; the coarsest level comes first:

    two levels (7 passes)    0 5 2 5      a row of pixels, each with the number of its pass
                             6 4 6 4
                             3 5 1 5
                             6 4 6 4

Source: Reed et al. (2017), Parallel Multiscale Autoregressive Density Estimation, for the order.
"""

import dataclasses

from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.state import Array, Ops

# The pixels of a block in the order of their passes: 2 dy + dx.
PHASES = (0, 3, 1, 2)


@dataclasses.dataclass(frozen=True)
class Pass:
    """The pixel number `index` (in the order of `PHASES`) of all blocks of a level.

    Level 0 stands for all pixels at once.
    """

    level: int
    index: int

    @property
    def number(self) -> int:
        """Number of a pass that sees earlier pixels of its level, from 1: it names the layers."""
        return 3 * (self.level - 1) + self.index

    @property
    def where(self) -> tuple[slice, slice]:
        """Rows and columns of the pixels."""
        step = 1 << self.level
        dy, dx = divmod(PHASES[self.index], 2)
        return slice(dy * step // 2, None, step), slice(dx * step // 2, None, step)


def passes(config: DrawConfig) -> tuple[Pass, ...]:
    """All passes of a model, the first one first."""
    order = [Pass(config.levels, 0)]
    for level in range(config.levels, 0, -1):
        order += [Pass(level, index) for index in range(1, len(PHASES))]
    return tuple(order)


def image(ops: Ops[Array], phases: tuple[Array, ...]) -> Array:
    """The image (B, C, 2h, 2w) of its four phases (B, C, h, w), in the order of `PHASES`."""
    channels = range(phases[0].shape[1])
    order = [phases[PHASES.index(i)] for i in range(len(PHASES))]
    return ops.up(ops.join([x[:, c : c + 1] for c in channels for x in order]), 2)
