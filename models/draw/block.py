"""The values of a 2x2 block of pixels, and the parameters that a head makes for them.

A block has V = 4 C values, in the order of coding: its pixels in the order of `passes.PHASES`, of
each its channels. The mean of value v in component m of its pixel's mixture is

    mean_mv = r_v + offset_mv + sum over w < v of k_vw (x_w - r_w)

where r is the canvas. So the pixels of a block are predicted from each other with one evaluation of
the network; what lies beyond the block only the latents can say.

Source: Salimans et al. (2017), PixelCNN++, for means linear in earlier channels; the rest is ours.
"""

import dataclasses
from collections.abc import Iterator

from .config import DrawConfig
from .passes.order import PHASES

PIXELS = len(PHASES)

# How a pixel depends on the earlier ones of its block before anything is learned, and a channel on
# the one before it: neighbours weigh more than what lies across.
_NEIGHBOURS = ((), (0.8,), (0.45, 0.45), (0.35, 0.35, 0.2))
_CHANNEL = 0.9
_SPREAD = 0.1  # of the components' offsets, in units of 128 levels
_LOG_SCALES = (4.0, 3.0, 3.0, 3.0)  # octaves of a level, by pixel


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Channels of the head's output, in their order.

    Args:
        weights: a logit for each pixel and component, (4, M).
        offsets: of the means, (4, M, C).
        scales: log2 of the components' widths, (4, M, C).
        coefficients: k, (V (V - 1) / 2): those of value v begin at v (v - 1) / 2.
    """

    weights: int
    offsets: int
    scales: int
    coefficients: int

    def __iter__(self) -> Iterator[int]:
        return iter(dataclasses.astuple(self))


def sizes(config: DrawConfig) -> Sizes:
    """What the head of a configuration gives for each block."""
    values, m = PIXELS * config.channels, config.mixtures
    return Sizes(PIXELS * m, values * m, values * m, values * (values - 1) // 2)


def order(config: DrawConfig) -> list[int]:
    """For each value its channel among those of an image that is folded by two (`ops.down`)."""
    return [c * PIXELS + phase for phase in PHASES for c in range(config.channels)]


def initial_bias(config: DrawConfig, gain: float) -> list[float]:
    """The head's output before anything is learned.

    Args:
        gain: by which the logits and log-scales are divided.
    """
    c, m = config.channels, config.mixtures
    middle = (m - 1) / 2
    offsets = [_SPREAD * (i - middle) / max(1.0, middle) for i in range(m)] * PIXELS
    scales = [scale / gain for scale in _LOG_SCALES for _ in range(m * c)]
    coefficients = [k for v in range(PIXELS * c) for k in _row(*divmod(v, c), c)]
    weights = [0.0] * (PIXELS * m)
    return weights + [offset for offset in offsets for _ in range(c)] + scales + coefficients


def _row(pixel: int, channel: int, channels: int) -> list[float]:
    """Coefficients of a value: the difference from the channel before is predicted likewise."""
    row = [0.0] * (pixel * channels + channel)
    for earlier, weight in enumerate(_NEIGHBOURS[pixel]):
        row[earlier * channels + channel] = weight
        if channel:
            row[earlier * channels + channel - 1] = -_CHANNEL * weight
    if channel:
        row[-1] = _CHANNEL
    return row
