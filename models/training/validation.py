"""How well a training run codes images that no update has seen."""

import math

import torch
from torch import Tensor

from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.floats import FloatOps

from . import losses
from .data import TrainingImages

COUNT = 256
_AT_ONCE = 32


@torch.no_grad()
def bits_per_dim(
    config: DrawConfig,
    params: dict[str, Tensor],
    quantised: bool,
    images: TrainingImages,
    seed: int,
) -> float:
    """KL-based bits/dim of 256 held-out crops: the same ones, with the same noise, on every call.

    Args:
        params: by name, such as a run's averages, on the device that is to evaluate them.
        quantised: whether on the integer grids.
        seed: of the crops and latents; it seeds torch's generator.
    """
    ops = FloatOps(config, params, quantised)
    device = next(iter(params.values())).device
    torch.manual_seed(seed)
    nats = 0.0
    for levels in torch.split(images.batch(COUNT, seed, 0), _AT_ONCE):
        loss = losses.losses(ops, config, levels.to(device).float())
        nats += float(loss.kl.sum() + loss.likelihood.sum())
    return nats / math.log(2) / COUNT / images.dims
