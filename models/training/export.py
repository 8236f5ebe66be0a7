"""From trained floats to the integers that code, and back."""

import numpy as np
import torch
from torch import Tensor

from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.exactness import Tensors
from bitsback.models.draw.floats import exponents, integer_weight
from bitsback.models.draw.layers import initials, layers


def export(config: DrawConfig, params: dict[str, Tensor]) -> Tensors:
    """Integer weights (int16), biases (int32), exponents E (int8) and initial values (int32).

    A weight w of a source with b fractional bits becomes round(w * 2**(E - b)); accumulators
    then count in units of 2**-E.
    """
    tensors: Tensors = {}
    for name, layer in layers(config).items():
        weights = {part: params[f"{name}/{part}"].detach() for part in layer.parts}
        bias = params[f"{name}/bias"].detach()
        exponent = exponents(layer, weights, bias)
        for part, sources in layer.parts.items():
            whole = integer_weight(weights[part], sources, exponent)
            tensors[f"{name}/{part}"] = whole.numpy().astype(np.int16)
        whole = torch.floor(bias.double() * torch.exp2(exponent) + 0.5)
        tensors[f"{name}/bias"] = whole.numpy().astype(np.int32)
        tensors[f"{name}/exponent"] = exponent.numpy().astype(np.int8)
    for name, (_, bits, limit) in initials(config).items():
        value = params[f"init/{name}"].detach().double().clamp(-limit, limit)
        tensors[f"init/{name}"] = torch.floor(value * 2.0**bits + 0.5).numpy().astype(np.int32)
    return tensors


def restore(config: DrawConfig, tensors: Tensors) -> dict[str, Tensor]:
    """The floats that integers stand for: the inverse of `export`, but for what it rounded."""
    params = {}
    for name, layer in layers(config).items():
        unit = torch.from_numpy(2.0 ** -tensors[f"{name}/exponent"].astype(np.float64))
        for part, sources in layer.parts.items():
            grid = torch.cat([torch.full((s.channels,), 2.0**s.bits) for s in sources])
            whole = torch.from_numpy(tensors[f"{name}/{part}"].astype(np.float64))
            scaled = whole * unit[:, None, None, None] * grid[None, :, None, None]
            params[f"{name}/{part}"] = scaled.float()
        bias = torch.from_numpy(tensors[f"{name}/bias"].astype(np.float64))
        params[f"{name}/bias"] = (bias * unit).float()
    for name, (_, bits, _) in initials(config).items():
        value = torch.from_numpy(tensors[f"init/{name}"].astype(np.float64))
        params[f"init/{name}"] = (value / 2.0**bits).float()
    return params
