"""The pixels of a 2x2 block are predicted from the earlier ones of the same block, exactly."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from conftest import SMALL, code_length

from bitsback.ans.message import Message
from bitsback.models.draw import block
from bitsback.models.draw.floats import FloatOps, parameters
from bitsback.models.draw.grids import CANVAS_BITS, CANVAS_GAIN
from bitsback.models.draw.model import block_likelihood
from bitsback.models.draw.passes.order import PHASES, passes
from bitsback.models.training import losses
from bitsback.models.training.network import DrawNetwork

COLOUR = dataclasses.replace(
    SMALL, channels=3, likelihood="logistic", mixtures=2, stride=4, head_maps=4
)
GREY = dataclasses.replace(COLOUR, channels=1, mixtures=3)


def drawn(config, count, seed, spread=0.25):
    """Parameters and a canvas, int64 (count, _, 4, 4) and (count, C, 8, 8), about their start."""
    random = np.random.default_rng(seed)
    start = np.array(block.initial_bias(config, CANVAS_GAIN))[None, :, None, None]
    found = start + random.normal(0, spread, (count, start.size, 4, 4))
    canvas = random.normal(0, spread, (count, config.channels, 8, 8))
    return (np.floor(v * 2**CANVAS_BITS + 0.5).astype(np.int64) for v in (found, canvas))


def popped(config, found, canvas, message, gray=False):
    """Images (B, C, 8, 8) off a message, pixel after pixel of all blocks."""
    x = np.zeros(canvas.shape, np.uint8)
    seen = []
    for each in passes(config):
        codec = block_likelihood(config, found, canvas, seen, gray)
        x[:, :, *each.where] = codec.pop(message)
        seen.append(x[:, :, *each.where].astype(np.int64) - 128)
    return x


def lengths(config, found, canvas, x, gray=False):
    """Code lengths of images, (B,) bits."""
    bits, seen = np.zeros(len(x)), []
    for each in passes(config):
        codec = block_likelihood(config, found, canvas, seen, gray)
        bits += code_length(codec, np.ascontiguousarray(x[:, :, *each.where]))
        seen.append(x[:, :, *each.where].astype(np.int64) - 128)
    return bits


@pytest.mark.parametrize("config", [COLOUR, GREY])
def test_the_head_has_a_parameter_for_each_pixel_component_and_earlier_value(config):
    values = 4 * config.channels
    sizes = block.sizes(config)
    assert sizes.coefficients == sum(range(values))
    assert sum(sizes) == 4 * config.mixtures * (1 + 2 * config.channels) + sizes.coefficients
    assert len(block.initial_bias(config, CANVAS_GAIN)) == sum(sizes)
    assert len(parameters(config, torch.Generator())["head/bias"]) == sum(sizes)


def test_the_order_of_values_is_that_of_the_passes():
    x = np.arange(3 * 2 * 2).reshape(1, 3, 2, 2)
    folded = torch.nn.functional.pixel_unshuffle(torch.from_numpy(x), 2).numpy()[0, :, 0, 0]
    wanted = [x[0, :, phase // 2, phase % 2] for phase in PHASES]
    assert np.array_equal(folded[block.order(COLOUR)], np.concatenate(wanted))


@pytest.mark.parametrize("config", [COLOUR, GREY])
def test_means_are_those_of_the_formula(config):
    """mean_v = r_v + offset_v + sum of k_vw (x_w - r_w), in reals; the codec's within rounding."""
    found, canvas = drawn(config, 3, 0)
    x = np.random.default_rng(1).integers(0, 256, canvas.shape)
    c, m, unit = config.channels, config.mixtures, 2.0**CANVAS_BITS
    ends = np.cumsum([*block.sizes(config)])[:-1]
    _, offsets, _, k = np.split(found / unit, ends, 1)
    offsets = offsets.reshape(3, 4, m, c, 4, 4)
    values = np.concatenate([x[:, :, *p.where] for p in passes(config)], 1)
    r = np.concatenate([canvas[:, :, *p.where] for p in passes(config)], 1) * 128 / unit + 128
    seen = []
    for pixel in range(4):
        codec = block_likelihood(config, found, canvas, seen, False)
        seen.append(values[:, pixel * c : pixel * c + c] - 128)
        for channel in range(c):
            v = pixel * c + channel
            row = k[:, v * (v - 1) // 2 :][:, :v]
            wanted = r[:, v] + (row * (values - r)[:, :v]).sum(1)
            first = channel * (channel - 1) // 2
            own = codec.coeffs[:, :, first : first + channel] / unit
            earlier = values[:, None, pixel * c : v] - 128
            got = codec.means[:, :, channel] / 16 + (own * earlier).sum(2)
            right = wanted[:, None] + 128 * offsets[:, pixel, :, channel]
            assert np.abs(got - right).max() < 1 / 16


@pytest.mark.parametrize("config", [COLOUR, GREY])
def test_the_loss_is_the_code_length_of_pixels_drawn_from_the_coder(config):
    found, canvas = drawn(config, 20, 5)
    x = popped(config, found, canvas, Message.random(16, 50_000, 0))
    assert len(np.unique(x)) > 200
    ops = FloatOps(config, DrawNetwork(config).named(), True)
    real = [torch.from_numpy(v).float() / 2**CANVAS_BITS for v in (found, canvas)]
    with torch.no_grad():
        nats = losses.block_nats(ops, config, *real, torch.from_numpy(x).float())
    wanted = lengths(config, found, canvas, x) * math.log(2)
    assert float(nats.sum()) == pytest.approx(wanted.sum(), rel=2e-3)
    assert np.allclose(nats.numpy(), wanted, rtol=2e-2)


@pytest.mark.parametrize("gray", [False, True])
def test_what_is_popped_costs_what_the_message_lost(gray):
    found, canvas = drawn(COLOUR, 4, 2)
    message = Message.random(16, 50_000, 1)
    before = message.bits
    x = popped(COLOUR, found, canvas, message, gray)
    assert lengths(COLOUR, found, canvas, x, gray).sum() == pytest.approx(
        before - message.bits, abs=2
    )
    assert not gray or (x == x[:, :1]).all()


def test_a_block_depends_on_no_other_block():
    found, canvas = drawn(COLOUR, 1, 3)
    x = np.random.default_rng(0).integers(0, 256, canvas.shape)
    other = x.copy()
    other[:, :, :2, :2] = 255 - x[:, :, :2, :2]
    for pixel in range(1, 4):
        codecs = [
            block_likelihood(
                COLOUR,
                found,
                canvas,
                [v[:, :, *p.where] - 128 for p in passes(COLOUR)[:pixel]],
                False,
            )
            for v in (x, other)
        ]
        moved = codecs[0].means != codecs[1].means
        assert moved[..., 0, 0].all()
        assert moved.sum() == moved[..., 0, 0].sum()


def test_a_later_pixel_begins_as_what_its_block_says():
    """Before anything is learned, later pixels of a flat block are expected near the first."""
    config = dataclasses.replace(COLOUR, mixtures=1)
    start = np.array(block.initial_bias(config, CANVAS_GAIN))
    found = np.floor(start * 2**CANVAS_BITS + 0.5).astype(np.int64)[None, :, None, None]
    canvas, seen = np.zeros((1, 3, 2, 2), np.int64), []
    for pixel in range(4):
        codec = block_likelihood(config, found, canvas, seen, False)
        if pixel:
            assert abs(codec.means[0, 0, 0, 0, 0] / 16 - 228) < 25
        seen.append(np.full((1, 3, 1, 1), 100))
