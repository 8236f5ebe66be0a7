"""The parameters that are trained, as a torch module, with weight normalisation if asked for.

    w = g v / |v|, with a gain g of its own for every output channel

Source: Salimans and Kingma (2016), Weight Normalization, eq. 2.
"""

import torch
from torch import Tensor, nn

from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.floats import WHOLE, FloatOps, Part, parameters

_GAIN = "gain/"


class DrawNetwork(nn.Module):
    """The parameters of a conv DRAW as a torch module.

    Args:
        normalised: whether its weights are split into gains and directions (see `split_gains`).
    """

    def __init__(self, config: DrawConfig, seed: int = 0, normalised: bool = False) -> None:
        super().__init__()
        self.config = config
        params = parameters(config, torch.Generator().manual_seed(seed))
        for name, value in (split_gains(params) if normalised else params).items():
            self.register_parameter(name.replace("/", "__"), nn.Parameter(value))

    def named(self) -> dict[str, Tensor]:
        """The parameters by the names of `layers` and `initials`, and gains if there are any."""
        return {name.replace("__", "/"): value for name, value in self.named_parameters()}

    def ops(self, quantised: bool, dropout: float = 0.0, part: Part = WHOLE) -> FloatOps:
        """The arithmetic over the present parameters."""
        return FloatOps(self.config, join_gains(self.named()), quantised, dropout, part)


def split_gains(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same parameters with a gain beside the weights of each convolution: |v| of those."""
    weights = {name: value for name, value in params.items() if value.ndim == 4}
    return params | {_GAIN + name: _norm(v).flatten() for name, v in weights.items()}


def join_gains(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights themselves, of parameters with gains; others are as they were."""
    joined = {name: value for name, value in params.items() if not name.startswith(_GAIN)}
    for name in params.keys() - joined.keys():
        weight = name.removeprefix(_GAIN)
        v = params[weight]
        joined[weight] = v * (params[name].view(-1, 1, 1, 1) / _norm(v))
    return joined


def _norm(v: Tensor) -> Tensor:
    return v.square().sum((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
