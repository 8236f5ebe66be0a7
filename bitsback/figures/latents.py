"""Images made from latents: the first steps from the posterior, the others from the priors."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import DEFAULT_HEADS, Message
from bitsback.coding import sampling
from bitsback.coding.batch import Batch
from bitsback.coding.bits_back import encode, walk
from bitsback.coding.latents import Latents, masks_of, posteriors
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError
from bitsback.lossy import coder, regions

_WORDS = 1 << 22  # random ones on a message, from which z is popped


_LEAST_BITS = 4.0  # that steps tell of an image, to be seen


def steps_of(images: NDArray[np.uint8], loaded: LoadedModel, most: int) -> list[int]:
    """Numbers of steps to show: 0, and up to `most` others in a geometric series from 1 to T.

    Steps that tell next to nothing more of these images than those before them are left out, since
    they would look the same.
    """
    last = regions.steps_of(loaded)
    told = information(images, loaded)
    bits = np.bincount(told.steps, told.bits, last + 1).cumsum()
    shown = [0]
    for t in sorted({round(t) for t in np.geomspace(1, last, most).tolist()}):
        if t == last or bits[t] - bits[shown[-1]] >= _LEAST_BITS:
            shown.append(t)
    return shown


def from_first(
    images: NDArray[np.uint8],
    loaded: LoadedModel,
    steps: int,
    variance: float = 1.0,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Images rebuilt from the latents of the first steps; the other latents are drawn.

    Args:
        images: (N, H, W, C); H and W are multiples of `loaded.multiple`.
        steps: from 0 to T. Their z is a sample from q; if q has a constant width, the grid's point.
        variance: of the latents that are drawn, in units of their priors' variance.
        seed: of the dither, of the samples, and of the latents that are drawn.

    Returns:
        (N, H, W, C): the canvas' mean levels; for a binary model, probabilities of ink times 255.

    Raises:
        InputError: the sides are not multiples of what the model takes.
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

    def choose(index: int, state: object, latents: Latents) -> NDArray[np.int64]:
        return ask(index, state, latents).pop(message, masks_of(batch, index))

    _, state = walk(model, batch, choose)
    return model.image(state).transpose(0, 2, 3, 1)


def samples(loaded: LoadedModel, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Images drawn from a model, (count, H, W, C) uint8 levels.

    If the model's pixels come in passes, they are samples. Otherwise pixels are independent
    given the latents, and the images are the canvas' means, as in the paper.
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
    """KL(q || p) of every group of latents.

    Args:
        steps: of each group, from 1, in the order of decoding.
        layers: of each group, from 1.
        bits: of each group, a mean over the images.
    """

    steps: tuple[int, ...]
    layers: tuple[int, ...]
    bits: tuple[float, ...]


def information(images: NDArray[np.uint8], loaded: LoadedModel) -> Information:
    """The KL of each group of latents on images (N, H, W, C)."""
    x = np.ascontiguousarray(coder.widened(images, loaded).transpose(0, 3, 1, 2))
    count, _, height, width = x.shape
    message = Message.random(DEFAULT_HEADS, _WORDS, 0)
    cost = encode(message, loaded.model, Batch(count, height, width, 0, 0), x)
    groups = loaded.model.groups
    return Information(
        tuple(group.step for group in groups),
        tuple(group.layer for group in groups),
        tuple(group.kl_bits / len(x) for group in cost.groups),
    )
