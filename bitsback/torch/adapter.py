"""A trained VAE of one's own, flat or hierarchical, as a model that `bitsback.compress` takes."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitsback.coding.model import LoadedModel
from bitsback.errors import ModelError, whole_number
from bitsback.tables import fine

from . import bottom_up, machine
from .bottom_up import BottomUpFloats
from .floats import FloatModel, Vae
from .likelihoods import BetaBinomial, Likelihood, PixelScale

Order = Literal["top-down", "bottom-up"]
"""In which order latents are inferred."""

_LOG_WIDTH = -80  # a 32nd of the prior's sigma
FINEST = -144  # a 512th


def adapt(
    module: nn.Module,
    *,
    image: tuple[int, int, int],
    latents: Sequence[int | Sequence[int]],
    posterior: Callable[..., Any],
    likelihood: Callable[[Any], Likelihood],
    prior: Callable[[int, Any], Any] = lambda t, state: None,
    start: Callable[[int], Any] | None = None,
    step: Callable[[int, Any, Tensor], Any] | None = None,
    order: Order = "top-down",
    pixels: tuple[float, float] = (0.0, 1.0),
    batch: int = 16,
    exact: bool = False,
    widths: Sequence[Any] | None = None,
    limits: Sequence[int] | None = None,
    name: str = "own",
) -> LoadedModel:
    """A VAE that computes in floats as a model that codes on this machine.

    Its latents z_0, z_1, ... are Gaussian, each with a prior and a posterior given those before it:

        p(x, z) = p(x | z) prod over t of p(z_t | z_<t),    q(z | x) = prod of q(z_t | x, z_<t)

    or, with `order="bottom-up"`, a chain in which each is given the one before it alone:

        p(x, z) = p(x | z_T) prod of p(z_t | z_t-1),    q(z | x) = q(z_T | x) prod of q(z_t | z_t+1)

    Files say that they decode on this machine alone, as floats round in other ways elsewhere. All
    callables see batches of one size, and are called without gradients.

    Args:
        module: whose parameters and buffers the callables use: files name their digest. It must be
            in evaluation mode.
        image: (C, H, W) of the images, C 1 or 3, H = W.
        latents: the shape of each z_t without the batch, in the order of decoding; an integer is a
            shape of one axis.
        posterior: (t, x, state) to (mean, log_sigma) of z_t, or a torch.distributions.Normal; x is
            float (batch, C, H, W) in the scale of `pixels`; log_sigma is in nats. Bottom-up, it
            takes (t, below), where below is x for the last latent, and z_t+1 for the others.
        likelihood: state to a likelihood of `bitsback.torch`, such as `Logistic`.
        prior: (t, state) to (mean, log_sigma) of z_t, or None for the standard normal, which is
            the default.
        start: batch to the state before z_0; by default an empty tuple.
        step: (t, state, z_t) to the state after z_t; by default the tuple of all latents so far.
        order: of inference. "top-down" takes all latents off the stack before any bits come back.
            "bottom-up" (Bit-Swap) takes z_T, the one next to x, and needs the initial bits of one
            latent alone; its state is z_t-1 itself, None before z_0, and has no start and step.
        pixels: what the model calls the lowest and the highest level, 0 and 255; of binary images
            0 and 1.
        batch: images that the module sees at once.
        exact: the callables use modules of `quantise` alone, so that files decode everywhere:
            what they give is checked to lie on the grid of such modules.
        widths: of the latents' grids, for each z_t its first axis of integers, 16 log2 of the
            width in the prior's sigmas, -144 to 0; as `model.log_widths` of a `FloatModel` has
            them. A 32nd of sigma if None. Bottom-up, in the latent's own units, -256 to 256.
        limits: bottom-up, the latents' largest distances from 0 in steps of their grids, up to
            4096, as `model.limits` has them; what lies beyond is clipped. 4096 if None.
        name: as files and error messages call the model.

    Returns:
        The model; `choose_widths` suits its grids to images.

    Raises:
        ModelError: the module is in training mode, or a callable gave what is no Gaussian of the
            right shape, no likelihood, or not finite.

    Source: Townsend et al., arXiv:1901.04866 (BB-ANS); arXiv:1912.09953 (HiLLoC: hierarchies);
    Kingma et al., arXiv:1905.06845 (Bit-Swap).
    """
    machine.check_evaluated(module)
    channels, height, width = image
    if channels not in (1, 3) or height != width:
        raise ModelError(f"images are (1 or 3, side, side), not {image}")
    if not latents:
        raise ModelError("a model has latents: name the shape of each")
    if pixels[0] == pixels[1] or batch < 1:
        raise ModelError("the two ends of the pixels' scale differ, and a batch has an image")
    shapes = tuple((s,) if isinstance(s, int) else tuple(s) for s in latents)
    if order not in get_args(Order):
        raise ModelError(f"unknown order {order!r} of inference: {' or '.join(get_args(Order))}")
    upward = order == "bottom-up"
    if upward and (start is not None or step is not None):
        raise ModelError("bottom-up, the state is the latent above: leave start and step out")
    if limits is not None and not upward:
        raise ModelError("limits are of bottom-up models: the grids of others follow their priors")
    if upward:
        start, step = _nothing, _latent_itself
    scale = PixelScale(image, float(pixels[0]), float(pixels[1]), levels=256)
    vae = Vae(
        *(module, shapes, start or _no_latents, prior, posterior, step or _append, likelihood),
        pixels=scale,
        batch=batch,
        threads=torch.get_num_threads(),
        exact=exact,
    )
    levels = _levels(vae)
    vae = dataclasses.replace(vae, pixels=dataclasses.replace(scale, levels=levels))
    if upward:
        found = _widths(shapes, widths, bottom_up.FINEST, bottom_up.COARSEST)
        return loaded(BottomUpFloats(vae, found, _limits(shapes, limits)), name)
    return loaded(FloatModel(vae, _widths(shapes, widths, FINEST, 0)), name)


def _no_latents(batch: int) -> tuple[Tensor, ...]:
    return ()


def _append(t: int, state: tuple[Tensor, ...], z: Tensor) -> tuple[Tensor, ...]:
    return (*state, z)


def _nothing(batch: int) -> None:
    return None


def _latent_itself(t: int, state: Tensor | None, z: Tensor) -> Tensor:
    return z


def _widths(
    shapes: Sequence[tuple[int, ...]], given: Sequence[Any] | None, low: int, high: int
) -> tuple[NDArray[np.int64], ...]:
    """Checked, or the usual ones."""
    counts = [shape[0] if shape else 1 for shape in shapes]
    if given is None:
        return tuple(np.full(count, _LOG_WIDTH, np.int64) for count in counts)
    found = tuple(map(np.asarray, given))
    fits = [widths.shape for widths in found] == [(count,) for count in counts]
    if not fits or any(w.dtype.kind not in "iu" or w.min() < low or w.max() > high for w in found):
        raise ModelError(
            f"the widths are integers from {low} to {high}, as many for each latent as its first "
            "axis"
        )
    return tuple(widths.astype(np.int64) for widths in found)


def _limits(shapes: Sequence[tuple[int, ...]], given: Sequence[int] | None) -> tuple[int, ...]:
    if given is None:
        return (fine.LIMIT,) * len(shapes)
    found = tuple(whole_number(limit, "limit of a latent's grid") for limit in given)
    if len(found) != len(shapes) or any(not 1 <= limit <= fine.LIMIT for limit in found):
        raise ModelError(f"the limits are integers from 1 to {fine.LIMIT}, one for each latent")
    return found


def loaded(model: FloatModel, name: str) -> LoadedModel:
    """The model with its digest and machine."""
    vae = model.vae
    facts, answer = f"{vae.latents} {vae.pixels} {vae.batch}", _answer(model)
    if isinstance(model, BottomUpFloats):
        facts += f" bottom-up {model.limits}"
    if vae.exact:
        facts += f" {answer.hex()}"  # the same on every machine
    return LoadedModel(
        name=name,
        sha256=machine.digest(vae.module, facts, model.log_widths),
        model=model,
        channels=vae.pixels.shape[0],
        binary=vae.pixels.levels == 2,
        tiles=(vae.pixels.shape[1],),
        batch=vae.batch,
        multiple=1,
        machine="" if vae.exact else machine.described(machine.device_of(vae.module), answer),
    )


def _levels(vae: Vae) -> int:
    """How many levels the likelihood has; this also calls everything once."""
    state = vae.run(vae.start, vae.batch)
    for index, shape in enumerate(vae.latents):
        vae.normal("prior", index, vae.run(vae.prior, index, state))
        z = vae.tensor(np.zeros((vae.batch, *shape)))
        state = vae.run(vae.step, index, state, z)
    likelihood = vae.run(vae.likelihood, state)
    levels = getattr(likelihood, "levels", None)
    if vae.exact and isinstance(likelihood, BetaBinomial):
        raise ModelError("a beta-binomial likelihood takes lgamma, which differs by machine")
    if not isinstance(levels, int):
        raise ModelError(
            f"the likelihood is a {type(likelihood).__name__}: give one of bitsback.torch, "
            "such as Bernoulli or Logistic"
        )
    return levels


def _answer(model: FloatModel) -> bytes:
    """Digest of what the model says of one image and of fixed latents."""
    shape, sha256 = model.vae.pixels.shape, hashlib.sha256()
    ramp = np.arange(np.prod(shape)) % model.vae.pixels.levels
    for values in model.answers(ramp.astype(np.uint8).reshape(1, *shape)):
        sha256.update(values.tobytes())
    return sha256.digest()
