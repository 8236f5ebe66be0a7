"""The latents of a batch, group by group: their grid, and their codecs under prior and posterior.

A posterior of constant width has a grid of that width, in units of 1, however wide the prior is.
Where the prior is much narrower than the grid, k costs next to nothing.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bitsback.ans import codecs
from bitsback.ans.message import Message
from bitsback.errors import ModelError
from bitsback.tables import fine, latent_grid, tables
from bitsback.tables.tables import Ints

from .batch import Batch
from .model import Group, M, Model, S

T = TypeVar("T", bound=np.generic)
_FINE = -48  # 16 log2 of an eighth


@dataclasses.dataclass(frozen=True)
class Latents:
    """A group's grid as both sides know it: its prior, its dither, and the coded channels.

    The origin's means and scales are where the grid begins and what its widths are units of.
    """

    group: Group
    p: latent_grid.Gaussian
    origin: latent_grid.Gaussian
    dither: NDArray[np.int64]  # (B, C, h, w)
    coded: NDArray[np.bool_]  # (C,) bool
    drawn: NDArray[np.int64]  # k of the channels that are not coded, (B, C - coded, h, w)

    @functools.cached_property
    def log_width(self) -> Ints:
        """(C, 1, 1); the channels that are not coded lie on a grid of one unit."""
        return np.where(self.coded, self.group.log_width, 0)[:, None, None]

    @functools.cached_property
    def prior_rows(self) -> NDArray[np.int64]:
        """Rows of the prior table for the coded channels; of a fine group, rows of `fine`."""
        if self.group.fine:
            return self.of_coded(fine.rows(self.p, self.dither))
        if self.origin is self.p:
            return self.of_coded(latent_grid.prior_rows(self.log_width, self.dither))
        octaves = self.origin.log_scale.astype(np.int64) - self.p.log_scale
        width = (octaves + latent_grid.PER_WIDTH // 2) // latent_grid.PER_WIDTH + self.log_width
        return self.of_coded(latent_grid.prior_rows(width, self.dither))

    @property
    def limits(self) -> NDArray[np.int64]:
        """The largest |k| of a fine group's coded channels."""
        if self.group.bottom_up:
            return self.nothing + (self.group.limit >> latent_grid.Z_BITS)
        return fine.limits(self.prior_rows)

    @property
    def nothing(self) -> NDArray[np.int64]:
        """A zero for each coded latent, (B, C_coded, h, w)."""
        return self.of_coded(np.zeros(self.dither.shape, np.int64))

    def of_coded(self, values: NDArray[T]) -> NDArray[T]:
        """The coded channels of (B, C, h, w)."""
        return values if self.coded.all() else values[:, self.coded]

    def complete(self, k: NDArray[np.int64]) -> NDArray[np.int64]:
        """k of all channels from k of the coded ones."""
        if self.coded.all():
            return k
        full = np.empty(self.dither.shape, np.int64)
        full[:, self.coded], full[:, ~self.coded] = k, self.drawn
        return full

    def z(self, k: NDArray[np.int64], limit: int | None = None) -> NDArray[np.int64]:
        """The latents themselves, from k of the coded channels; `limit` in place of the group's."""
        if self.group.fine:
            # 64 (k + u), exactly
            return 2 * tables.FRACTIONS * self.complete(k) + 2 * self.dither - tables.FRACTIONS + 1
        limit = self.group.limit if limit is None else limit
        full = self.complete(k)
        return latent_grid.latent(self.origin, self.log_width, full, self.dither, limit)


def prepare(batch: Batch, index: int, group: Group, p: latent_grid.Gaussian) -> Latents:
    """The grid of a group: dither and latents that are not coded come from the seed."""
    shape, origin, width, seed = p.mean.shape, p, 0, batch.seed
    noise = (1 if batch.shared_dither else shape[0], *shape[1:])
    coded = group.log_width != latent_grid.NIL
    if batch.coded is not None and index not in batch.coded:
        coded = np.zeros(shape[1], np.bool_)
        if batch.variance == 0:
            middle, means = np.full(shape, latent_grid.MIDDLE), np.zeros(shape, np.int64)
            if group.fine:
                means = (p.mean.astype(np.int64) + 128) >> latent_grid.MEAN_BITS
            return Latents(group, p, p, middle, coded, means)
        if group.fine:
            raise ModelError("latents on a fine grid are coded, or lie at their priors' means")
        narrower = math.floor(latent_grid.STEPS / 2 * math.log2(batch.variance) + 0.5)
        # Fine, as the dither adds a twelfth of the grid's width squared to the variance.
        width, seed = _FINE, batch.drawn_seed
        origin = latent_grid.Gaussian(
            p.mean, p.log_scale + narrower + latent_grid.PER_WIDTH * width
        )
    elif group.constant_width:
        origin = latent_grid.Gaussian(p.mean, np.where(coded[:, None, None], 0, p.log_scale))
    dither = latent_grid.dither(seed, batch.index, index, noise)
    if coded.all():
        drawn = np.empty((shape[0], 0, *shape[2:]), np.int64)
    else:
        cf = latent_grid.nil_cf(seed, batch.index, index, noise)[:, ~coded]
        rows = latent_grid.prior_rows(np.full((1, 1, 1), width), dither[:, ~coded])
        k = tables.find(tables.prior_table(), rows, cf) + tables.FIRST
        drawn = np.broadcast_to(k, (shape[0], *k.shape[1:]))
    return Latents(group, p, origin, np.broadcast_to(dither, shape), coded, drawn)


@dataclasses.dataclass(frozen=True)
class Posterior:
    """q of a group on its grid: table rows and the offset of k, for the coded channels.

    Of a fine group they are rows of `fine`, and the limits of its priors.
    """

    rows: NDArray[np.int64]
    base: NDArray[np.int64]
    q: latent_grid.Gaussian
    latents: Latents

    @property
    def nearest(self) -> NDArray[np.int64]:
        """k where q is uniform of the grid's width."""
        on = self.latents
        return on.of_coded(latent_grid.nearest(self.q, on.origin, on.log_width, on.dither))

    def pop(self, message: Message, masks: np.random.Philox) -> NDArray[np.int64]:
        """Take k off the message."""
        if self.latents.group.constant_width:
            return self.nearest
        if self.latents.group.fine:
            return self._fine(message, masks).pop(message)[1]
        column: NDArray[np.int64] = self._codec(message, masks).pop(message)[1]
        return self.base + column + tables.FIRST

    def push(self, message: Message, k: NDArray[np.int64], masks: np.random.Philox) -> None:
        """Give k's bits back to the message."""
        if self.latents.group.constant_width:
            return
        if self.latents.group.fine:
            self._fine(message, masks).push(message, k)
            return
        self._codec(message, masks).push(message, k - self.base - tables.FIRST)

    def _fine(self, message: Message, masks: np.random.Philox) -> codecs.Codec[NDArray[np.int64]]:
        return fine.posterior_codec(self.rows, self.base, self._masks(message, masks))

    def _codec(self, message: Message, masks: np.random.Philox) -> codecs.Codec[NDArray[Any]]:
        """Columns of the rows, with masks of the heads' low 24 bits for each block.

        A pop samples from q only if the bits it takes are uniform; those that a model of other
        data has pushed are not. The mask makes them so, and being its own inverse it is free.
        """
        mask = self._masks(message, masks)
        return codecs.categorical(tables.posterior_table(), self.rows, tables.PRECISION, mask)

    def _masks(self, message: Message, masks: np.random.Philox) -> NDArray[np.uint64]:
        heads = len(message.heads)
        return masks.random_raw(-(-self.rows.size // heads) * heads) & np.uint64(tables.TOTAL - 1)


def masks_of(batch: Batch, index: int) -> np.random.Philox:
    """The seed's stream of masks for a group of a batch."""
    return np.random.Philox(key=batch.seed, counter=[0, 2, index, batch.index])


def posteriors(
    model: Model[S, M], batch: Batch, x: NDArray[np.uint8]
) -> Callable[[int, S, Latents], Posterior]:
    """The posteriors of the groups, given images x, to be asked for in their order.

    Once no latent is coded any more, the model is not asked: its priors stand in for what nobody
    reads.

    Raises:
        ModelError: latents are coded that are inferred from the bottom up.
    """
    coded = [
        index
        for index, group in enumerate(model.groups)
        if (group.log_width != latent_grid.NIL).any()
        and (batch.coded is None or index in batch.coded)
    ]
    if any(model.groups[index].bottom_up for index in coded):
        raise ModelError("the model infers its latents from the bottom up, not from x each")
    needed = max(coded, default=-1) + 1
    memories: list[M] = [model.observe(x)] if needed else []

    def ask(index: int, state: S, latents: Latents) -> Posterior:
        if index >= needed:
            return Posterior(latents.nothing, latents.nothing, latents.p, latents)
        q, memories[0] = model.posterior(index, memories[0], state, latents.p)
        if latents.group.constant_width:
            return Posterior(latents.nothing, latents.nothing, q, latents)
        if latents.group.fine:
            return _fine_posterior(q, latents)
        rows, base = latent_grid.posterior_rows(q, latents.p, latents.log_width, latents.dither)
        return Posterior(latents.of_coded(rows), latents.of_coded(base), q, latents)

    return ask


def on_grid(batch: Batch, index: int, group: Group, q: latent_grid.Gaussian) -> Posterior:
    """The posterior of a bottom-up group, whose prior is not known yet."""
    return _fine_posterior(q, prepare(batch, index, group, q))


def _fine_posterior(q: latent_grid.Gaussian, latents: Latents) -> Posterior:
    rows = latents.of_coded(fine.rows(q, latents.dither))
    return Posterior(rows, latents.limits, q, latents)


def prior_codec(rows: NDArray[np.int64]) -> codecs.Codec[NDArray[Any]]:
    """Columns of rows of the prior's table."""
    return codecs.categorical(tables.prior_table(), rows, tables.PRECISION)


def push_prior(message: Message, latents: Latents, k: NDArray[np.int64]) -> None:
    """Push a group's k under its prior."""
    if latents.group.fine:
        fine.prior_codec(latents.prior_rows, latents.limits).push(message, k)
        return
    prior_codec(latents.prior_rows).push(message, k - tables.FIRST)


def pop_prior(message: Message, latents: Latents) -> NDArray[np.int64]:
    """Pop a group's k under its prior."""
    if latents.group.fine:
        return fine.prior_codec(latents.prior_rows, latents.limits).pop(message)[1]
    column: NDArray[np.int64] = prior_codec(latents.prior_rows).pop(message)[1]
    return column + tables.FIRST
