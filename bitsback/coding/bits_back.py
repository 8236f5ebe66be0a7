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
from bitsback.ans.metered import MeteredMessage
from bitsback.tables import fine, latent_grid, pixels
from bitsback.tiles import padding
from bitsback.tiles.padding import Pixels

from .batch import Batch
from .latents import Latents, Posterior, masks_of, pop_prior, posteriors, prepare, push_prior
from .model import Group, Likelihood, M, Model, S
from .reports import coverage
from .reports.coverage import NOTHING, Coverage

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
        count: coded latents.
        kl: KL(q || p) on the grid by image, (B,) bits; of a constant width, the code length of
            its one k.
        continuous_kl: KL(q || p) of the Gaussians themselves, eq. 7, coded channels, bits.
        variance: of pushed - popped, given what was coded before, bits**2.
        rounding: what rounding added to the pushes, simulated; None if not measured.
    """

    group: Group
    popped: float
    pushed: float
    count: int
    kl: NDArray[np.float64]
    continuous_kl: float
    variance: float
    rounding: float | None = None

    @property
    def kl_bits(self) -> float:
        """KL(q || p) on the grid, over all images."""
        return float(self.kl.sum())


@dataclasses.dataclass(frozen=True)
class BatchCost:
    """Bits of one batch: the message's real growth, and what it consists of.

    Args:
        net: bits that the message grew by.
        likelihood: bits that pushing the images added.
        code_length: of every image under the likelihood's tables, (B,).
        groups: costs of the latents, in the order of decoding.
        rounding: what rounding added to the images' pushes, simulated; None if not measured.
        coverage: what lies beyond the tables, if measured.
    """

    images: int
    net: float
    likelihood: float
    code_length: NDArray[np.float64]
    groups: tuple[GroupCost, ...]
    rounding: float | None = None
    coverage: Coverage = NOTHING

    @property
    def expected_likelihood(self) -> float:
        """Code length of all images under the likelihood's tables, bits."""
        return float(self.code_length.sum())


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
) -> BatchCost:
    """Push a batch of images onto the message.

    Args:
        message: holds the bits that the posteriors take; changed in place.
        x: (B, C, H, W) uint8; what stands beyond the batch's extents is ignored.
        measure: whether the pushes' rounding and the tables' coverage are measured, too.

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
    meter = MeteredMessage(message) if measure else None
    coded = _likelihoods(model, batch, state, x)
    code_length = _push_images(meter or message, coded)
    likelihood_bits = message.bits - held
    rounding = meter.rounding_bits if meter else None
    covered = NOTHING
    costs = []
    for visit, q, lost in zip(*(reversed(v) for v in (visits, asked, popped)), strict=True):
        held = message.bits
        rounded = meter.rounding_bits if meter else 0.0
        push_prior(meter or message, visit.latents, visit.k)
        gained = message.bits - held
        cost = _cost(visit, q, lost, gained)
        if meter:
            cost = dataclasses.replace(cost, rounding=meter.rounding_bits - rounded)
            covered += coverage.of_latents(visit.latents, q, visit.k)
        costs.append(cost)
    net = message.bits - before
    if measure:
        covered += coverage.of_pixels(coded)
    groups = tuple(reversed(costs))
    return BatchCost(batch.size, net, likelihood_bits, code_length, groups, rounding, covered)


def _likelihoods(
    model: Model[S, M], batch: Batch, state: S, x: NDArray[np.uint8]
) -> list[tuple[Likelihood, NDArray[np.uint8]]]:
    """The codecs of the passes given all latents, each with its pixels."""
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
    return coded


def _push_images(
    message: Message, coded: list[tuple[Likelihood, NDArray[np.uint8]]]
) -> NDArray[np.float64]:
    """Push the passes' pixels, the last ones first; `BatchCost.code_length`."""
    lengths = [likelihood.push(message, part) for likelihood, part in coded[::-1]]
    return np.sum(lengths, axis=0)


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
    if on.group.constant_width:
        # A posterior as wide as the grid leaves one k: no luck.
        on_grid, luck = latent_grid.code_length(on.prior_rows, visit.k), 0.0
    elif on.group.fine:
        on_grid, luck = fine.moments(*rows)
    else:
        on_grid = latent_grid.kl_bits(*rows)
        luck = float(latent_grid.luck_variance(*rows).sum())
    by_image = on_grid.reshape(len(on_grid), -1).sum(1)
    return GroupCost(on.group, lost, gained, on_grid.size, by_image, kl, luck)


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
