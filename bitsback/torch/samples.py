"""Latents of given images, drawn from an adapted model's posteriors without a grid."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError, ModelError
from bitsback.images.image_set import from_array

from . import bottom_up
from .bottom_up import BottomUpFloats
from .floats import F64, FloatModel, Parts


@dataclasses.dataclass(frozen=True)
class Sample:
    """Latents that were drawn.

    Args:
        log_scales: of each group log(sigma_q / sigma_p), (N, C, h, w); bottom-up, log(sigma_q).
        nats: of each group KL(q || p), (N,); bottom-up, -log p of the latents less q's entropy.
        state: that the likelihood sees.
    """

    log_scales: tuple[F64, ...]
    nats: tuple[F64, ...]
    state: Parts


def sampled(model: FloatModel, x: NDArray[np.uint8], seed: int) -> Sample:
    """Latents of images x, (N, C, H, W); models that differ little draw alike from a seed."""
    if isinstance(model, BottomUpFloats):
        drawn, state = bottom_up.drawn(model, x, seed)
        nats = tuple(_summed(one.nats) for one in drawn)
        return Sample(tuple(one.q[1] for one in drawn), nats, state)
    random = np.random.default_rng(seed)
    memory, state = model.observe(x), model.start(len(x), *x.shape[2:])
    scales, divergences = list[F64](), list[F64]()
    for index in range(len(model.log_widths)):
        pairs = zip(memory, state, strict=True)
        offsets, logs = zip(*(model.relative(index, *pair) for pair in pairs), strict=True)
        offset, log_ratio = np.concatenate(offsets), np.concatenate(logs)
        scales.append(log_ratio)
        kl = 0.5 * (np.exp(2 * log_ratio) + offset**2 - 1) - log_ratio
        divergences.append(_summed(kl))
        noise = random.standard_normal(offset.shape)
        state = model.given(index, state, offset + np.exp(log_ratio) * noise)
    return Sample(tuple(scales), tuple(divergences), state)


def _summed(values: F64) -> F64:
    """The sum of each image's, (N,)."""
    sums: F64 = values.reshape(len(values), -1).sum(1)
    return sums


def adapted_of(model: LoadedModel) -> FloatModel:
    """The model of `adapt`; ModelError if it is another."""
    if not isinstance(model.model, FloatModel):
        raise ModelError(f"model {model.name!r} is not from bitsback.torch.adapt")
    return model.model


def pixels_of(model: FloatModel, images: Any) -> NDArray[np.uint8]:
    """Images as `bitsback.compress` takes arrays, (N, C, H, W); InputError if they do not fit."""
    pixels = np.stack(list(from_array(images).pixels)).transpose(0, 3, 1, 2)
    if pixels.shape[1:] != model.vae.pixels.shape:
        raise InputError(
            f"the model codes images of {model.vae.pixels.shape}, not {pixels.shape[1:]}"
        )
    return pixels
