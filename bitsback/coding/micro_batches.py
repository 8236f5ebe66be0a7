"""A model evaluated a few images at a time, whatever the batch that the file is coded in."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import ModelError, whole_number
from bitsback.tables.latent_grid import Gaussian
from bitsback.tiles.padding import Pixels

from .model import BottomUpModel, Group, Likelihood, M, Model, S

T = TypeVar("T", bound=np.generic)


class MicroBatches(Generic[S, M]):
    """The model protocol over another model; the outputs are the same.

    States and memories are tuples, one item for every micro-batch.

    Args:
        model: its likelihoods are dataclasses whose arrays have the batch as their first axis.
        most: images per evaluation.

    Raises:
        ModelError: `most` is below 1.
        InputError: `most` is no whole number.
    """

    def __init__(self, model: Model[S, M], most: int) -> None:
        most = whole_number(most, "micro-batch")
        if most < 1:
            raise ModelError(f"a micro-batch holds at least 1 image, not {most}")
        self.model, self.most = model, most
        self.groups: tuple[Group, ...] = model.groups
        self.passes: tuple[Pixels, ...] = model.passes

    def start(self, batch: int, height: int, width: int) -> tuple[S, ...]:
        """The states before the first group."""
        sizes = [min(self.most, batch - first) for first in range(0, batch, self.most)]
        return tuple(self.model.start(size, height, width) for size in sizes)

    def observe(self, x: NDArray[np.uint8]) -> tuple[M, ...]:
        """The memories of x, uint8 (B, C, H, W)."""
        return tuple(self.model.observe(part) for part in self._split(x))

    def prior(self, index: int, state: tuple[S, ...]) -> Gaussian:
        """p of the whole batch."""
        return _gaussian([self.model.prior(index, part) for part in state])

    def posterior(
        self, index: int, memory: tuple[M, ...], state: tuple[S, ...], p: Gaussian
    ) -> tuple[Gaussian, tuple[M, ...]]:
        """q of the whole batch, and the memories for the next group."""
        priors = map(Gaussian, self._split(p.mean), self._split(p.log_scale))
        pairs = [
            self.model.posterior(index, *parts) for parts in zip(memory, state, priors, strict=True)
        ]
        return _gaussian([q for q, _ in pairs]), tuple(part for _, part in pairs)

    def infer(self, index: int, memory: tuple[M, ...] | None, state: tuple[S, ...]) -> Gaussian:
        """q of the whole batch, where latents are inferred from the bottom up."""
        model = cast("BottomUpModel[S, M]", self.model)
        memories = memory or (None,) * len(state)
        pairs = zip(memories, state, strict=True)
        return _gaussian([model.infer(index, *pair) for pair in pairs])

    def step(self, index: int, state: tuple[S, ...], z: NDArray[np.int64]) -> tuple[S, ...]:
        """The states once z is known."""
        parts = zip(state, self._split(z), strict=True)
        return tuple(self.model.step(index, *part) for part in parts)

    def likelihood(self, state: tuple[S, ...], gray: bool) -> Likelihood:
        """One codec of the whole batch: it codes the images together, not one after another."""
        return _joined([self.model.likelihood(part, gray) for part in state])

    def image(self, state: tuple[S, ...]) -> NDArray[np.uint8]:
        """Of the whole batch."""
        return np.concatenate([self.model.image(part) for part in state])

    def reveal(self, state: tuple[S, ...], x: NDArray[np.uint8]) -> tuple[S, ...]:
        """The states once the pixels of a pass are known."""
        parts = zip(state, self._split(x), strict=True)
        return tuple(self.model.reveal(*part) for part in parts)

    def _split(self, values: NDArray[T]) -> list[NDArray[T]]:
        return [values[first : first + self.most] for first in range(0, len(values), self.most)]


def _gaussian(parts: Sequence[Gaussian]) -> Gaussian:
    return Gaussian(
        np.concatenate([part.mean for part in parts]),
        np.concatenate([part.log_scale for part in parts]),
    )


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(first)
        if isinstance(getattr(first, field.name), np.ndarray)
    }
    return dataclasses.replace(first, **arrays)
