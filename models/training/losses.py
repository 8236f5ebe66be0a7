"""The objective L = beta * L^x + sum over steps of KL(q || p), eq. 8-11, in nats."""

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from bitsback.models.draw import block, equations
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.floats import FloatOps, Part, Round
from bitsback.models.draw.grids import CANVAS_GAIN
from bitsback.models.draw.passes.order import passes
from bitsback.models.draw.state import Gaussians, State

from .network import DrawNetwork

LN2 = math.log(2.0)
LOG2_UNIFORM = 0.5 * math.log2(12.0)  # of a uniform distribution's width over its sigma
LEAST_LOG_MASS = -18 * LN2  # of a pixel's level under one component
WIDTH_BITS = 4  # widths of grids are in sixteenths of an octave
SCALES = (-6.0, 3.0)  # of the prior, in octaves of the grid's width, as the tables have them


@dataclasses.dataclass(frozen=True)
class Losses:
    """Nats per image.

    Args:
        likelihood: (B,).
        kl: of every group of latents, (groups, B).
        kl_maps: of each group the same by latent map, (B, C).
    """

    likelihood: Tensor
    kl: Tensor
    kl_maps: tuple[Tensor, ...]

    def kl_paid(self, free: float) -> Tensor:
        """The KL that training pays, mean over the batch: each map's, but at least `free` nats.

        Below that a map's KL has no gradient, so that a latent is not given up before the decoder
        has learned what to do with it.

        Source: Kingma et al. (2016), free bits; Townsend et al. (2020), HiLLoC, for image coding.
        """
        if not free:
            return self.kl.sum(0).mean()
        return torch.stack([maps.mean(0).clamp_min(free).sum() for maps in self.kl_maps]).sum()


def gaussian_kl(q: Gaussians[Tensor], p: Gaussians[Tensor]) -> Tensor:
    """KL(q || p) of diagonal Gaussians from log2 sigma, in nats, elementwise (eq. 7)."""
    log_ratio = (q.log_scale - p.log_scale) * LN2
    distance = (q.mean - p.mean) * torch.exp2(-p.log_scale)
    return 0.5 * (torch.exp(2 * log_ratio) + distance * distance - 1) - log_ratio


def dithered(q: Gaussians[Tensor], p: Gaussians[Tensor], part: Part) -> tuple[Tensor, Tensor]:
    """Latents as the shared dithered grid leaves them, and what they cost: (z, nats), elementwise.

    The grid is as wide as gives it the variance of q, which is a constant; the noise is uniform
    over it, and the cost is that of the grid point under the prior, -log P(k). The tables bound
    that cost; here it has no bound, and so its gradient does not vanish.

    Source: the paper's section 3, first scheme; Ziv (1985) for the dither.
    """
    q, p = (Gaussians(g.mean.float(), g.log_scale.float()) for g in (q, p))
    log_width = Round.apply(q.log_scale + LOG2_UNIFORM, 2.0**WIDTH_BITS)  # type: ignore[no-untyped-call]
    width = torch.exp2(log_width)
    z = q.mean + width * (part.drawn(torch.rand_like, q.mean) - 0.5)
    inverse = torch.exp2((log_width - p.log_scale).clamp(-SCALES[1], -SCALES[0]))
    distance = (z - p.mean) / width
    return z, -_normal_between((distance + 0.5) * inverse, (distance - 0.5) * inverse)


def losses(ops: FloatOps, config: DrawConfig, levels: Tensor) -> Losses:
    """One pass over images, latents drawn from q.

    Args:
        levels: (B, C, H, W) float pixel levels, 0..255, or 0/1 for the Bernoulli likelihood.
    """
    batch, _, height, width = levels.shape
    x = to_network(config, levels)
    state = equations.start(ops, config, batch, height, width)
    memory = equations.observe(ops, config, x)
    kl_maps = []
    for group in equations.groups(config):
        p = equations.prior(ops, group, state)
        q, memory = equations.posterior(ops, config, group, memory, state)
        if config.posterior == "constant":
            z, nats = dithered(q, p, ops.part)
        else:
            noise = ops.part.drawn(torch.randn_like, q.mean)
            z = q.mean + torch.exp2(q.log_scale) * noise
            nats = gaussian_kl(q, p)
        kl_maps.append(nats.sum((2, 3)))
        state = equations.step(ops, config, group, state, ops.latent(z))
    kl = torch.stack([maps.sum(1) for maps in kl_maps])
    parameters = canvas(ops, config, state, x)
    if config.head_maps:
        likelihood = block_nats(ops, config, parameters, state.r, levels)
    else:
        likelihood = likelihood_nats(ops, config, parameters, levels)
    return Losses(likelihood, kl, tuple(kl_maps))


class Objective(nn.Module):
    """The losses as a module's forward pass, after which DistributedDataParallel can average.

    Args:
        part: which part of each batch it is given.
    """

    def __init__(self, network: DrawNetwork, part: Part) -> None:
        super().__init__()
        self.network, self.part = network, part

    def forward(self, levels: Tensor, quantised: bool, dropout: float) -> Losses:
        """`losses` of the present parameters."""
        ops = self.network.ops(quantised, dropout, self.part)
        return losses(ops, self.network.config, levels)


def canvas(ops: FloatOps, config: DrawConfig, state: State[Tensor], x: Tensor) -> Tensor:
    """The canvas of all pixels, (B, channels of r, H, W), each pass given the pixels before it.

    Of a model with a head: what the head gives, (B, sum of `block.sizes`, H / 2, W / 2).
    """
    if config.head_maps:
        return equations.pixels(ops, config, state)
    whole = state.r.new_empty(state.r.shape)
    order = passes(config)
    for each in order:
        whole[:, :, *each.where] = equations.pixels(ops, config, state)
        if each != order[-1]:
            state = equations.reveal(ops, config, state, x[:, :, *each.where])
    return whole


def to_network(config: DrawConfig, levels: Tensor) -> Tensor:
    """Pixel levels on the network's pixel grid: {0, 1} as they are, 0..255 to [-1, 1)."""
    return levels if config.likelihood == "bernoulli" else (levels - 128.0) / 128.0


def likelihood_nats(ops: FloatOps, config: DrawConfig, r: Tensor, levels: Tensor) -> Tensor:
    """-log p(x | r) in nats per image, as the mass of each pixel's own bin.

    Source: eq. 8-10; for mixtures, PixelCNN++ (Salimans et al., 2017), eq. 1-3.
    """
    if config.likelihood == "bernoulli":
        logits = ops.round((r * CANVAS_GAIN).clamp(-16, 16), 5)
        return (
            functional.binary_cross_entropy_with_logits(logits, levels, reduction="none")
            .flatten(1)
            .sum(1)
        )
    return _mixture_nats(config, *mixture_parameters(ops, config, r, levels), levels)


def block_nats(
    ops: FloatOps, config: DrawConfig, parameters: Tensor, r: Tensor, levels: Tensor
) -> Tensor:
    """-log p(x | parameters, r) in nats per image, of pixels given the earlier ones of a block.

    Args:
        parameters: what the head gives, (B, sum of `block.sizes`, H / 2, W / 2).
        r: the canvas, (B, C, H, W).
        levels: (B, C, H, W).

    Source: see `block`.
    """
    c, m = config.channels, config.mixtures
    batch, _, height, width = parameters.shape
    order = block.order(config)
    weights, offsets, scales, coefficients = torch.split(parameters, [*block.sizes(config)], 1)
    x, r = (ops.down(v, 2)[:, order] for v in (levels - 128.0, 128.0 * r))
    error = x - r
    k = torch.split(ops.round(coefficients, 11), list(range(block.PIXELS * c)), 1)
    moves = torch.stack([(row * error[:, : row.shape[1]]).sum(1) for row in k], 1)
    # The codec adds the terms of the pixel's own channels, after the others have been rounded.
    own = torch.stack(
        [(row[:, i - i % c :] * x[:, i - i % c : i]).sum(1) for i, row in enumerate(k)], 1
    )
    means = ops.round(ops.round(r + moves - own, 4) + own, 4) if ops.quantised else r + moves
    shape = (batch, block.PIXELS, m, c, height, width)
    means = means.view(batch, block.PIXELS, 1, c, height, width) + 128.0 * offsets.view(shape)
    log_scales = ops.round(scales.view(shape) * CANVAS_GAIN, 3).clamp(-3.0, 6.0)

    def pixels(values: Tensor) -> Tensor:
        """(B, 4, ..., h, w) as (B, ..., 4 h, w)."""
        return values.movedim(1, -3).flatten(-3, -2)

    weights = (weights * CANVAS_GAIN).view(batch, block.PIXELS, m, height, width)
    return _mixture_nats(
        config,
        pixels(ops.round(weights.clamp(-16, 16), 5)),
        pixels((means + 128.0).clamp(0.0, 255.0)),
        pixels(log_scales),
        pixels((x + 128.0).view(batch, block.PIXELS, c, height, width)),
    )


def _mixture_nats(
    config: DrawConfig, weights: Tensor, means: Tensor, log_scales: Tensor, levels: Tensor
) -> Tensor:
    """-log p of levels (B, C, H, W), from what `mixture_parameters` gives, nats per image."""
    inverse = torch.exp2(-log_scales)
    x = levels[:, None]
    upper, lower = ((x - means + half) * inverse for half in (0.5, -0.5))
    log_cdf, between = _LOG_CDF[config.likelihood]
    inner = between(upper, lower)
    log_mass = torch.where(x < 0.5, log_cdf(upper), torch.where(x > 254.5, log_cdf(-lower), inner))
    # Clamp the value but keep the gradient, so that confident errors still learn.
    log_mass = log_mass + (LEAST_LOG_MASS - log_mass).clamp_min(0.0).detach()
    weighed = log_mass.sum(2) + torch.log_softmax(weights, 1)
    return -torch.logsumexp(weighed, 1).flatten(1).sum(1)


def _logistic_between(upper: Tensor, lower: Tensor) -> Tensor:
    """log(cdf(upper) - cdf(lower)) = log(cdf(upper) cdf(-lower) (1 - exp(lower - upper)))."""
    both = functional.logsigmoid(upper) + functional.logsigmoid(-lower)
    return both + torch.log(-torch.expm1(lower - upper))


def _normal_between(upper: Tensor, lower: Tensor) -> Tensor:
    """log(cdf(upper) - cdf(lower)), by symmetry in the lower tail, where it keeps its digits."""
    flip = torch.where(upper + lower > 0, -1.0, 1.0)
    high, low = torch.maximum(flip * upper, flip * lower), torch.minimum(flip * upper, flip * lower)
    near, far = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return near + torch.log(-torch.expm1(far - near))


_LOG_CDF = {
    "logistic": (functional.logsigmoid, _logistic_between),
    "gaussian": (torch.special.log_ndtr, _normal_between),
}


def mixture_parameters(
    ops: FloatOps, config: DrawConfig, r: Tensor, levels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Weight logits (B, M, H, W), means and log2 scales (B, M, C, H, W) in pixel levels."""
    batch, _, height, width = r.shape
    c, m = config.channels, config.mixtures
    base = 128.0 + 128.0 * r[:, None, :c]
    if config.likelihood == "gaussian":
        weights = torch.zeros_like(r[:, :1])
        means, scales = base, r[:, None, c:]
        coefficients = None
    else:
        pairs = c * (c - 1) // 2
        sizes = [c, m, m * c, m * c, m * pairs]
        _, weights, offsets, scales, coefficients = torch.split(r, sizes, 1)
        means = base + 128.0 * offsets.view(batch, m, c, height, width)
        scales = scales.view(batch, m, c, height, width)
        coefficients = coefficients.view(batch, m, pairs, height, width)
        if config.residual and c == 3:  # they count from the means, not from level 128
            k, own = ops.round(coefficients, 11), 128.0 * ops.round(r[:, None, :c], 11)
            means = means - _moves(k, own)
    weights = ops.round((weights * CANVAS_GAIN).clamp(-16, 16), 5)
    log_scales = ops.round(scales * CANVAS_GAIN, 3).clamp(-3.0, 6.0)
    means = ops.round(means, 4)
    if coefficients is not None and c == 3:
        k = ops.round(coefficients, 11)
        x = (levels - 128.0)[:, None]
        means = ops.round(means + _moves(k, x), 4)
    return weights, means.clamp(0.0, 255.0), log_scales


def _moves(k: Tensor, x: Tensor) -> Tensor:
    """The terms of earlier channels x (B, 1, 3, H, W), with coefficients k (B, M, 3, H, W)."""
    red, green = x[:, :, 0], x[:, :, 1]
    second, third = k[:, :, 0] * red, k[:, :, 1] * red + k[:, :, 2] * green
    return torch.stack([torch.zeros_like(second), second, third], 2)
