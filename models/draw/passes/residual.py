"""Passes of residual networks: hidden maps go on from pass to pass and from level to level.

Each level begins with what is known there: its first pixels, the hidden maps of the coarser level,
and the last step's decoder, so that every level hears the latents. A mean is an offset
from the first pixel of its 2x2 block, and later channels depend on how far the earlier ones lie
from their own means.

Source: residual blocks that begin with a ReLU, He et al. (2016b), Identity Mappings in Deep
Residual Networks; the rest is ours.
"""

import dataclasses

from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.state import Array, Ops, State, conv, given

from .order import image, passes


def reveal(ops: Ops[Array], config: DrawConfig, state: State[Array], x: Array) -> State[Array]:
    """The state once the pixels of a pass are known; x is (B, channels, H', W')."""
    last, following = passes(config)[state.done : state.done + 2]
    seen = (*state.seen, x)
    if following.level < last.level:
        seen = (image(ops, seen),)
    first = seen[0]
    known = [first, *(pixel - first for pixel in seen[1:])]
    hidden = given(state.hp) if following.index > 1 else _enter(ops, config, state, first)
    entered = conv(ops, f"seen{following.number}", [*known, ops.positive(hidden)])
    hidden = ops.add_hidden(hidden, entered)
    for number in range(1, config.blocks + 1):
        name = f"{following.number}_{number}"
        inner = conv(ops, f"inner{name}", [ops.positive(hidden)])
        hidden = ops.add_hidden(hidden, conv(ops, f"outer{name}", [inner]))
    update = conv(ops, f"pass{following.number}", [*known, ops.positive(hidden)])
    shown = ops.add_canvas(ops.on_canvas(first), update)
    return dataclasses.replace(state, done=state.done + 1, seen=seen, hp=hidden, shown=shown)


def _enter(ops: Ops[Array], config: DrawConfig, state: State[Array], first: Array) -> Array:
    """The hidden maps with which a level begins, given its first pixels."""
    level = passes(config)[state.done + 1].level
    hidden = conv(ops, f"enter{level}", [first])
    heard = conv(ops, f"hear{level}", [state.hd1])
    hidden = ops.add_hidden(hidden, ops.up(heard, 1 << (config.levels - level)))
    if state.hp is None:
        return hidden
    risen = conv(ops, f"rise{level}", [ops.positive(state.hp)])
    return ops.add_hidden(hidden, ops.up(risen, 2))
