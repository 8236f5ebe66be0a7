"""Passes of LSTMs: the decoder goes on from pass to pass, and residual blocks follow it.

Each level begins with the decoder of the latents. What a pass gives the canvas is added to what the
latents alone say of its pixels.

Source: residual blocks, He et al. (2016); the rest is ours.
"""

import dataclasses

from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.state import Array, Ops, State, conv, given

from .order import image, passes


def reveal(ops: Ops[Array], config: DrawConfig, state: State[Array], x: Array) -> State[Array]:
    """The state once the pixels of a pass are known; x is (B, channels, H', W').

    The decoder takes one more step, which sees them and how far they lie from their means.
    """
    before = state.r[:, :, *passes(config)[state.done].where]
    error = ops.error(x, ops.means(before if state.shown is None else state.shown))
    last, following = passes(config)[state.done : state.done + 2]
    seen = (*state.seen, error, x)
    if following.level < last.level:
        seen = tuple(image(ops, seen[i::2]) for i in range(2))
    hp, cp = state.hp, state.cp
    if following.index == 1:
        hp, cp = _enter(ops, config, state, following.level)
    hp, cp = ops.lstm(conv(ops, f"seen{following.number}", [*seen, given(hp)]), given(cp))
    for block in range(config.blocks):
        name = f"{following.number}_{block + 1}"
        update = conv(ops, f"outer{name}", [conv(ops, f"inner{name}", [hp])])
        hp = ops.add_hidden(hp, update)
    update = conv(ops, f"pass{following.number}", [*seen, hp])
    shown = ops.add_canvas(state.r[:, :, *following.where], update)
    return dataclasses.replace(state, done=state.done + 1, seen=seen, hp=hp, cp=cp, shown=shown)


def _enter(
    ops: Ops[Array], config: DrawConfig, state: State[Array], level: int
) -> tuple[Array, Array]:
    """The hidden maps and cells with which a level of passes begins."""
    side = 1 << (level - 1)
    hidden = conv(ops, f"enter{level}", [state.hd1]) if config.pass_maps else state.hd1
    hp = ops.down(hidden, side)
    if side == 1 and not config.pass_maps:
        return hp, state.cd1
    return hp, ops.zeros(config.pass_maps or config.maps, *hp.shape[:1], *hp.shape[2:])
