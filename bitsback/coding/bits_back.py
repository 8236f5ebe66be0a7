"""Bits-back coding of one batch of images through a latent variable model.

Encoding pops every latent under its posterior, forwards, pushes the images under the
likelihood, its passes backwards, and pushes the latents under their priors, backwards; decoding
is the mirror. Both walk the model with `walk`, so that they cannot drift apart.

Source: Frey and Hinton (1997), bits-back; Townsend et al., arXiv:1901.04866 (BB-ANS);
Gregor et al., arXiv:1604.08772 (the model's recursion).
"""

import dataclasses
from collections.abc import Callable
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.tables import latent_grid, pixels
from bitsback.tiles import padding
from bitsback.tiles.padding import Pixels

from .batch import Batch
from .latents import Latents, Posterior, masks_of, pop_prior, posteriors, prepare, push_prior
from .model import Group, Likelihood, M, Model, S

Choose = Callable[[int, S, Latents], NDArray[np.int64]]


@dataclasses.dataclass(frozen=True)
class Visit(Generic[S]):
    """A group that was walked through: the state before it, its grid, and its k."""

    index: int
    state: S
    latents: Latents
    k: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class GroupCost:
    """Bits of one group in one batch.

    Args:
        popped: bits that the message lost to the posterior.
        pushed: bits that the message gained from the prior.
        rows: (q rows, base, p rows) of the coded latents: their distributions on the grid.
        continuous_kl: KL(q || p) of the Gaussians themselves, eq. 7, coded channels, bits.
        variance: of pushed - popped, given what was coded before, bits**2.
    """

    group: Group
    popped: float
    pushed: float
    rows: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    continuous_kl: float
    variance: float


@dataclasses.dataclass(frozen=True)
class BatchCost:
    """Bits of one batch: the message's real growth, and what it consists of.

    Args:
        net: bits that the message grew by.
        likelihood: bits that pushing the images added.
        expected_likelihood: code length of the images under the likelihood's tables.
        groups: costs of the latents, in the order of decoding.
        each: of expected_likelihood, every image's share, (B,).
    """

    images: int
    net: float
    likelihood: float
    expected_likelihood: float
    groups: tuple[GroupCost, ...]
    each: NDArray[np.float64]


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


def encode(message: Message, model: Model[S, M], batch: Batch, x: NDArray[np.uint8]) -> BatchCost:
    """Push a batch of images onto the message.

    Args:
        message: holds the bits that the posteriors take; changed in place.
        x: (B, C, H, W) uint8; what stands beyond the batch's extents is ignored.

    Returns:
        The bits it cost, measured on the message.

    Raises:
        EmptyMessageError: the message held too few bits; it is then of no further use.
    """
    if batch.extents is not None:
        x = x.copy()
        padding.fill_passes(x, batch.extents, model.passes)
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
    each = _push_images(message, model, batch, state, x)
    likelihood_bits = message.bits - held
    costs = []
    for visit, q, lost in zip(*(reversed(v) for v in (visits, asked, popped)), strict=True):
        held = message.bits
        push_prior(message, visit.latents, visit.k)
        gained = message.bits - held
        costs.append(_cost(visit, q, lost, gained))
    net = message.bits - before
    return BatchCost(
        batch.size, net, likelihood_bits, float(each.sum()), tuple(reversed(costs)), each
    )


def _push_images(
    message: Message, model: Model[S, M], batch: Batch, state: S, x: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Push images given all latents; their code lengths under the tables, (B,) bits."""
    coded: list[tuple[Likelihood, NDArray[np.uint8]]] = []
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
    return np.sum([likelihood.push(message, part) for likelihood, part in coded[::-1]], 0)


def _pop_images(message: Message, model: Model[S, M], batch: Batch, state: S) -> NDArray[np.uint8]:
    """Inverse of `_push_images`: (B, C, H, W) uint8."""
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


def _cost(visit: Visit[S], q: Posterior, lost: float, gained: float) -> GroupCost:
    rows = (q.rows, q.base, visit.latents.prior_rows)
    on = visit.latents
    kl = float(on.of_coded(latent_grid.continuous_kl_bits(q.q, on.p)).sum())
    # A posterior as wide as the grid leaves one k: no luck.
    luck = 0.0
    if not on.group.constant_width:
        luck = float(latent_grid.luck_variance(*rows).sum())
    return GroupCost(on.group, lost, gained, rows, kl, luck)


def draw(
    message: Message, model: Model[S, M], batch: Batch
) -> tuple[list[Visit[S]], NDArray[np.uint8]]:
    """Pop latents under their priors and images under the likelihood, without giving bits back.

    The first half of decoding; on a random message, sampling from the model.

    Returns:
        The groups as they were walked through, and (B, C, H, W) uint8.
    """
    visits, state = walk(model, batch, lambda index, state, latents: pop_prior(message, latents))
    return visits, _pop_images(message, model, batch, state)


def decode(message: Message, model: Model[S, M], batch: Batch) -> NDArray[np.uint8]:
    """Pop a batch of images off the message, which is then as before they were pushed.

    Returns:
        (B, C, H, W) uint8.
    """
    visits, x = draw(message, model, batch)
    ask = posteriors(model, batch, x)
    asked = [ask(v.index, v.state, v.latents) for v in visits]
    for visit, q in zip(reversed(visits), reversed(asked), strict=True):
        q.push(message, visit.k, masks_of(batch, visit.index))
    return x
