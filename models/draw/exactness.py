"""The proof that a model's integers stay exact: no accumulator leaves what float32 can count.

For every output channel sum(|w_int|) * max(|a_int|) + |bias| + rounding offset < 2**24,
whatever order a convolution adds in; where no input is below nil, the larger of the sums over
positive and over negative weights takes the place of sum(|w_int|). Needs no torch.
"""

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import ModelError
from bitsback.tables.tables import Ints

from .config import DrawConfig
from .grids import EXACT_LIMIT
from .layers import Layer, initials, layers

Tensors = dict[str, Ints]


def check(config: DrawConfig, tensors: Tensors) -> None:
    """Refuse tensors that are not this configuration's or that could round when they code.

    Raises:
        ModelError: a tensor is missing, unknown, of the wrong shape or type, or breaks
            sum(|w_int|) * max(|a_int|) + |bias| + rounding offset < 2**24.
    """
    expected: dict[str, tuple[tuple[int, ...], type]] = {}
    shape: tuple[int, ...]
    kinds = layers(config)
    for name, layer in kinds.items():
        for part, sources in layer.parts.items():
            channels = sum(s.channels for s in sources)
            shape = (layer.out, channels, config.kernel, config.kernel)
            expected[f"{name}/{part}"] = (shape, np.int16)
        expected[f"{name}/bias"] = ((layer.out,), np.int32)
        expected[f"{name}/exponent"] = ((layer.out,), np.int8)
    for name, (channels, _, _) in initials(config).items():
        expected[f"init/{name}"] = ((channels,), np.int32)
    for name in sorted(expected.keys() ^ tensors.keys()):
        state = "is missing" if name in expected else "is unknown"
        raise ModelError(f"the weights' tensor {name!r} {state}")
    for name, (shape, kind) in expected.items():
        tensor, dtype = tensors[name], np.dtype(kind)
        if tensor.shape != shape or tensor.dtype != dtype:
            raise ModelError(
                f"the weights' tensor {name!r} must be {dtype} of shape {shape}, "
                f"not {tensor.dtype} of shape {tensor.shape}"
            )
    for name, (_, bits, limit) in initials(config).items():
        if np.abs(tensors[f"init/{name}"].astype(np.int64)).max() > limit * 2**bits:
            raise ModelError(f"the weights' tensor 'init/{name}' is out of range")
    for name, layer in kinds.items():
        reach = accumulators(name, layer, tensors)
        if reach.max() >= EXACT_LIMIT:
            raise ModelError(
                f"the weights' tensors '{name}/...' are too large to be exact: the accumulator of "
                f"output channel {reach.argmax()} could reach {reach.max()} of {EXACT_LIMIT}"
            )


def accumulators(name: str, layer: Layer, tensors: Tensors) -> NDArray[np.int64]:
    """The largest magnitude of every output channel's accumulator, (out,) int64.

    Raises:
        ModelError: an exponent is out of range.
    """
    exponent = tensors[f"{name}/exponent"].astype(np.int64)
    shift = exponent - layer.bits
    if shift.min() < 0 or shift.max() > 23:
        raise ModelError(f"the weights' tensor '{name}/exponent' is out of range")
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    total = np.abs(tensors[f"{name}/bias"].astype(np.int64)) + half
    for part, sources in layer.parts.items():
        limits = np.concatenate(
            [np.full(s.channels, round(s.limit * 2**s.bits), np.int64) for s in sources]
        )
        positive = np.repeat([s.positive for s in sources], [s.channels for s in sources])
        weight = tensors[f"{name}/{part}"].astype(np.int64)
        up, down = (np.maximum(side, 0).sum((2, 3)) * limits for side in (weight, -weight))
        total = total + (up + down)[:, ~positive].sum(1)
        total = total + np.maximum(up[:, positive].sum(1), down[:, positive].sum(1))
    return total
