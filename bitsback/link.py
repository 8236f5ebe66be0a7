"""A link of a chain: images that are coded side by side.

A link may code the latents of its first groups only: those of the others lie at the means of their
priors, which costs what they would have told, but takes no bits off the message. So the first links
of a chain are coded, when there is little on the message yet.
"""

import dataclasses

from .edges import Extent


@dataclasses.dataclass(frozen=True)
class Link:
    """What both sides know of a link: its place in the chain and the shape of its images.

    Args:
        batch, height, width: of the images.
        seed: of the file's dither and of the latents that are never coded.
        index: number of the link in the file.
        gray: whether the images are gray but the model has three channels.
        coded: how many of the first groups have latents that are coded; None for all.
        extents: rows and columns of each image that are coded (see `edges`); None for all.
    """

    batch: int
    height: int
    width: int
    seed: int
    index: int
    gray: bool = False
    coded: int | None = None
    extents: tuple[Extent, ...] | None = None
