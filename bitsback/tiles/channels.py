"""The channels of an image as planes that a model codes: colour of three channels, gray of one.

1 gray              gray
2 gray, alpha       gray, gray
3 colour            colour
4 colour, alpha     colour, gray
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]

#: channels of an image, and those of its planes
PLANES = {1: (1,), 2: (1, 1), 3: (3,), 4: (3, 1)}


def split(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The planes of an image (H, W, C), C 1 to 4: (H, W, 3) and (H, W, 1) each."""
    planes, first = [], 0
    for channels in PLANES[image.shape[2]]:
        planes.append(image[:, :, first : first + channels])
        first += channels
    return planes


def shapes(images: Iterable[Shape], channels: int) -> list[Shape]:
    """Shapes of those planes of images that have so many channels, in the images' order."""
    return [
        (height, width, channels)
        for height, width, c in images
        for plane in PLANES[c]
        if plane == channels
    ]
