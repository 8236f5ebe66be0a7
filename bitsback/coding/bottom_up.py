"""Bits-back coding of a batch through a chain of latents that are inferred from the bottom up.

With z_1 next to the images and z_L on top,

    p(x, z) = p(x | z_1) p(z_1 | z_2) ... p(z_L),    q(z | x) = q(z_1 | x) q(z_2 | z_1) ...

and encoding gives the bits of each latent back before it takes those of the latent after the next:

    pop z_1 under q(z_1 | x), push x under p(x | z_1), pop z_2 under q(z_2 | z_1),
    push z_1 under p(z_1 | z_2), ..., push z_L under p(z_L)

So the initial bits are those of z_1, not of all latents. Decoding is the mirror. A model's groups
are in the order of decoding: z_L is group 0.

Source: Kingma, Abbeel and Ho, arXiv:1905.06845 (Bit-Swap), algorithm 1.
"""

import dataclasses
from typing import Generic, cast

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.ans.metered import MeteredMessage
from bitsback.errors import ModelError
from bitsback.side.wanted import Wanted
from bitsback.tables import latent_grid

from . import batch_pixels
from .batch import Batch
from .latents import Posterior, masks_of, on_grid, pop_prior, prepare, push_prior
from .model import BottomUpModel, M, Model, S
from .reports import coverage
from .reports.costs import BatchCost, GroupCost, group_cost
from .reports.coverage import NOTHING


@dataclasses.dataclass(frozen=True)
class _Inferred:
    """A group off the message: its posterior, and k; popped: bits that the message lost."""

    q: Posterior
    k: NDArray[np.int64]
    popped: float


def codes(model: Model[S, M], batch: Batch) -> bool:
    """Whether a batch's latents are coded in this order; those of a batch of none are not.

    Raises:
        ModelError: some groups are bottom-up and some are not, or the batch codes some of them.
    """
    found = {group.bottom_up for group in model.groups}
    if True not in found:
        return False
    if len(found) > 1:
        raise ModelError("either all groups of latents are inferred from the bottom up, or none")
    if batch.coded is None or batch.coded >= set(range(len(model.groups))):
        return True
    if batch.coded:
        raise ModelError("latents that are inferred from the bottom up are coded all, or none")
    return False


def encode(
    message: Message,
    model: Model[S, M],
    batch: Batch,
    x: NDArray[np.uint8],
    measure: bool,
    wanted: Wanted,
) -> BatchCost:
    """As `bits_back.encode`."""
    x = batch_pixels.filled(model, batch, x)
    coder = _Coder(cast("BottomUpModel[S, M]", model), batch)
    meter = MeteredMessage(message) if measure else None
    onto: Message = meter or message
    before, covered, costs = message.bits, NOTHING, list[GroupCost]()

    def give_back(found: _Inferred, p: latent_grid.Gaussian) -> None:
        nonlocal covered
        held, rounded = message.bits, meter.rounding_bits if meter else 0.0
        latents = dataclasses.replace(found.q.latents, p=p, origin=p)
        push_prior(onto, latents, found.k)
        cost = group_cost(latents, found.q, found.k, found.popped, message.bits - held)
        if meter:
            cost = dataclasses.replace(cost, rounding=meter.rounding_bits - rounded)
            covered += coverage.of_latents(latents, found.q, found.k)
        costs.append(cost)

    first, *above = reversed(range(len(model.groups)))
    found = coder.pop(message, first, coder.of_images(x))
    state = coder.known(first, found.q.latents.z(found.k))
    held = message.bits
    coded = batch_pixels.likelihoods(model, batch, state, x, wanted)
    code_length, side = batch_pixels.push(onto, coded)
    likelihood_bits, rounding = message.bits - held, meter.rounding_bits if meter else None
    for index in above:
        upper = coder.pop(message, index, coder.of_latents(index, state))
        state = coder.known(index, upper.q.latents.z(upper.k))
        give_back(found, model.prior(index + 1, state))
        found = upper
    give_back(found, model.prior(0, coder.start))
    if measure:
        covered += coverage.of_pixels(coded.parts)
    groups, net = tuple(reversed(costs)), message.bits - before
    return BatchCost(batch.size, net, likelihood_bits, code_length, groups, rounding, covered, side)


def decode(message: Message, model: Model[S, M], batch: Batch) -> NDArray[np.uint8]:
    """As `bits_back.decode`."""
    coder = _Coder(cast("BottomUpModel[S, M]", model), batch)
    state, k = coder.start, list[NDArray[np.int64]]()
    for index, group in enumerate(model.groups):
        latents = prepare(batch, index, group, model.prior(index, state))
        k.append(pop_prior(message, latents))
        state = coder.known(index, latents.z(k[index]))
        if index:
            coder.push(message, index - 1, coder.of_latents(index - 1, state), k[index - 1])
    x = batch_pixels.pop(message, model, batch, state)
    coder.push(message, len(k) - 1, coder.of_images(x), k[-1])
    return x


class _Coder(Generic[S, M]):
    """The posteriors of a batch, and what the coder knows before and after each latent."""

    def __init__(self, model: BottomUpModel[S, M], batch: Batch) -> None:
        self.model, self.batch = model, batch
        self.start = model.start(batch.size, batch.height, batch.width)

    def known(self, index: int, z: NDArray[np.int64]) -> S:
        return self.model.step(index, self.start, z)

    def of_images(self, x: NDArray[np.uint8]) -> Posterior:
        last = len(self.model.groups) - 1
        return self._posterior(last, self.model.infer(last, self.model.observe(x), self.start))

    def of_latents(self, index: int, below: S) -> Posterior:
        return self._posterior(index, self.model.infer(index, None, below))

    def _posterior(self, index: int, q: latent_grid.Gaussian) -> Posterior:
        return on_grid(self.batch, index, self.model.groups[index], q)

    def pop(self, message: Message, index: int, q: Posterior) -> _Inferred:
        held = message.bits
        k = q.pop(message, masks_of(self.batch, index))
        return _Inferred(q, k, held - message.bits)

    def push(self, message: Message, index: int, q: Posterior, k: NDArray[np.int64]) -> None:
        q.push(message, k, masks_of(self.batch, index))
