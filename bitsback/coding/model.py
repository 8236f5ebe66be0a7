"""The protocol through which the coder sees a model. The coder knows nothing else of it.

A model draws its latents in groups: one for each step and layer. All its outputs are integers:
the parameters of Gaussians on the grids of `latent_grid`, and likelihoods as codecs, such as those
of `pixels`. A state holds what both sides know before a group; a memory holds what the encoder
alone knows of x. The model returns both anew and never changes them.
"""

import dataclasses
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.message import Message
from bitsback.errors import ModelError
from bitsback.tables import fine
from bitsback.tables.latent_grid import NIL, Z_BITS, Z_LIMIT, Gaussian
from bitsback.tables.tables import Ints
from bitsback.tiles.padding import Pixels

S = TypeVar("S")
M = TypeVar("M")

ALL_PIXELS: tuple[Pixels, ...] = ((slice(None), slice(None)),)


@dataclasses.dataclass(frozen=True)
class Group:
    """Latents coded together: step t (from 1), layer (from 1), and their grid.

    Args:
        log_width: (C,) int, 16 log2(delta) of every channel, or `latent_grid.NIL` where it is not
            coded.
        constant_width: whether q is uniform of the grid's width, so that nothing is popped under
            it; delta is then in units of 1, not of the prior's sigma.
        fine: whether the group lies on a fine grid (see `bitsback.tables.fine`) and is told in
            units of its width: means of p and q in 2**-8 of it, log-scales 64 log2 of sigma in that
            unit, latents in 2**-6 of it. The model says what the unit is; `log_width` is nil.
        limit: the largest |z|, in units of 2**-6; latents beyond are clipped to it. Fine grids
            have none, but where they are bottom-up: there q and p are cut off at it.
        bottom_up: whether the group's posterior is inferred from the latents below alone, which are
            those of the group after it, or from x if it is the last (see `BottomUpModel`). It is
            fine, on a grid that depends on nothing.

    Raises:
        ModelError: of a fine group, a log-width is not nil, or the width is constant; a bottom-up
            group is not fine, or its limit is below a step of the grid or beyond 4096 of them.
    """

    step: int
    layer: int
    log_width: Ints
    constant_width: bool = False
    limit: int = Z_LIMIT
    fine: bool = False
    bottom_up: bool = False

    def __post_init__(self) -> None:
        if self.fine and (self.constant_width or np.any(self.log_width)):
            raise ModelError("a fine group has log-widths of nil and no constant width")
        if self.bottom_up and not (self.fine and 1 <= self.limit >> Z_BITS <= fine.LIMIT):
            raise ModelError(
                f"a bottom-up group is fine, and its limit lies in {1 << Z_BITS}.."
                f"{fine.LIMIT << Z_BITS}"
            )


class Likelihood(Protocol):
    """p(x | all latents) as a codec over x, uint8 (B, C, H, W)."""

    def push(self, message: Message, x: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Push x; gives the code length of every image under the tables, (B,), in bits."""
        ...

    def pop(self, message: Message) -> NDArray[np.uint8]: ...

    def only(self, where: NDArray[np.bool_]) -> "Likelihood":
        """The codec of n pixels alone, as (1, C, 1, n), that a mask (B, H, W) picks."""
        ...


class Model(Protocol[S, M]):
    """A latent variable model with integer outputs: conv DRAW, a plain VAE, ...

    S is the type of its states, M that of its memories.
    """

    @property
    def groups(self) -> tuple[Group, ...]:
        """The latents' groups, in the order of decoding."""
        ...

    @property
    def passes(self) -> tuple[Pixels, ...]:
        """Which pixels are coded one after another, each pass given those before it."""
        ...

    def start(self, batch: int, height: int, width: int) -> S:
        """The state before the first group, for `batch` images of height x width pixels."""
        ...

    def observe(self, x: NDArray[np.uint8]) -> M:
        """What the posterior needs to know of x, uint8 (B, C, H, W)."""
        ...

    def prior(self, index: int, state: S) -> Gaussian:
        """p(z | latents before) of group number `index`."""
        ...

    def posterior(self, index: int, memory: M, state: S, p: Gaussian) -> tuple[Gaussian, M]:
        """q(z | x, latents before), and the memory for the next group."""
        ...

    def step(self, index: int, state: S, z: NDArray[np.int64]) -> S:
        """The state once the group's latents, int (B, C, h, w) in units of 2**-6, are known."""
        ...

    def likelihood(self, state: S, gray: bool) -> Likelihood:
        """p of the next pass's pixels; `gray` when all colour channels of x are equal."""
        ...

    def image(self, state: S) -> NDArray[np.uint8]:
        """What the latents so far say of the images: mean levels 0..255, uint8 (B, C, H, W)."""
        ...

    def reveal(self, state: S, x: NDArray[np.uint8]) -> S:
        """The state once a pass's pixels, uint8 (B, C, H', W'), are known; not for the last."""
        ...


class BottomUpModel(Model[S, M], Protocol):
    """A chain of latents, each of which is given the next one alone, in both directions.

    Its prior of a group sees the latents of the group before it, and its likelihood those of the
    last group; `step` takes any state of these images, and the state that it gives knows no latents
    but its own. `posterior` is not asked.

    Source: Kingma, Abbeel and Ho, arXiv:1905.06845 (Bit-Swap).
    """

    def infer(self, index: int, memory: M | None, state: S) -> Gaussian:
        """q of a group.

        Args:
            memory: of x if it is the last group; otherwise None.
            state: after the group below, index + 1, if it is not the last.
        """
        ...


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model and what a file must say of it.

    Args:
        name: as files and error messages call it.
        sha256: digest of everything that decoded pixels depend on.
        model: the model itself.
        channels: colour channels of its images, 1 or 3.
        binary: whether its pixels are 0 or 1.
        tiles: sides of the square tiles that it codes, in pixels, the smallest first.
        batch: tiles per batch of the chain, by default, if they are of the largest size.
        multiple: the network takes images whose sides are multiples of this.
        machine: where its numbers are these, if it computes in floats that round: files then say
            so, and are decoded by a model that says the same. Empty: they are the same everywhere.
        clips: whether clipping to the tables is the model's own, which was trained with it: a
            report counts it, but it is nothing to warn of.
    """

    name: str
    sha256: bytes
    model: Model[Any, Any]
    channels: int
    binary: bool
    tiles: tuple[int, ...]
    batch: int
    multiple: int
    machine: str = ""
    clips: bool = False

    @property
    def has_latents(self) -> bool:
        """Whether any latent is coded."""
        return any((group.log_width != NIL).any() for group in self.model.groups)

    @property
    def constant_width(self) -> bool:
        """Whether its posteriors' widths are constants: its latents can be stored alone."""
        return all(group.constant_width for group in self.model.groups)


#: stands for the model of a file in which nothing is coded
NO_MODEL = LoadedModel(
    name="",
    sha256=bytes(32),
    model=cast("Model[Any, Any]", None),
    channels=3,
    binary=False,
    tiles=(),
    batch=1,
    multiple=1,
)


def check_weights(loaded: LoadedModel, sha256: bytes, who: str, name: str | None = None) -> None:
    """Raise ModelError unless a model's digest begins with these bytes.

    Args:
        who: needs them, as an error says.
        name: that it knows the model by; the model's own if None.
    """
    if not loaded.sha256.startswith(sha256):
        raise ModelError(
            f"{who} needs model {name or loaded.name!r} with SHA-256 {sha256.hex()}..., "
            f"but this one has {loaded.sha256[: len(sha256)].hex()}..."
        )
