"""Levels of more than 8 bits are what the benchmark says that they are."""

import numpy as np
import pytest

from bitsback.benchmarks import bit_depth


def test_light_is_that_of_srgb():
    gray = np.full((4, 6, 3), 188, np.uint8)
    light = bit_depth.light_of(gray)
    assert light.shape == (2, 3)
    assert np.allclose(light, 0.503, atol=1e-3)
    assert np.allclose(bit_depth.KINDS["10 bits, sRGB"](light), 188 / 255 * 1023)
    checker = np.zeros((4, 4, 3), np.uint8)
    checker[::2, ::2] = checker[1::2, 1::2] = 255
    assert np.allclose(bit_depth.light_of(checker), 0.5)


@pytest.mark.parametrize("kind", bit_depth.KINDS)
def test_levels_have_their_bits(kind):
    light = np.random.default_rng(0).random((9, 9))
    levels = np.round(bit_depth.KINDS[kind](light)).astype(np.uint16)
    bits, used = int(kind.split()[0]), int(np.bitwise_or.reduce(levels, axis=None))
    assert used.bit_length() - ((used & -used).bit_length() - 1) == bits


def test_sizes_are_of_all_images(build_model):
    pytest.importorskip("imagecodecs")
    loaded = build_model(likelihood="logistic", mixtures=2)
    lights = [np.random.default_rng(n).random((8, 8)) for n in range(2)]
    one, two = (bit_depth.measure("12 bits, sRGB", lights[:n], loaded) for n in (1, 2))
    assert (one.pixels, two.pixels) == (64, 128)
    for field in ("png", "jpeg_xl", "two_images", "ours"):
        assert 0 < getattr(one, field) < getattr(two, field)
