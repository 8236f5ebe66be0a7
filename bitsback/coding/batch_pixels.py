"""The pixels of a batch on the message, pass after pass."""

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.tables import pixels
from bitsback.tiles import padding
from bitsback.tiles.padding import Pixels

from .batch import Batch
from .model import Likelihood, M, Model, S

Coded = list[tuple[Likelihood, NDArray[np.uint8]]]
"""The codecs of the passes, each with its pixels."""


def filled(model: Model[S, M], batch: Batch, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (B, C, H, W), what stands beyond the batch's extents as both sides know it."""
    if batch.extents is None:
        return x
    x = x.copy()
    padding.fill_passes(x, batch.extents, model.passes)
    return x


def likelihoods(model: Model[S, M], batch: Batch, state: S, x: NDArray[np.uint8]) -> Coded:
    """The codecs of the passes given all latents, each with its pixels."""
    coded: Coded = []
    for number, where in enumerate(model.passes):
        part = x[:, :, *where]
        likelihood = model.likelihood(state, batch.gray)
        if batch.extents is None:
            coded.append((likelihood, part))
        else:
            known = padding.known(batch.extents, part.shape, where)
            coded.append((likelihood.only(known), pixels.picked(part, known)))
        if number + 1 < len(model.passes):
            state = model.reveal(state, part)
    return coded


def push(message: Message, coded: Coded) -> NDArray[np.float64]:
    """Push the passes' pixels, the last ones first; every image's code length, (B,) bits."""
    lengths = [likelihood.push(message, part) for likelihood, part in coded[::-1]]
    return np.sum(lengths, axis=0)


def pop(message: Message, model: Model[S, M], batch: Batch, state: S) -> NDArray[np.uint8]:
    """Inverse of `push`: (B, C, H, W) uint8."""
    parts: list[NDArray[np.uint8]] = []
    for number, where in enumerate(model.passes):
        parts.append(_pop_pass(message, model.likelihood(state, batch.gray), batch, where))
        if number + 1 < len(model.passes):
            state = model.reveal(state, parts[-1])
    x = np.empty((batch.size, parts[0].shape[1], batch.height, batch.width), np.uint8)
    for where, part in zip(model.passes, parts, strict=True):
        x[:, :, *where] = part
    return x


def _pop_pass(
    message: Message, likelihood: Likelihood, batch: Batch, where: Pixels
) -> NDArray[np.uint8]:
    """The pixels of a pass, (B, C, H', W') uint8, with what stands beyond the extents."""
    if batch.extents is None:
        return likelihood.pop(message)
    plane = np.empty((batch.size, batch.height, batch.width))[:, *where]
    known = padding.known(batch.extents, plane.shape, where)
    popped = likelihood.only(known).pop(message)[0, :, 0]
    part = np.empty((len(popped), *plane.shape), np.uint8)
    part[:, known] = popped
    part = np.moveaxis(part, 0, 1)
    padding.fill(part, batch.extents, where)
    return part
