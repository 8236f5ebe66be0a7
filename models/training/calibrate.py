"""Choosing the latent grids on training images, with the very network that will code."""

from typing import Generic

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.coding.batch import Batch
from bitsback.coding.bits_back import encode
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.equations import groups
from bitsback.models.draw.grids import LOG_SCALE_BITS
from bitsback.models.draw.model import DrawModel, IntegerArithmetic
from bitsback.models.draw.state import Array, Memory, State
from bitsback.tables import latent_grid

from .data import TrainingImages
from .losses import LOG2_UNIFORM

# 16 log2(delta / sigma_q): one sigma. Measured on q = N(.5, .5**2), p = N(0, 1): the grid costs
# 1.2 % over the continuous KL at one sigma and 4.8 % at two, for 1 bit a latent less to start with.
DIAL = 0
NIL_BITS = 1e-3

Samples = list[list[NDArray[np.float64]]]  # of each group, (B, C, h, w)


def calibrate(
    config: DrawConfig, ops: IntegerArithmetic[Array], images: TrainingImages
) -> list[NDArray[np.int64]]:
    """Grid widths of every group and channel, 16 log2(delta), for `DrawModel`.

    A channel's width is the narrow (lower decile) posterior's, in units of the prior's
    sigma; a channel whose KL is below 0.001 bits a latent on average is not coded at all. A
    constant posterior's width has been learned.
    """
    if config.posterior == "constant":
        return [_constant(ops, g.layer) for g in groups(config)]
    sizes = [config.latents2 if g.layer == 2 else config.latents for g in groups(config)]
    fine = [np.zeros(size, np.int64) for size in sizes]
    model = DrawModel(config, ops, fine)
    ratios: Samples = [[] for _ in sizes]
    costs: Samples = [[] for _ in sizes]
    x = images.batch(64, 0, 2**40).numpy()
    recorder = _Recorder(model, ratios, costs)
    batch = Batch(len(x), x.shape[2], x.shape[3], 0, 0)
    encode(Message.random(128, 2_000_000, 0), recorder, batch, x)
    log_widths = []
    for ratio, cost in zip(ratios, costs, strict=True):
        narrow = np.quantile(ratio[0], 0.1, axis=(0, 2, 3))
        width = np.clip(np.floor(narrow + DIAL), -48, 32).astype(np.int64)
        nil = cost[0].mean((0, 2, 3)) < NIL_BITS
        log_widths.append(np.where(nil, latent_grid.NIL, width))
    return log_widths


def _constant(ops: IntegerArithmetic[Array], layer: int) -> NDArray[np.int64]:
    """The width of a constant posterior's grid, of that posterior's variance, in units of 1."""
    octaves = ops.array(ops.initial(f"width{layer}", 1, 1, 1))[0, :, 0, 0] / 2**LOG_SCALE_BITS
    widths = np.floor(16 * (octaves + LOG2_UNIFORM) + 0.5)
    return np.clip(widths, -48, 32).astype(np.int64)


class _Recorder(Generic[Array]):
    """The model, noting log sigma_q / sigma_p and the KL of what passes through it."""

    def __init__(
        self,
        model: DrawModel[Array],
        ratios: Samples,
        costs: Samples,
    ) -> None:
        self.model, self.ratios, self.costs = model, ratios, costs
        self.groups, self.passes = model.groups, model.passes
        self.start, self.observe, self.prior = model.start, model.observe, model.prior
        self.step, self.likelihood, self.reveal = model.step, model.likelihood, model.reveal
        self.image = model.image

    def posterior(
        self, index: int, memory: Memory[Array], state: State[Array], p: latent_grid.Gaussian
    ) -> tuple[latent_grid.Gaussian, Memory[Array]]:
        q, memory = self.model.posterior(index, memory, state, p)
        self.ratios[index].append((q.log_scale - p.log_scale) / latent_grid.PER_WIDTH)
        self.costs[index].append(latent_grid.continuous_kl_bits(q, p))
        return q, memory
