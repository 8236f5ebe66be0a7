"""The pixels of a batch on the message, pass after pass, and above them their side information."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.side import apply, codec, neighbours
from bitsback.side.codec import Corrections
from bitsback.side.cost import NO_SIDE, SideCost
from bitsback.side.fit import fit
from bitsback.side.wanted import BOTH, Wanted
from bitsback.tables import pixels
from bitsback.tables.corrections import Correction
from bitsback.tiles import padding
from bitsback.tiles.padding import Pixels

from .batch import Batch
from .model import Likelihood, M, Model, S

Parts = list[tuple[Likelihood, NDArray[np.uint8]]]


@dataclasses.dataclass(frozen=True)
class Coded:
    """What is to be pushed of a batch.

    Args:
        parts: the codecs of the passes, each with its pixels.
        sent: what they are corrected by; None if the batch has no side information.
        shape: of the corrections.
        saved: bits that the corrections should save, less those that they take.
    """

    parts: Parts
    sent: Corrections | None = None
    shape: codec.Shape | None = None
    saved: float = 0.0


def filled(model: Model[S, M], batch: Batch, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (B, C, H, W), what stands beyond the batch's extents as both sides know it."""
    if batch.extents is None:
        return x
    x = x.copy()
    padding.fill_passes(x, batch.extents, model.passes)
    return x


def likelihoods(
    model: Model[S, M],
    batch: Batch,
    state: S,
    x: NDArray[np.uint8],
    wanted: Wanted = BOTH,
) -> Coded:
    """The codecs of the passes given all latents, each with its pixels.

    Args:
        x: as `filled` gives it.
        wanted: which side information may be sent, if the batch has any.
    """
    parts: Parts = []
    sent, saved = [], 0.0
    shape = None
    for number, where in enumerate(model.passes):
        part = x[:, :, *where]
        likelihood = model.likelihood(state, batch.gray)
        if batch.corrected and not number:
            shape = _shape(model, batch, likelihood)
        if number + 1 < len(model.passes):
            state = model.reveal(state, part)
        near = neighbours.neighbours(x, model.passes, number) if batch.corrected else None
        if batch.extents is not None:
            inside = padding.known(batch.extents, part.shape, where)
            likelihood, part = likelihood.only(inside), pixels.picked(part, inside)
            near = None if near is None else pixels.picked(near, inside)
        if near is not None:
            found = fit(likelihood, part, near, wanted)
            likelihood = apply.corrected(likelihood, near, found.corrections)
            sent.append(found.corrections)
            saved += found.saved
        parts.append((likelihood, part))
    return Coded(parts, tuple(sent) if batch.corrected else None, shape, saved)


def push(message: Message, coded: Coded) -> tuple[NDArray[np.float64], SideCost]:
    """Push the passes' pixels, the last ones first, and the side information.

    Returns:
        Every image's code length, (B,) bits, with its share of the side information; and that.
    """
    lengths = np.sum(
        [likelihood.push(message, part) for likelihood, part in coded.parts[::-1]], axis=0
    )
    if coded.sent is None or coded.shape is None:
        return lengths, NO_SIDE
    bits, symbols = codec.push(message, coded.sent, coded.shape)
    return lengths + bits / len(lengths), SideCost(bits, symbols, coded.saved)


def pop(message: Message, model: Model[S, M], batch: Batch, state: S) -> NDArray[np.uint8]:
    """Inverse of `push`: (B, C, H, W) uint8."""
    likelihood = model.likelihood(state, batch.gray)
    sent: Corrections = ()
    if batch.corrected:
        sent = codec.pop(message, _shape(model, batch, likelihood))
    x = np.empty((batch.size, 0, batch.height, batch.width), np.uint8)
    for number, where in enumerate(model.passes):
        if number:
            likelihood = model.likelihood(state, batch.gray)
        near = neighbours.neighbours(x, model.passes, number) if batch.corrected else None
        corrections = sent[number] if sent else ()
        part = _pop_pass(message, likelihood, batch, where, near, corrections)
        if not number:
            x = np.zeros((batch.size, part.shape[1], batch.height, batch.width), np.uint8)
        x[:, :, *where] = part
        if number + 1 < len(model.passes):
            state = model.reveal(state, part)
    return x


def _shape(model: Model[S, M], batch: Batch, likelihood: Likelihood) -> codec.Shape:
    known = neighbours.counts(model.passes, batch.height, batch.width)
    return codec.Shape(known, apply.channels(likelihood))


def _pop_pass(
    message: Message,
    likelihood: Likelihood,
    batch: Batch,
    where: Pixels,
    near: NDArray[np.uint8] | None,
    corrections: tuple[Correction, ...],
) -> NDArray[np.uint8]:
    """The pixels of a pass, (B, C, H', W') uint8, with what stands beyond the extents."""
    if batch.extents is None:
        return apply.corrected(likelihood, near, corrections).pop(message)
    plane = np.empty((batch.size, batch.height, batch.width))[:, *where]
    inside = padding.known(batch.extents, plane.shape, where)
    near = None if near is None else pixels.picked(near, inside)
    popped = apply.corrected(likelihood.only(inside), near, corrections).pop(message)[0, :, 0]
    part = np.empty((len(popped), *plane.shape), np.uint8)
    part[:, inside] = popped
    part = np.moveaxis(part, 0, 1)
    padding.fill(part, batch.extents, where)
    return part
