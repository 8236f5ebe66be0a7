"""Weight normalisation: w = g v / |v|, with a gain g of its own for every output channel.

Source: Salimans and Kingma (2016), Weight Normalization, eq. 2.
"""

from torch import Tensor

_GAIN = "gain/"


def split(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same parameters with a gain beside the weights of each convolution: |v| of those."""
    weights = {name: value for name, value in params.items() if value.ndim == 4}
    return params | {_GAIN + name: _norm(v).flatten() for name, v in weights.items()}


def joined(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights themselves, of parameters with gains; others are as they were."""
    found = {name: value for name, value in params.items() if not name.startswith(_GAIN)}
    for name in params.keys() - found.keys():
        weight = name.removeprefix(_GAIN)
        v = params[weight]
        found[weight] = v * (params[name].view(-1, 1, 1, 1) / _norm(v))
    return found


def _norm(v: Tensor) -> Tensor:
    return v.square().sum((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-12)
