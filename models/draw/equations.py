"""The equations of convolutional DRAW, written once for every arithmetic that runs them.

`ops` knows how numbers are held and rounded (see `state`); this module knows what is computed.
Arrays are (B, C, h, w).

Source: eq. 1-11 (one layer) and 12-22 (two layers) of Towards Conceptual Compression.
"""

import dataclasses

from .config import DrawConfig
from .passes import lstm, residual
from .passes.order import passes
from .state import Array, Gaussians, LatentGroup, Memory, Ops, State, conv, given


def groups(config: DrawConfig) -> tuple[LatentGroup, ...]:
    """The latents in the order of decoding: within a step, layer 2 before layer 1."""
    order = (2, 1) if config.layers == 2 else (1,)
    return tuple(LatentGroup(t, layer) for t in range(1, config.steps + 1) for layer in order)


def start(ops: Ops[Array], config: DrawConfig, batch: int, height: int, width: int) -> State[Array]:
    """The learned state before step 1, for `batch` images of height x width pixels."""
    h, w = height // config.stride, width // config.stride
    canvas = ops.initial("r", batch, height, width)
    hd1, cd1 = ops.initial("hd1", batch, h, w), ops.zeros(config.maps, batch, h, w)
    means = _means(ops, config, canvas)
    if config.layers == 1:
        p = Gaussians(*ops.several(("p1_mean", "p1_scale"), [hd1]))
        return State(hd1, cd1, canvas, means, p)
    h, w = h // config.stride2, w // config.stride2
    hd2, cd2 = ops.initial("hd2", batch, h, w), ops.zeros(config.maps2, batch, h, w)
    p = Gaussians(*ops.several(("p2_mean", "p2_scale"), [hd2]))
    return State(hd1, cd1, canvas, means, p, hd2, cd2)


def observe(ops: Ops[Array], config: DrawConfig, x: Array) -> Memory[Array]:
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


def prior(ops: Ops[Array], group: LatentGroup, state: State[Array]) -> Gaussians[Array]:
    """p_t(z | hd), eq. 4; of the first of two layers it also depends on this step's z2."""
    if group.layer == 2 or state.up2 is None:
        return state.p
    return Gaussians(*ops.several(("p1_mean", "p1_scale"), [state.hd1, state.up2]))


def posterior(
    ops: Ops[Array],
    config: DrawConfig,
    group: LatentGroup,
    memory: Memory[Array],
    state: State[Array],
) -> tuple[Gaussians[Array], Memory[Array]]:
    """q_t(z | he), eq. 1-3, and the memory after it.

    Of two layers the second is coded first but sees the first one's mean: so the first encoder
    runs when its step begins, and waits in the memory until its own group comes.
    """
    if group == LatentGroup(group.step, config.layers):
        eps = ops.error(memory.x, state.means)
        accumulated = memory.from_x + ops.partial("enc1", "h", [eps, memory.he1, state.hd1])
        he1, ce1 = ops.lstm(ops.finish("enc1", accumulated), memory.ce1)
        memory = dataclasses.replace(memory, he1=he1, ce1=ce1, q1=_heads(ops, config, 1, he1))
    q = memory.q1
    if group.layer == 2:
        mu1 = ops.down(q[0], config.stride2)
        gates = conv(ops, "enc2", [mu1, given(memory.he2), given(state.hd2)])
        he2, ce2 = ops.lstm(gates, given(memory.ce2))
        memory, q = dataclasses.replace(memory, he2=he2, ce2=ce2), _heads(ops, config, 2, he2)
    if config.posterior == "gaussian":
        return Gaussians(*q), memory
    batch, _, h, w = q[0].shape
    return Gaussians(q[0], ops.initial(f"width{group.layer}", batch, h, w)), memory


def step(
    ops: Ops[Array], config: DrawConfig, group: LatentGroup, state: State[Array], z: Array
) -> State[Array]:
    """The decoder and the canvas after the group's latents z are known, eq. 6 and 7."""
    if group.layer == 2:
        r = ops.down(state.means, config.stride2)
        hd2, cd2 = ops.lstm(conv(ops, "dec2", [z, given(state.hd2), r]), given(state.cd2))
        up2, *p2 = ops.several(("up2", "p2_mean", "p2_scale"), [hd2])
        up2 = ops.up(up2, config.stride2)
        return dataclasses.replace(state, hd2=hd2, cd2=cd2, up2=up2, p=Gaussians(*p2))
    sources = [z, state.hd1, state.means]
    if state.up2 is not None:
        sources.append(state.up2)
    hd1, cd1 = ops.lstm(conv(ops, "dec1", sources), state.cd1)
    if config.layers == 1:
        update, *p1 = ops.several(("canvas", "p1_mean", "p1_scale"), [hd1])
        state = dataclasses.replace(state, p=Gaussians(*p1))
    else:
        update = conv(ops, "canvas", [hd1])
    canvas = ops.add_canvas(state.r, ops.up(update, config.stride))
    means = _means(ops, config, canvas)
    state = dataclasses.replace(state, hd1=hd1, cd1=cd1, r=canvas, means=means)
    if config.head_maps and group.step == config.steps:
        state = dataclasses.replace(state, shown=_head(ops, config, state))
    return state


def _head(ops: Ops[Array], config: DrawConfig, state: State[Array]) -> Array:
    """The parameters of all 2x2 blocks (see `block`), (B, sum of `block.sizes`, H / 2, W / 2)."""
    hidden = ops.up(conv(ops, "enter_head", [state.hd1, state.means]), config.stride // 2)
    for number in range(1, config.head_blocks + 1):
        update = conv(ops, f"outer_head{number}", [conv(ops, f"inner_head{number}", [hidden])])
        hidden = ops.add_hidden(hidden, update)
    return conv(ops, "head", [hidden])


def pixels(ops: Ops[Array], config: DrawConfig, state: State[Array]) -> Array:
    """The canvas of the pixels of the next pass, (B, channels of r, H', W').

    Of a model with a head: the parameters of all pixels, those of a block together.
    """
    return state.r[:, :, *passes(config)[state.done].where] if state.shown is None else state.shown


def reveal(ops: Ops[Array], config: DrawConfig, state: State[Array], x: Array) -> State[Array]:
    """The state once the pixels of a pass are known.

    The network of the next pass sees them; what it gives the canvas is for the pixels of that pass
    alone. All pixels of a coarser level are the first ones of the next.

    With a head no network follows: the next pixels' means are linear in those that are seen.

    Args:
        x: (B, channels, H', W') on the pixel grid.

    Source: the order of the pixels, Reed et al. (2017); the networks, see `passes`.
    """
    if config.head_maps:
        return dataclasses.replace(state, done=state.done + 1, seen=(*state.seen, x))
    network = residual if config.residual else lstm
    return network.reveal(ops, config, state, x)


def _heads(ops: Ops[Array], config: DrawConfig, layer: int, hidden: Array) -> tuple[Array, ...]:
    names = (f"q{layer}_mean", f"q{layer}_scale")
    return tuple(ops.several(names if config.posterior == "gaussian" else names[:1], [hidden]))


def _means(ops: Ops[Array], config: DrawConfig, canvas: Array) -> Array:
    return ops.down(ops.means(canvas), config.stride)
