"""Latents of given images, drawn from an adapted model's posteriors without a grid."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError, ModelError
from bitsback.images.image_set import from_array

from .floats import F64, FloatModel, Normal, Parts


@dataclasses.dataclass(frozen=True)
class Sample:
    """Latents that were drawn.

    Args:
        groups: of each group (mean_q - mean_p) / sigma_p and log(sigma_q / sigma_p), (N, C, h, w).
        state: after all of them.
    """

    groups: tuple[Normal, ...]
    state: Parts


def sampled(model: FloatModel, x: NDArray[np.uint8], seed: int) -> Sample:
    """Latents of images x, (N, C, H, W); models that differ little draw alike from a seed."""
    random = np.random.default_rng(seed)
    memory, state = model.observe(x), model.start(len(x), *x.shape[2:])
    groups: list[tuple[F64, F64]] = []
    for index in range(len(model.log_widths)):
        pairs = zip(memory, state, strict=True)
        offsets, logs = zip(*(model.relative(index, *pair) for pair in pairs), strict=True)
        offset, log_ratio = np.concatenate(offsets), np.concatenate(logs)
        groups.append((offset, log_ratio))
        noise = random.standard_normal(offset.shape)
        state = model.given(index, state, offset + np.exp(log_ratio) * noise)
    return Sample(tuple(groups), state)


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
