"""Bits-back coding of one link of a chain: a batch of images through a latent variable model.

Encoding pops every latent under its posterior, forwards, pushes the images under the
likelihood, its passes backwards, and pushes the latents under their priors, backwards; decoding
is the mirror. Both walk the model with `walk`, so that they cannot drift apart.

A link may code the latents of its first groups only: those of the others lie at the means of their
priors, which costs what they would have told, but takes no bits off the message. So the first links
of a chain are coded, when there is little on the message yet.

Source: Frey and Hinton (1997), bits-back; Townsend et al., arXiv:1901.04866 (BB-ANS);
Gregor et al., arXiv:1604.08772 (the model's recursion).
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from . import codecs, edges, grid, pixels, tables
from .ans import Message
from .protocol import Group, Likelihood, Memory, Model, Pixels, State

Choose = Callable[[int, State, "Latents"], np.ndarray]


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
    extents: tuple[edges.Extent, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Latents:
    """A group's grid as both sides know it: its prior, its dither, and the coded channels."""

    group: Group
    p: grid.Gaussian
    dither: np.ndarray  # (B, C, h, w)
    coded: np.ndarray  # (C,) bool
    drawn: np.ndarray  # k of the channels that are not coded, (B, C - coded, h, w)

    @functools.cached_property
    def log_width(self) -> np.ndarray:
        """(C, 1, 1); the channels that are not coded lie on a grid of one sigma."""
        return np.where(self.coded, self.group.log_width, 0)[:, None, None]

    @functools.cached_property
    def prior_rows(self) -> np.ndarray:
        """Rows of the prior table for the coded channels."""
        return self.of_coded(grid.prior_rows(self.log_width, self.dither))

    def of_coded(self, values: np.ndarray) -> np.ndarray:
        """The coded channels of (B, C, h, w)."""
        return values if self.coded.all() else values[:, self.coded]

    def complete(self, k: np.ndarray) -> np.ndarray:
        """k of all channels from k of the coded ones."""
        if self.coded.all():
            return k
        full = np.empty(self.dither.shape, np.int64)
        full[:, self.coded], full[:, ~self.coded] = k, self.drawn
        return full

    def z(self, k: np.ndarray) -> np.ndarray:
        """The latents themselves, from k of the coded channels."""
        return grid.latent(self.p, self.log_width, self.complete(k), self.dither)


@dataclasses.dataclass(frozen=True)
class Visit:
    """A group that was walked through: the state before it, its grid, and its k."""

    index: int
    state: State
    latents: Latents
    k: np.ndarray


@dataclasses.dataclass(frozen=True)
class GroupCost:
    """Bits of one group in one link.

    Args:
        popped: bits that the message lost to the posterior.
        pushed: bits that the message gained from the prior.
        rows: (q rows, base, p rows) of the coded latents: their distributions on the grid.
        continuous_kl: KL(q || p) of the Gaussians themselves, eq. 7, coded channels, bits.
    """

    group: Group
    popped: float
    pushed: float
    rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    continuous_kl: float


@dataclasses.dataclass(frozen=True)
class LinkCost:
    """Bits of one link: the message's real growth, and what it consists of.

    Args:
        net: bits that the message grew by.
        likelihood: bits that pushing the images added.
        expected_likelihood: code length of the images under the likelihood's tables.
        groups: costs of the latents, in the order of decoding.
    """

    images: int
    net: float
    likelihood: float
    expected_likelihood: float
    groups: tuple[GroupCost, ...]


def prepare(link: Link, index: int, group: Group, p: grid.Gaussian) -> Latents:
    """The grid of a group: dither and latents that are not coded come from the seed.

    Of a group that the link does not code, all latents are their prior's means.
    """
    shape = p.mean.shape
    if link.coded is not None and index >= link.coded:
        middle = np.full(shape, grid.MIDDLE)
        return Latents(group, p, middle, np.zeros(shape[1], np.bool_), np.zeros(shape, np.int64))
    dither = grid.dither(link.seed, link.index, index, shape)
    coded = group.log_width != grid.NIL
    if coded.all():
        drawn = np.empty((shape[0], 0, *shape[2:]), np.int64)
    else:
        cf = grid.nil_cf(link.seed, link.index, index, shape)[:, ~coded]
        rows = grid.prior_rows(np.zeros((1, 1, 1), np.int64), dither[:, ~coded])
        drawn = tables.find(tables.prior_table(), rows, cf) + tables.FIRST
    return Latents(group, p, dither, coded, drawn)


def walk(model: Model, link: Link, choose: Choose) -> tuple[list[Visit], State]:
    """Go through the model's groups in their order; `choose` says each group's k."""
    state = model.start(link.batch, link.height, link.width)
    visits = []
    for index, group in enumerate(model.groups):
        latents = prepare(link, index, group, model.prior(index, state))
        k = choose(index, state, latents)
        visits.append(Visit(index, state, latents, k))
        state = model.step(index, state, latents.z(k))
    return visits, state


@dataclasses.dataclass(frozen=True)
class Posterior:
    """q of a group on its grid: table rows and the offset of k, for the coded channels."""

    rows: np.ndarray
    base: np.ndarray
    q: grid.Gaussian
    latents: Latents

    @property
    def certain(self) -> np.ndarray:
        """k where q is uniform of the grid's width."""
        nearest = grid.nearest(self.q, self.latents.p, self.latents.log_width, self.latents.dither)
        return self.latents.of_coded(nearest)

    def pop(self, message: Message, masks: np.random.Philox) -> np.ndarray:
        """Take k off the message."""
        if self.latents.group.certain:
            return self.certain
        column: np.ndarray = self._codec(message, masks).pop(message)[1]
        return self.base + column + tables.FIRST

    def push(self, message: Message, k: np.ndarray, masks: np.random.Philox) -> None:
        """Give k's bits back to the message."""
        if self.latents.group.certain:
            return
        self._codec(message, masks).push(message, k - self.base - tables.FIRST)

    def _codec(self, message: Message, masks: np.random.Philox) -> codecs.Codec[np.ndarray]:
        """Columns of the rows, with masks of the heads' low 24 bits for each block.

        A pop samples from q only if the bits it takes are uniform; those that a model of other
        data has pushed are not. The mask makes them so, and being its own inverse it is free.
        """
        heads = len(message.heads)
        mask = masks.random_raw(-(-self.rows.size // heads) * heads) & np.uint64(tables.TOTAL - 1)
        return codecs.categorical(tables.posterior_table(), self.rows, tables.PRECISION, mask)


def masks_of(link: Link, index: int) -> np.random.Philox:
    """The seed's stream of masks for a group of a link."""
    return np.random.Philox(key=link.seed, counter=[0, 2, index, link.index])


def posteriors(model: Model, memory: Memory) -> Callable[[int, State, Latents], Posterior]:
    """The posteriors of the groups, to be asked for in their order."""

    def ask(index: int, state: State, latents: Latents) -> Posterior:
        nonlocal memory
        q, memory = model.posterior(index, memory, state, latents.p)
        rows, base = grid.posterior_rows(q, latents.p, latents.log_width, latents.dither)
        return Posterior(latents.of_coded(rows), latents.of_coded(base), q, latents)

    return ask


def push_prior(message: Message, visit: Visit) -> None:
    """Push a group's k under its prior."""
    rows = visit.latents.prior_rows
    codec = codecs.categorical(tables.prior_table(), rows, tables.PRECISION)
    codec.push(message, visit.k - tables.FIRST)


def pop_prior(message: Message, latents: Latents) -> np.ndarray:
    """Pop a group's k under its prior."""
    rows = latents.prior_rows
    codec = codecs.categorical(tables.prior_table(), rows, tables.PRECISION)
    column: np.ndarray = codec.pop(message)[1]
    return column + tables.FIRST


def encode(message: Message, model: Model, link: Link, x: np.ndarray) -> LinkCost:
    """Push a batch of images onto the message.

    Args:
        message: holds the bits that the posteriors take; changed in place.
        x: (B, C, H, W) uint8; what stands beyond the link's extents is ignored.

    Returns:
        The bits it cost, measured on the message.

    Raises:
        EmptyMessageError: the message held too few bits; it is then of no further use.
    """
    if link.extents is not None:
        x = x.copy()
        edges.fill_passes(x, link.extents, model.passes)
    ask = posteriors(model, model.observe(x))
    asked: list[Posterior] = []
    popped: list[float] = []
    before = message.bits

    def choose(index: int, state: State, latents: Latents) -> np.ndarray:
        q = ask(index, state, latents)
        held = message.bits
        k = q.pop(message, masks_of(link, index))
        asked.append(q)
        popped.append(held - message.bits)
        return k

    visits, state = walk(model, link, choose)
    held = message.bits
    expected = _push_images(message, model, link, state, x)
    likelihood_bits = message.bits - held
    costs = []
    for visit, q, lost in zip(*(reversed(v) for v in (visits, asked, popped)), strict=True):
        held = message.bits
        push_prior(message, visit)
        gained = message.bits - held
        costs.append(_cost(visit, q, lost, gained))
    net = message.bits - before
    return LinkCost(link.batch, net, likelihood_bits, expected, tuple(reversed(costs)))


def _push_images(message: Message, model: Model, link: Link, state: State, x: np.ndarray) -> float:
    """Push images given all latents; their code length under the tables, bits."""
    coded: list[tuple[Likelihood, np.ndarray]] = []
    for number, where in enumerate(model.passes):
        part = x[:, :, *where]
        likelihood = model.likelihood(state, link.gray)
        if link.extents is None:
            coded.append((likelihood, part))
        else:
            known = edges.known(link.extents, part.shape, where)
            coded.append((likelihood.only(known), pixels.picked(part, known)))
        if number + 1 < len(model.passes):
            state = model.reveal(state, part)
    return sum(float(likelihood.push(message, part).sum()) for likelihood, part in coded[::-1])


def _pop_images(message: Message, model: Model, link: Link, state: State) -> np.ndarray:
    """Inverse of `_push_images`: (B, C, H, W) uint8."""
    parts: list[np.ndarray] = []
    for number, where in enumerate(model.passes):
        parts.append(_pop_pass(message, model.likelihood(state, link.gray), link, where))
        if number + 1 < len(model.passes):
            state = model.reveal(state, parts[-1])
    x = np.empty((link.batch, parts[0].shape[1], link.height, link.width), np.uint8)
    for where, part in zip(model.passes, parts, strict=True):
        x[:, :, *where] = part
    return x


def _pop_pass(message: Message, likelihood: Likelihood, link: Link, where: Pixels) -> np.ndarray:
    """The pixels of a pass, (B, C, H', W') uint8, with what stands beyond the extents."""
    if link.extents is None:
        return likelihood.pop(message)
    plane = np.empty((link.batch, link.height, link.width))[:, *where]
    known = edges.known(link.extents, plane.shape, where)
    found = likelihood.only(known).pop(message)[0, :, 0]
    part = np.empty((len(found), *plane.shape), np.uint8)
    part[:, known] = found
    part = np.moveaxis(part, 0, 1)
    edges.fill(part, link.extents, where)
    return part


def _cost(visit: Visit, q: Posterior, lost: float, gained: float) -> GroupCost:
    rows = (q.rows, q.base, visit.latents.prior_rows)
    kl = float(visit.latents.of_coded(grid.continuous_kl_bits(q.q, visit.latents.p)).sum())
    return GroupCost(visit.latents.group, lost, gained, rows, kl)


def draw(message: Message, model: Model, link: Link) -> tuple[list[Visit], np.ndarray]:
    """Pop latents under their priors and images under the likelihood, without giving bits back.

    The first half of decoding; on a random message, sampling from the model.

    Returns:
        The groups as they were walked through, and (B, C, H, W) uint8.
    """
    visits, state = walk(model, link, lambda index, state, latents: pop_prior(message, latents))
    return visits, _pop_images(message, model, link, state)


def decode(message: Message, model: Model, link: Link) -> np.ndarray:
    """Pop a batch of images off the message, which is then as before they were pushed.

    Returns:
        (B, C, H, W) uint8.
    """
    visits, x = draw(message, model, link)
    ask = posteriors(model, model.observe(x))
    asked = [ask(v.index, v.state, v.latents) for v in visits]
    for visit, q in zip(reversed(visits), reversed(asked), strict=True):
        q.push(message, visit.k, masks_of(link, visit.index))
    return x
