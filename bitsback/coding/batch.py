"""A batch of a chain: images that are coded side by side.

A batch may code the latents of some groups only. The others lie at the means of their priors, or
are drawn from them: the batch loses what they would have told, but pops no bits for them. The
first batches of a chain are coded so, while the message is short, and so is a lossy file, which
stores the first groups alone.
"""

import dataclasses

from bitsback.tiles.padding import Extent


@dataclasses.dataclass(frozen=True)
class Batch:
    """What both sides know of a batch: its number in the chain and the shape of its images.

    Args:
        size: images in the batch.
        height, width: of the images.
        seed: of the file's dither and of the latents that are never coded.
        index: number of the batch in the file.
        gray: whether the images are gray but the model has three channels.
        coded: numbers of the groups whose latents are coded; None for all.
        variance: of the latents of the other groups, in units of their priors'.
        drawn_seed: of these latents.
        shared_dither: whether all images have the first one's dither, so that none depends on
            another.
        corrected: whether side information lies above the pixels (see `bitsback.side`).
        extents: rows and columns of each image that are coded (see `padding`); None for all.
    """

    size: int
    height: int
    width: int
    seed: int
    index: int
    gray: bool = False
    coded: frozenset[int] | None = None
    extents: tuple[Extent, ...] | None = None
    variance: float = 0.0
    drawn_seed: int = 0
    shared_dither: bool = False
    corrected: bool = False
