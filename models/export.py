"""From trained floats to the integers that code."""

import numpy as np
import torch
from torch import Tensor

from .config import DrawConfig
from .exact import Tensors
from .floats import exponents, integer_weight
from .layers import initials, layers


def export(config: DrawConfig, params: dict[str, Tensor]) -> Tensors:
    """Integer weights (int16), biases (int32), exponents E (int8) and initial values (int32).

    A weight w of a source with b fractional bits becomes round(w * 2**(E - b)); accumulators
    then count in units of 2**-E.
    """
    found: Tensors = {}
    for name, layer in layers(config).items():
        weights = {part: params[f"{name}/{part}"].detach() for part in layer.parts}
        bias = params[f"{name}/bias"].detach()
        exponent = exponents(layer, weights, bias)
        for part, sources in layer.parts.items():
            whole = integer_weight(weights[part], sources, exponent)
            found[f"{name}/{part}"] = whole.numpy().astype(np.int16)
        whole = torch.floor(bias.double() * torch.exp2(exponent) + 0.5)
        found[f"{name}/bias"] = whole.numpy().astype(np.int32)
        found[f"{name}/exponent"] = exponent.numpy().astype(np.int8)
    for name, (_, bits, limit) in initials(config).items():
        value = params[f"init/{name}"].detach().double().clamp(-limit, limit)
        found[f"init/{name}"] = torch.floor(value * 2.0**bits + 0.5).numpy().astype(np.int32)
    return found
