"""A hierarchical VAE that computes in floats, as a model of the protocol.

Every latent is coded on a fine grid whose unit is a share of its prior's sigma, so that location
and scale of priors and posteriors may be any:

    z = mean_p + sigma_p delta (k + u)

The network sees batches of one size only: a last batch is filled up with zeros. How a float network
rounds depends on the size, and an image is coded in batches of other sizes than it is tested in.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitsback.coding import model
from bitsback.errors import ModelError
from bitsback.tables import arithmetic, latent_grid
from bitsback.tables.fine import LIMIT

from . import machine
from .integers import grid
from .likelihoods import Likelihood, PixelScale

F64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Normal = tuple[F64, F64]  # mean and natural logarithm of sigma, (B, C, h, w)
WIDTH_UNITS = 16  # log-widths in an octave

_MOST_MEAN = LIMIT << latent_grid.MEAN_BITS


@dataclasses.dataclass(frozen=True)
class Vae:
    """The parts of a VAE, as its author has them; see `adapt`."""

    module: nn.Module
    latents: tuple[tuple[int, ...], ...]
    start: Callable[[int], Any]
    prior: Callable[[int, Any], Any]
    posterior: Callable[..., Any]
    step: Callable[[int, Any, Tensor], Any]
    likelihood: Callable[[Any], Likelihood]
    pixels: PixelScale
    batch: int
    threads: int
    exact: bool = False

    def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """What a part gives, computed in a way that repeats."""
        if not self.exact and torch.get_num_threads() != self.threads:
            raise ModelError(
                f"the model was adapted for {self.threads} threads of torch, and would round in "
                f"another way with {torch.get_num_threads()}: call "
                f"torch.set_num_threads({self.threads})"
            )
        with machine.repeatable(machine.device_of(self.module)):
            return call(*arguments)

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """Values as the module takes them."""
        device, dtype = machine.device_of(self.module), machine.dtype_of(self.module)
        if self.exact:
            values, dtype = grid.nearest(values.astype(np.float64)), torch.float64
        return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)

    def normal(self, who: str, index: int, given: Any) -> Normal:
        """Mean and log-sigma, (batch, C, h, w), of what a prior or posterior gave.

        Raises:
            ModelError: it is no Gaussian of this group's shape, or not finite.
        """
        shape = (self.batch, *self.latents[index])
        if given is None and who == "prior":
            given = (torch.zeros(()), torch.zeros(()))
        while isinstance(given, torch.distributions.Independent):
            given = given.base_dist
        if isinstance(given, torch.distributions.Normal):
            given = (given.loc, given.scale.log())
        if not (
            isinstance(given, tuple | list)
            and len(given) == 2
            and all(isinstance(value, Tensor) for value in given)
        ):
            raise ModelError(
                f"the {who} of latents {index} gave a {type(given).__name__}: latents are Gaussian "
                "and given as (mean, log_sigma) or torch.distributions.Normal; categorical ones "
                "are not supported"
            )
        arrays = []
        for name, value in zip(("mean", "log-sigma"), given, strict=True):
            array = _array(value)
            try:
                arrays.append(np.broadcast_to(array, shape).reshape(_planes(shape)))
            except ValueError as error:
                raise ModelError(
                    f"the {who} of latents {index} has a {name} of shape {array.shape}: "
                    f"{shape} is needed, the batch first"
                ) from error
            if not np.isfinite(array).all():
                raise ModelError(f"the {who} of latents {index} has a {name} that is not finite")
            self.check_exact(array, f"the {name} of the {who} of latents {index}")
        return arrays[0], arrays[1]

    def check_exact(self, values: F64, what: str) -> None:
        """Raise ModelError if the model is to be exact, and values are not on the grid."""
        if self.exact and not grid.is_fine(values):
            raise ModelError(
                f"{what} is not on the grid of integer modules: an operation between them "
                "rounds; make it a module of torch.nn, so that it becomes an integer one"
            )


def _array(value: Tensor) -> F64:
    return value.detach().cpu().double().numpy()


def _planes(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """(B, C, h, w) of latents of any number of axes."""
    batch, channels = shape[0], shape[1] if len(shape) > 1 else 1
    height = shape[2] if len(shape) > 2 else 1
    return batch, channels, height, int(np.prod(shape[3:], dtype=np.int64))


@dataclasses.dataclass(frozen=True)
class Part:
    """A batch of the fixed size: how many of its images count, the author's state, the prior."""

    size: int
    state: Any
    prior: Normal | None


Parts = tuple[Part, ...]
Images = tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True)
class FloatModel:
    """The protocol's model over a float VAE.

    Args:
        vae: its parts.
        log_widths: of each group (C,), 16 log2(delta) in units of the prior's sigma.
    """

    vae: Vae
    log_widths: tuple[Int64, ...]

    passes = model.ALL_PIXELS

    @property
    def groups(self) -> tuple[model.Group, ...]:
        """One for each of the author's latents: step 1, 2, ... in the order of decoding."""
        return tuple(
            model.Group(index + 1, 1, np.zeros_like(width), fine=True)
            for index, width in enumerate(self.log_widths)
        )

    def start(self, batch: int, height: int, width: int) -> Parts:
        """The states before the first latents, and their prior."""
        if (height, width) != self.vae.pixels.shape[1:]:
            raise ModelError(
                f"the model codes images of {self.vae.pixels.shape[1]} x "
                f"{self.vae.pixels.shape[2]} pixels, not {height} x {width}"
            )
        most = self.vae.batch
        sizes = [min(most, batch - first) for first in range(0, batch, most)]
        return tuple(self._part(0, size, self.vae.run(self.vae.start, most)) for size in sizes)

    def observe(self, x: NDArray[np.uint8]) -> Images:
        """The images in the author's scale, in batches of the fixed size."""
        parts = []
        for first in range(0, len(x), self.vae.batch):
            some = self.vae.pixels.of_levels(x[first : first + self.vae.batch])
            parts.append(self.vae.tensor(_filled(some, self.vae.batch)))
        return tuple(parts)

    def prior(self, index: int, state: Parts) -> latent_grid.Gaussian:
        """The standard normal, on grids of the group's widths."""
        shape = (sum(part.size for part in state), *_planes((1, *self.vae.latents[index]))[1:])
        scale = -latent_grid.PER_WIDTH * self.log_widths[index][:, None, None]
        return latent_grid.Gaussian(np.zeros(shape, np.int64), np.broadcast_to(scale, shape))

    def posterior(
        self, index: int, memory: Images, state: Parts, p: latent_grid.Gaussian
    ) -> tuple[latent_grid.Gaussian, Images]:
        """q in units of the grid."""
        offsets, logs = zip(
            *(self.relative(index, *pair) for pair in zip(memory, state, strict=True)), strict=True
        )
        # In units of the prior's sigma; now in those of the grid.
        delta = self._delta(index)
        mean = np.floor(np.concatenate(offsets) / delta * 2**latent_grid.MEAN_BITS + 0.5)
        octaves = np.concatenate(logs) / math.log(2)
        octaves = octaves - self.log_widths[index][:, None, None] / WIDTH_UNITS
        log_scale = np.floor(latent_grid.STEPS * np.clip(octaves, -64, 64) + 0.5)
        mean = np.clip(mean, -_MOST_MEAN, _MOST_MEAN)
        return latent_grid.Gaussian(mean.astype(np.int64), log_scale.astype(np.int64)), memory

    def relative(self, index: int, x: Tensor, part: Part) -> Normal:
        """(mean_q - mean_p) / sigma_p and log(sigma_q / sigma_p) of a part's images."""
        assert part.prior is not None
        given = self.vae.run(self.vae.posterior, index, x, part.state)
        mean, log_sigma = self.vae.normal("posterior", index, given)
        mean_p, log_sigma_p = part.prior
        offset = (mean - mean_p) * arithmetic.exp(-log_sigma_p)
        return offset[: part.size], (log_sigma - log_sigma_p)[: part.size]

    def step(self, index: int, state: Parts, z: Int64) -> Parts:
        """The states once z, in 2**-6 of the grid, is known."""
        delta = self._delta(index)
        offset: F64 = z.astype(np.float64) * 2.0**-latent_grid.Z_BITS * delta
        return self.given(index, state, offset)

    def given(self, index: int, state: Parts, offset: F64) -> Parts:
        """The states once latents are known, (B, C, h, w) in sigmas from their priors' means."""
        values, first = [], 0
        for part in state:
            assert part.prior is not None
            mean, log_sigma = (parameter[: part.size] for parameter in part.prior)
            some = offset[first : first + part.size]
            values.append(mean + arithmetic.exp(log_sigma) * some)
            first += part.size
        return self.known(index, state, np.concatenate(values))

    def known(self, index: int, state: Parts, values: F64) -> Parts:
        """The states once latents are known, (B, C, h, w) in the author's units."""
        parts, first = [], 0
        for part in state:
            some = _filled(values[first : first + part.size], self.vae.batch)
            z = self.vae.tensor(some.reshape(-1, *self.vae.latents[index]))
            after = self.vae.run(self.vae.step, index, part.state, z)
            parts.append(self._part(index + 1, part.size, after))
            first += part.size
        return tuple(parts)

    def _delta(self, index: int) -> F64:
        """The grid's width in units of the prior's sigma, (C, 1, 1)."""
        return arithmetic.exp2_steps(self.log_widths[index], WIDTH_UNITS)[:, None, None]

    def _part(self, index: int, size: int, state: Any) -> Part:
        if index == len(self.log_widths):
            return Part(size, state, None)
        given = self.vae.run(self.vae.prior, index, state)
        return Part(size, state, self.vae.normal("prior", index, given))

    def likelihood(self, state: Parts, gray: bool) -> model.Likelihood:
        """p(x | z) of all images."""
        found = [(part.size, self.vae.run(self.vae.likelihood, part.state)) for part in state]
        first: Any = found[0][1]
        arrays: dict[str, list[F64]] = {}
        for size, likelihood in found:
            for name, array in self._parameters(likelihood).items():
                arrays.setdefault(name, []).append(array[:size])
        joined = {name: np.concatenate(parts) for name, parts in arrays.items()}
        return first.codec(joined, self.vae.pixels)

    def answers(self, images: NDArray[np.uint8]) -> Iterator[NDArray[np.generic]]:
        """What the model says of images, and of latents at one sigma of their priors."""
        memory, state = self.observe(images), self.start(len(images), *images.shape[2:])
        for index in range(len(self.log_widths)):
            p = self.prior(index, state)
            for part, x in zip(state, memory, strict=True):
                yield from self.relative(index, x, part)
            state = self.given(index, state, np.ones(p.mean.shape))
        yield from self.answered(state)

    def answered(self, state: Parts) -> Iterator[NDArray[np.generic]]:
        """The parameters of the likelihood."""
        codec: Any = self.likelihood(state, gray=False)
        for field in dataclasses.fields(codec):
            value = getattr(codec, field.name)
            if isinstance(value, np.ndarray):
                yield value

    def _parameters(self, likelihood: Any) -> dict[str, F64]:
        if not (dataclasses.is_dataclass(likelihood) and hasattr(likelihood, "codec")):
            raise ModelError(
                f"the likelihood is a {type(likelihood).__name__}: give one of "
                "bitsback.torch, such as Bernoulli or Logistic"
            )
        values = {f.name: getattr(likelihood, f.name) for f in dataclasses.fields(likelihood)}
        arrays = {n: _array(v) for n, v in values.items() if isinstance(v, Tensor)}
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise ModelError(f"the likelihood has a field {name} that is not finite")
            self.vae.check_exact(array, f"the likelihood's field {name}")
        try:
            whole = np.broadcast_arrays(*arrays.values())
            if len(whole[0]) != self.vae.batch:
                raise ValueError
        except (ValueError, TypeError, IndexError) as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise ModelError(
                f"the likelihood's fields do not make a batch of {self.vae.batch}: {shapes}"
            ) from error
        return dict(zip(arrays, whole, strict=True))

    def image(self, state: Parts) -> NDArray[np.uint8]:
        """Not known: a float VAE has an image of all latents alone."""
        raise ModelError("an adapted model does not say what its first latents describe")

    def reveal(self, state: Parts, x: NDArray[np.uint8]) -> Parts:
        """The same: all pixels are coded in one pass."""
        return state


def _filled(values: NDArray[Any], size: int) -> NDArray[Any]:
    """As many as the network takes, the last ones zeros."""
    more = np.zeros((size - len(values), *values.shape[1:]), values.dtype)
    return np.concatenate([values, more])
