"""Bits-back coding of one batch of images through a latent variable model.

Encoding pops every latent under its posterior, forwards, pushes the images under the
likelihood, its passes backwards, and pushes the latents under their priors, backwards; decoding
is the mirror. Both walk the model with `walk`, so that they cannot drift apart. Models that infer
their latents from the bottom up are coded in the order of `bottom_up`.

Source: Frey and Hinton (1997), bits-back; Townsend et al., arXiv:1901.04866 (BB-ANS);
Gregor et al., arXiv:1604.08772 (the model's recursion).
"""

import dataclasses
from collections.abc import Callable
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.ans.metered import MeteredMessage
from bitsback.side.wanted import BOTH, Wanted

from . import batch_pixels, bottom_up
from .batch import Batch
from .latents import Latents, Posterior, masks_of, pop_prior, posteriors, prepare, push_prior
from .model import M, Model, S
from .reports import coverage
from .reports.costs import BatchCost, group_cost
from .reports.coverage import NOTHING

Choose = Callable[[int, S, Latents], NDArray[np.int64]]


@dataclasses.dataclass(frozen=True)
class Visit(Generic[S]):
    """A group that was walked through: the state before it, its grid, and its k."""

    index: int
    state: S
    latents: Latents
    k: NDArray[np.int64]


def walk(model: Model[S, M], batch: Batch, choose: Choose[S]) -> tuple[list[Visit[S]], S]:
    """Go through the model's groups in their order; `choose` says each group's k."""
    state = model.start(batch.size, batch.height, batch.width)
    visits = []
    for index, group in enumerate(model.groups):
        latents = prepare(batch, index, group, model.prior(index, state))
        k = choose(index, state, latents)
        visits.append(Visit(index, state, latents, k))
        state = model.step(index, state, latents.z(k))
    return visits, state


def encode(
    message: Message,
    model: Model[S, M],
    batch: Batch,
    x: NDArray[np.uint8],
    measure: bool = False,
    wanted: Wanted = BOTH,
) -> BatchCost:
    """Push a batch of images onto the message.

    Args:
        message: holds the bits that the posteriors take; changed in place.
        x: (B, C, H, W) uint8; what stands beyond the batch's extents is ignored.
        measure: whether the pushes' rounding and the tables' coverage are measured, too.
        wanted: which side information may be sent, if the batch has any.

    Returns:
        The bits it cost, measured on the message.

    Raises:
        EmptyMessageError: the message held too few bits; it is then of no further use.
    """
    if bottom_up.codes(model, batch):
        return bottom_up.encode(message, model, batch, x, measure, wanted)
    x = batch_pixels.filled(model, batch, x)
    ask = posteriors(model, batch, x)
    asked: list[Posterior] = []
    popped: list[float] = []
    before = message.bits

    def choose(index: int, state: S, latents: Latents) -> NDArray[np.int64]:
        q = ask(index, state, latents)
        held = message.bits
        k = q.pop(message, masks_of(batch, index))
        asked.append(q)
        popped.append(held - message.bits)
        return k

    visits, state = walk(model, batch, choose)
    held = message.bits
    meter = MeteredMessage(message) if measure else None
    coded = batch_pixels.likelihoods(model, batch, state, x, wanted)
    code_length, side = batch_pixels.push(meter or message, coded)
    likelihood_bits = message.bits - held
    rounding = meter.rounding_bits if meter else None
    covered = NOTHING
    costs = []
    for visit, q, lost in zip(*(reversed(v) for v in (visits, asked, popped)), strict=True):
        held = message.bits
        rounded = meter.rounding_bits if meter else 0.0
        push_prior(meter or message, visit.latents, visit.k)
        gained = message.bits - held
        cost = group_cost(visit.latents, q, visit.k, lost, gained)
        if meter:
            cost = dataclasses.replace(cost, rounding=meter.rounding_bits - rounded)
            covered += coverage.of_latents(visit.latents, q, visit.k)
        costs.append(cost)
    net = message.bits - before
    if measure:
        covered += coverage.of_pixels(coded.parts)
    groups = tuple(reversed(costs))
    return BatchCost(batch.size, net, likelihood_bits, code_length, groups, rounding, covered, side)


def draw(
    message: Message, model: Model[S, M], batch: Batch
) -> tuple[list[Visit[S]], NDArray[np.uint8]]:
    """Pop latents under their priors and images under the likelihood, without giving bits back.

    The first half of decoding; on a random message, sampling from the model.

    Returns:
        The groups as they were walked through, and (B, C, H, W) uint8.
    """
    visits, state = walk(model, batch, lambda index, state, latents: pop_prior(message, latents))
    return visits, batch_pixels.pop(message, model, batch, state)


def decode(message: Message, model: Model[S, M], batch: Batch) -> NDArray[np.uint8]:
    """Pop a batch of images off the message, which is then as before they were pushed.

    Returns:
        (B, C, H, W) uint8.
    """
    if bottom_up.codes(model, batch):
        return bottom_up.decode(message, model, batch)
    visits, x = draw(message, model, batch)
    ask = posteriors(model, batch, x)
    asked = [ask(v.index, v.state, v.latents) for v in visits]
    for visit, q in zip(reversed(visits), reversed(asked), strict=True):
        q.push(message, visit.k, masks_of(batch, visit.index))
    return x
