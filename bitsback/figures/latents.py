"""Images made from latents: its own of the first steps, the rest from the priors."""

import dataclasses

import numpy as np

from bitsback.ans.message import DEFAULT_HEADS, Message
from bitsback.coding import sampling
from bitsback.coding.batch import Batch
from bitsback.coding.bits_back import encode, walk
from bitsback.coding.latents import Latents, masks_of, posteriors
from bitsback.coding.model import LoadedModel
from bitsback.coding.rates import group_kl_bits
from bitsback.errors import InputError
from bitsback.lossy import coder, regions

_WORDS = 1 << 22


def steps_of(loaded: LoadedModel, most: int) -> list[int]:
    """Numbers of steps to show: 0, and at most so many more from 1 to T, ever further apart."""
    last = regions.steps_of(loaded)
    return [0, *sorted({round(t) for t in np.geomspace(1, last, most).tolist()})]


def from_first(
    images: np.ndarray, loaded: LoadedModel, steps: int, variance: float = 1.0, seed: int = 0
) -> np.ndarray:
    """What the latents of the first steps say of images, the others being drawn.

    Args:
        images: (N, H, W, C) uint8 whose sides the model takes.
        steps: from 0 to T; z is a sample from q, or its point on the grid if its width is constant.
        variance: of the latents that are drawn, in units of their priors'.

    Returns:
        (N, H, W, C) uint8: the means of the canvas; a binary model's probabilities of ink.

    Raises:
        InputError: the images do not suit the model.
    """
    multiple = loaded.multiple
    if any(side % multiple for side in images.shape[1:3]):
        raise InputError(f"model {loaded.name!r} takes images of multiples of {multiple} pixels")
    x = np.ascontiguousarray(coder.widened(images, loaded).transpose(0, 3, 1, 2))
    model = loaded.model
    chosen = frozenset(i for i, group in enumerate(model.groups) if group.step <= steps)
    count, _, height, width = x.shape
    batch = Batch(count, height, width, seed, 0, coded=chosen, variance=variance, drawn_seed=seed)
    ask = posteriors(model, batch, x)
    message = Message.random(DEFAULT_HEADS, _WORDS, seed)

    def choose(index: int, state: object, latents: Latents) -> np.ndarray:
        return ask(index, state, latents).pop(message, masks_of(batch, index))

    _, state = walk(model, batch, choose)
    return model.image(state).transpose(0, 2, 3, 1)


def samples(loaded: LoadedModel, count: int, seed: int = 0) -> np.ndarray:
    """Images drawn from a model, (count, H, W, C) uint8 levels.

    Of a model whose pixels come in passes they are samples; of others, whose pixels are independent
    given the latents, the means of the canvas, as the paper has them.
    """
    if len(loaded.model.passes) > 1:
        drawn = sampling.sample(loaded, count, seed)
        return drawn * np.uint8(255) if loaded.binary else drawn
    side = loaded.tiles[0]
    batch = Batch(count, side, side, seed, 0, coded=frozenset(), variance=1.0, drawn_seed=seed)
    state = regions.generated(loaded.model, batch, {})
    return loaded.model.image(state).transpose(0, 2, 3, 1)


@dataclasses.dataclass(frozen=True)
class Information:
    """KL(q || p) of every group on images, bits per image.

    Args:
        steps, layers: of the groups, in the order of decoding.
        bits: of each.
    """

    steps: tuple[int, ...]
    layers: tuple[int, ...]
    bits: tuple[float, ...]


def information(images: np.ndarray, loaded: LoadedModel) -> Information:
    """What each group of latents tells of images, (N, H, W, C) uint8."""
    x = np.ascontiguousarray(coder.widened(images, loaded).transpose(0, 3, 1, 2))
    count, _, height, width = x.shape
    message = Message.random(DEFAULT_HEADS, _WORDS, 0)
    cost = encode(message, loaded.model, Batch(count, height, width, 0, 0), x)
    groups = loaded.model.groups
    return Information(
        tuple(group.step for group in groups),
        tuple(group.layer for group in groups),
        tuple(group_kl_bits(each) / len(x) for each in cost.groups),
    )
