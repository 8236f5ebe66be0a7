"""Images drawn from a model: popping off a message of random bits samples from the prior.

    z_t ~ p(z_t | z_1..z_t-1) for t = 1..T,  x ~ p(x | z_1..z_T)

Source: a pop under p is a sample from p where the message is random (Townsend et al., 2019).
"""

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import DEFAULT_HEADS, Message
from bitsback.errors import EmptyMessageError, InputError
from bitsback.progress import Progress
from bitsback.tiles import mosaic
from bitsback.tiles.segments import Segment

from . import bits_back
from .batch import Batch
from .chain import Chain
from .model import LoadedModel

LARGEST = 4096
_GAP = 2


def sample(
    loaded: LoadedModel, count: int, seed: int = 0, progress: Progress | None = None
) -> NDArray[np.uint8]:
    """Draw images of the model's own tile size.

    Args:
        count: how many, 1..4096.
        seed: of the random message and the dither; the same seed gives the same images anywhere.
        progress: called with (images drawn, images in all).

    Returns:
        (count, H, W, C) uint8; 0 and 1 where the model is binary.

    Raises:
        InputError: count is out of range.
    """
    if not 1 <= count <= LARGEST:
        raise InputError(f"the number of samples must lie between 1 and {LARGEST}")
    side, drawn = loaded.tiles[0], []
    run = Segment(count, side, side, loaded.channels, gray=False, classical=0)
    for step in Chain((run,), loaded.batch, seed):
        drawn.append(_draw(loaded, step.batch, seed, step.where.start))
        if progress is not None:
            progress(step.where.stop, count)
    return np.concatenate(drawn).transpose(0, 2, 3, 1)


def _draw(loaded: LoadedModel, batch: Batch, seed: int, first: int) -> NDArray[np.uint8]:
    words = 1 << 14
    while True:
        message = Message.random(DEFAULT_HEADS, words, seed + (first << 32))
        try:
            return bits_back.draw(message, loaded.model, batch)[1]
        except EmptyMessageError:
            words *= 4


def contact_sheet(images: NDArray[np.uint8], binary: bool) -> NDArray[np.uint8]:
    """Images (n, H, W, C) side by side with gaps, (rows, columns, C) uint8 levels 0..255."""
    levels = images * np.uint8(255) if binary else images
    return mosaic.join(np.pad(levels, ((0, 0), (_GAP, _GAP), (_GAP, _GAP), (0, 0))))
