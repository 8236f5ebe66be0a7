"""The equations of convolutional DRAW, written once for every arithmetic that runs them.

`ops` is one of `floats.FloatOps`, `integers.IntegerOps`, `reference.ReferenceOps`: it knows how
numbers are held and rounded; this module knows what is computed. Arrays are (B, C, h, w).

Source: eq. 1-11 (one layer) and 12-22 (two layers) of Towards Conceptual Compression.
"""

import dataclasses
from typing import Any, Protocol

from .config import DrawConfig

Array = Any


class Ops(Protocol):
    """An arithmetic: values on the grids of `grids.py`, as reals or as integers."""

    def initial(self, name: str, batch: int, height: int, width: int) -> Array: ...
    def zeros(self, channels: int, batch: int, height: int, width: int) -> Array: ...
    def partial(self, layer: str, part: str, sources: list[Array]) -> Array: ...
    def finish(self, layer: str, accumulated: Array) -> Array: ...
    def lstm(self, gates: Array, cell: Array) -> tuple[Array, Array]: ...
    def means(self, canvas: Array) -> Array: ...
    def error(self, x: Array, means: Array) -> Array: ...
    def add_canvas(self, canvas: Array, update: Array) -> Array: ...
    def add_scale(self, log_scale: Array, width: Array) -> Array: ...
    def down(self, x: Array, factor: int) -> Array: ...
    def up(self, x: Array, factor: int) -> Array: ...


@dataclasses.dataclass(frozen=True)
class Group:
    """Latents that are coded together: step t (from 1) and layer (1 or 2)."""

    step: int
    layer: int


@dataclasses.dataclass(frozen=True)
class Gaussians:
    """Means and log-scales of a group, on the grids of the arithmetic that made them."""

    mean: Array
    log_scale: Array


@dataclasses.dataclass(frozen=True)
class State:
    """What both sides know: decoders, their cells and the canvas r with its pixel means."""

    hd1: Array
    cd1: Array
    r: Array
    means: Array  # of the canvas, (B, channels * stride**2, h, w)
    hd2: Array | None = None
    cd2: Array | None = None
    up2: Array | None = None


@dataclasses.dataclass(frozen=True)
class Memory:
    """What only who knows x knows: encoders, their cells, and q1 while layer 2 is coded."""

    x: Array  # (B, channels * stride**2, h, w)
    from_x: Array  # the part of enc1 that depends on x alone
    he1: Array
    ce1: Array
    he2: Array | None = None
    ce2: Array | None = None
    mu1: Array | None = None


def groups(config: DrawConfig) -> tuple[Group, ...]:
    """The latents in the order of decoding: within a step, layer 2 before layer 1."""
    order = (2, 1) if config.layers == 2 else (1,)
    return tuple(Group(t, layer) for t in range(1, config.steps + 1) for layer in order)


def conv(ops: Ops, layer: str, sources: list[Array]) -> Array:
    """A convolution all of whose inputs are in its part `h`."""
    return ops.finish(layer, ops.partial(layer, "h", sources))


def start(ops: Ops, config: DrawConfig, batch: int, height: int, width: int) -> State:
    """The learned state before step 1, for `batch` pictures of height x width pixels."""
    h, w = height // config.stride, width // config.stride
    canvas = ops.initial("r", batch, height, width)
    state = State(
        hd1=ops.initial("hd1", batch, h, w),
        cd1=ops.zeros(config.maps, batch, h, w),
        r=canvas,
        means=_means(ops, config, canvas),
    )
    if config.layers == 1:
        return state
    h, w = h // config.stride2, w // config.stride2
    return dataclasses.replace(
        state, hd2=ops.initial("hd2", batch, h, w), cd2=ops.zeros(config.maps2, batch, h, w)
    )


def observe(ops: Ops, config: DrawConfig, x: Array) -> Memory:
    """The encoder before step 1; x is (B, channels, H, W) on the pixel grid."""
    batch, _, height, width = x.shape
    h, w = height // config.stride, width // config.stride
    small = ops.down(x, config.stride)
    memory = Memory(
        x=small,
        from_x=ops.partial("enc1", "x", [small]),
        he1=ops.initial("he1", batch, h, w),
        ce1=ops.zeros(config.maps, batch, h, w),
    )
    if config.layers == 1:
        return memory
    h, w = h // config.stride2, w // config.stride2
    return dataclasses.replace(
        memory, he2=ops.initial("he2", batch, h, w), ce2=ops.zeros(config.maps2, batch, h, w)
    )


def prior(ops: Ops, group: Group, state: State) -> Gaussians:
    """p_t(z | hd), eq. 4; of the first of two layers it also depends on this step's z2."""
    name, sources = ("p2", [state.hd2]) if group.layer == 2 else ("p1", [state.hd1])
    if group.layer == 1 and state.up2 is not None:
        sources.append(state.up2)
    return Gaussians(
        conv(ops, f"{name}_mean", sources),
        conv(ops, f"{name}_scale", sources),
    )


def posterior(
    ops: Ops, config: DrawConfig, group: Group, memory: Memory, state: State, p: Gaussians
) -> tuple[Gaussians, Memory]:
    """q_t(z | he), eq. 1-3, and the memory after it.

    Of two layers the second is coded first but sees the first one's mean: so the first encoder
    runs when its step begins, and waits in the memory until its own group comes.
    """
    if group == Group(group.step, config.layers):
        eps = ops.error(memory.x, state.means)
        accumulated = memory.from_x + ops.partial("enc1", "h", [eps, memory.he1, state.hd1])
        he1, ce1 = ops.lstm(ops.finish("enc1", accumulated), memory.ce1)
        memory = dataclasses.replace(memory, he1=he1, ce1=ce1, mu1=conv(ops, "q1_mean", [he1]))
    if group.layer == 2:
        mu1 = ops.down(memory.mu1, config.stride2)
        gates = conv(ops, "enc2", [mu1, memory.he2, state.hd2])
        he2, ce2 = ops.lstm(gates, memory.ce2)
        memory = dataclasses.replace(memory, he2=he2, ce2=ce2)
        mean, hidden = conv(ops, "q2_mean", [he2]), he2
    else:
        mean, hidden = memory.mu1, memory.he1
    if config.posterior == "constant":
        batch, _, h, w = mean.shape
        width = ops.initial(f"width{group.layer}", batch, h, w)
        return Gaussians(mean, ops.add_scale(p.log_scale, width)), memory
    return Gaussians(mean, conv(ops, f"q{group.layer}_scale", [hidden])), memory


def step(ops: Ops, config: DrawConfig, group: Group, state: State, z: Array) -> State:
    """The decoder and the canvas after the group's latents z are known, eq. 6 and 7."""
    if group.layer == 2:
        r = ops.down(state.means, config.stride2)
        hd2, cd2 = ops.lstm(conv(ops, "dec2", [z, state.hd2, r]), state.cd2)
        up2 = ops.up(conv(ops, "up2", [hd2]), config.stride2)
        return dataclasses.replace(state, hd2=hd2, cd2=cd2, up2=up2)
    sources = [z, state.hd1, state.means]
    if state.up2 is not None:
        sources.append(state.up2)
    hd1, cd1 = ops.lstm(conv(ops, "dec1", sources), state.cd1)
    canvas = ops.add_canvas(state.r, ops.up(conv(ops, "canvas", [hd1]), config.stride))
    return dataclasses.replace(state, hd1=hd1, cd1=cd1, r=canvas, means=_means(ops, config, canvas))


def _means(ops: Ops, config: DrawConfig, canvas: Array) -> Array:
    return ops.down(ops.means(canvas), config.stride)
