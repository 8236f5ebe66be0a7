"""What the equations of convolutional DRAW work on: an arithmetic, and the states of both sides.

`ops` is one of `floats.FloatOps`, `integers.IntegerOps`, `reference.ReferenceOps`: it knows how
numbers are held and rounded. Arrays are (B, C, h, w).
"""

import dataclasses
from typing import Generic, Protocol, Self, TypeVar


class Values(Protocol):
    """What the equations themselves ask of an array: shape, slices, sums, differences."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, where: tuple[slice, ...], /) -> Self: ...
    def __add__(self, other: Self, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...


Array = TypeVar("Array", bound=Values)


class Ops(Protocol[Array]):
    """An arithmetic: values on the grids of `grids.py`, as reals or as integers."""

    def initial(self, name: str, batch: int, height: int, width: int) -> Array: ...
    def zeros(self, channels: int, batch: int, height: int, width: int) -> Array: ...
    def partial(self, layer: str, part: str, sources: list[Array]) -> Array: ...
    def finish(self, layer: str, accumulated: Array) -> Array: ...
    def several(self, layers: tuple[str, ...], sources: list[Array]) -> list[Array]: ...
    def lstm(self, gates: Array, cell: Array) -> tuple[Array, Array]: ...
    def means(self, canvas: Array) -> Array: ...
    def error(self, x: Array, means: Array) -> Array: ...
    def add_canvas(self, canvas: Array, update: Array) -> Array: ...
    def add_hidden(self, hidden: Array, update: Array) -> Array: ...
    def positive(self, hidden: Array) -> Array: ...
    def on_canvas(self, x: Array) -> Array: ...
    def down(self, x: Array, factor: int) -> Array: ...
    def up(self, x: Array, factor: int) -> Array: ...
    def join(self, channels: list[Array]) -> Array: ...


@dataclasses.dataclass(frozen=True)
class LatentGroup:
    """Latents that are coded together: step t (from 1) and layer (1 or 2)."""

    step: int
    layer: int


@dataclasses.dataclass(frozen=True)
class Gaussians(Generic[Array]):
    """Means and log-scales of a group, on the grids of the arithmetic that made them."""

    mean: Array
    log_scale: Array


@dataclasses.dataclass(frozen=True)
class State(Generic[Array]):
    """What both sides know: decoders, their cells and the canvas r with its pixel means.

    p is the prior of the next step's first group: it depends on the same hidden maps as what its
    decoder gives the canvas (of two layers: the first one), and is computed together with that.
    """

    hd1: Array
    cd1: Array
    r: Array
    means: Array  # of the canvas, (B, channels * stride**2, h, w)
    p: Gaussians[Array]
    hd2: Array | None = None
    cd2: Array | None = None
    up2: Array | None = None
    done: int = 0  # passes whose pixels are known
    seen: tuple[Array, ...] = ()  # pixels of this level's passes, of LSTMs also their errors
    shown: Array | None = None  # the canvas of the next pass's pixels; what a head gives
    hp: Array | None = None  # the hidden maps of the passes, and of an LSTM its cell
    cp: Array | None = None


@dataclasses.dataclass(frozen=True)
class Memory(Generic[Array]):
    """Encoder-side state, never available to the decoder.

    It holds the encoders, their cells, and q1 while layer 2 is coded.

    q1 is what the posterior's convolutions give: the mean and, if its width is not constant, the
    log-scale.
    """

    x: Array  # (B, channels * stride**2, h, w)
    from_x: Array  # the part of enc1 that depends on x alone
    he1: Array
    ce1: Array
    he2: Array | None = None
    ce2: Array | None = None
    q1: tuple[Array, ...] = ()


def given(value: Array | None) -> Array:
    """A field that the second layer or the passes need, and that the others leave at None."""
    assert value is not None
    return value


def conv(ops: Ops[Array], layer: str, sources: list[Array]) -> Array:
    """A convolution all of whose inputs are in its part `h`."""
    return ops.finish(layer, ops.partial(layer, "h", sources))
