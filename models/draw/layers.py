"""Which convolutions a conv DRAW has: their inputs, outputs and grids.

A layer's input comes in parts, so that the contribution of x, which is the same at every
step, is computed once; a part is a concatenation of sources, each on its own grid.
"""

import dataclasses

from . import block
from .config import DrawConfig
from .grids import (
    CANVAS_BITS,
    CANVAS_LIMIT,
    GATE_BITS,
    GATE_LIMIT,
    INNER_BITS,
    LOG_SCALE_BITS,
    LOG_SCALE_RANGE,
    MEAN_BITS,
    MEAN_LIMIT,
    PIXEL_BITS,
    UP_LIMIT,
    Z_BITS,
    Z_LIMIT,
)
from .passes.order import passes


@dataclasses.dataclass(frozen=True)
class Source:
    """A group of input channels: how many, their fractional bits, their largest magnitude.

    Args:
        positive: whether none of its values is below nil, so that the accumulator's positive and
            negative terms bound it apart.
    """

    channels: int
    bits: int
    limit: float
    positive: bool = False


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution `out = round(sum over parts of w * part + b)`, clipped to [low, high]."""

    parts: dict[str, tuple[Source, ...]]
    out: int
    bits: int
    low: float
    high: float


def layers(config: DrawConfig) -> dict[str, Layer]:
    """All convolutions of a configuration, by name.

    Source: eq. 2, 3, 4, 6, 7 (one layer) and 12-22 (two layers) of the paper.
    """
    pixels = Source(config.channels * config.stride**2, PIXEL_BITS, 1.0)
    error = Source(pixels.channels, config.means_bits, 2.0)
    hidden = Source(config.maps, config.hidden_bits, 1.0)
    z = Source(config.latents, Z_BITS, Z_LIMIT)
    up = (Source(config.maps2, config.hidden_bits, UP_LIMIT),) if config.layers == 2 else ()

    def gates(maps: int, **parts: tuple[Source, ...]) -> Layer:
        return Layer(parts, 4 * maps, GATE_BITS, -GATE_LIMIT, GATE_LIMIT)

    def mean(latents: int, *sources: Source) -> Layer:
        return Layer({"h": sources}, latents, MEAN_BITS, -MEAN_LIMIT, MEAN_LIMIT)

    def scale(latents: int, *sources: Source) -> Layer:
        return Layer({"h": sources}, latents, LOG_SCALE_BITS, *LOG_SCALE_RANGE)

    by_name = {
        "enc1": gates(config.maps, x=(pixels,), h=(error, hidden, hidden)),
        "dec1": gates(config.maps, h=(z, hidden, error, *up)),
        "q1_mean": mean(config.latents, hidden),
        "p1_mean": mean(config.latents, hidden, *up),
        "p1_scale": scale(config.latents, hidden, *up),
        "canvas": Layer(
            {"h": (hidden,)},
            config.canvas * config.stride**2,
            CANVAS_BITS,
            -CANVAS_LIMIT,
            CANVAS_LIMIT,
        ),
    }
    # The error of a pixel's mean, and the pixel itself.
    one_seen = (
        Source(config.channels, config.means_bits, 2.0),
        Source(config.channels, PIXEL_BITS, 1.0),
    )
    maps = config.pass_maps or config.maps
    of_pass = Source(maps, config.hidden_bits, 1.0)
    inner = Source(maps, INNER_BITS, 1.0)
    if config.head_maps:
        means = Source(pixels.channels, config.means_bits, 1.0)
        by_name |= _head(config, hidden, means)
    if config.residual:
        by_name |= _residual(config, hidden)
    for step in passes(config)[1:] if config.passes > 1 and not config.residual else ():
        seen, before = one_seen * step.index, of_pass
        side = 1 << (step.level - 1)
        if step.index == 1 and config.pass_maps:
            by_name[f"enter{step.level}"] = Layer(
                {"h": (hidden,)}, maps // side**2, config.hidden_bits, -1.0, 1.0
            )
        elif step.index == 1:
            before = Source(config.maps * side**2, config.hidden_bits, 1.0)
        by_name[f"seen{step.number}"] = gates(maps, h=(*seen, before))
        for number in range(1, config.blocks + 1):
            name = f"{step.number}_{number}"
            by_name[f"inner{name}"] = Layer({"h": (of_pass,)}, maps, INNER_BITS, 0.0, 1.0)
            by_name[f"outer{name}"] = Layer({"h": (inner,)}, maps, config.hidden_bits, -1.0, 1.0)
        by_name[f"pass{step.number}"] = Layer(
            {"h": (*seen, of_pass)}, config.canvas, CANVAS_BITS, -CANVAS_LIMIT, CANVAS_LIMIT
        )
    if config.posterior == "gaussian":
        by_name["q1_scale"] = scale(config.latents, hidden)
    if config.layers == 2:
        side = config.stride2**2
        hidden2 = Source(config.maps2, config.hidden_bits, 1.0)
        error2 = Source(pixels.channels * side, config.means_bits, 2.0)
        mu1 = Source(config.latents * side, MEAN_BITS, MEAN_LIMIT)
        z2 = Source(config.latents2, Z_BITS, Z_LIMIT)
        by_name |= {
            "enc2": gates(config.maps2, h=(mu1, hidden2, hidden2)),
            "dec2": gates(config.maps2, h=(z2, hidden2, error2)),
            "q2_mean": mean(config.latents2, hidden2),
            "p2_mean": mean(config.latents2, hidden2),
            "p2_scale": scale(config.latents2, hidden2),
            "up2": Layer(
                {"h": (hidden2,)}, config.maps2 * side, config.hidden_bits, -UP_LIMIT, UP_LIMIT
            ),
        }
        if config.posterior == "gaussian":
            by_name["q2_scale"] = scale(config.latents2, hidden2)
    return by_name


def _head(config: DrawConfig, hidden: Source, means: Source) -> dict[str, Layer]:
    """The convolutions of the head, on the grid of 2x2 blocks but for the first."""
    maps, side = config.head_maps, config.stride // 2
    state = Source(maps, config.hidden_bits, 1.0)
    inner = Source(maps, INNER_BITS, 1.0)
    by_name = {
        "enter_head": Layer({"h": (hidden, means)}, maps * side**2, config.hidden_bits, -1.0, 1.0)
    }
    for number in range(1, config.head_blocks + 1):
        by_name[f"inner_head{number}"] = Layer({"h": (state,)}, maps, INNER_BITS, 0.0, 1.0)
        by_name[f"outer_head{number}"] = Layer({"h": (inner,)}, maps, config.hidden_bits, -1.0, 1.0)
    out = sum(block.sizes(config))
    by_name["head"] = Layer({"h": (state,)}, out, CANVAS_BITS, -CANVAS_LIMIT, CANVAS_LIMIT)
    return by_name


def _residual(config: DrawConfig, decoder: Source) -> dict[str, Layer]:
    """The convolutions of residual passes, on the grid of their pixels but for two.

    What a level hears is convolved on the grid of latents, and what rises from the coarser level on
    that level's.
    """
    maps, bits = config.pass_maps, config.hidden_bits
    limit = config.residual_limit
    positive = Source(maps, bits, limit, positive=True)
    inner = Source(maps, INNER_BITS, limit, positive=True)
    first = Source(config.channels, PIXEL_BITS, 1.0)
    difference = Source(config.channels, PIXEL_BITS, 2.0)

    def update(out: int, *sources: Source) -> Layer:
        return Layer({"h": sources}, out, bits, -limit, limit)

    by_name = {}
    for step in passes(config)[1:]:
        level, known = step.level, (first, *(difference,) * (step.index - 1))
        if step.index == 1:
            by_name[f"enter{level}"] = update(maps, first)
            by_name[f"hear{level}"] = update(maps << 2 * (config.levels - level), decoder)
            if level < config.levels:
                by_name[f"rise{level}"] = update(4 * maps, positive)
        by_name[f"seen{step.number}"] = update(maps, *known, positive)
        for number in range(1, config.blocks + 1):
            name = f"{step.number}_{number}"
            by_name[f"inner{name}"] = Layer({"h": (positive,)}, maps, INNER_BITS, 0.0, limit)
            by_name[f"outer{name}"] = update(maps, inner)
        by_name[f"pass{step.number}"] = Layer(
            {"h": (*known, positive)}, config.canvas, CANVAS_BITS, -CANVAS_LIMIT, CANVAS_LIMIT
        )
    return by_name


def initials(config: DrawConfig) -> dict[str, tuple[int, int, float]]:
    """Learned initial values: name -> (channels, fractional bits, largest magnitude)."""
    by_name = {
        "he1": (config.maps, config.hidden_bits, 1.0),
        "hd1": (config.maps, config.hidden_bits, 1.0),
        "r": (config.canvas, CANVAS_BITS, CANVAS_LIMIT),
    }
    if config.layers == 2:
        by_name |= {
            "he2": (config.maps2, config.hidden_bits, 1.0),
            "hd2": (config.maps2, config.hidden_bits, 1.0),
        }
    if config.posterior == "constant":
        by_name["width1"] = (config.latents, LOG_SCALE_BITS, 8.0)
        if config.layers == 2:
            by_name["width2"] = (config.latents2, LOG_SCALE_BITS, 8.0)
    return by_name
