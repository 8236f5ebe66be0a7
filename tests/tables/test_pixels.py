import dataclasses

import numpy as np
import pytest
from conftest import code_length
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from bitsback.ans import codecs
from bitsback.ans.message import Message
from bitsback.tables import mixture_levels, pixels, tables

pytestmark = pytest.mark.usefixtures("either_way")
seeds = st.integers(0, 2**32 - 1)
kinds = st.sampled_from(["gaussian", "logistic"])
CDF = {"gaussian": special.ndtr, "logistic": special.expit}


def mixture(seed, kind, shape, components, gray=False):
    """Its means and scales lie within the table's and beyond; it clips them, or not."""
    rng = np.random.default_rng(seed)
    batch, channels, *image = shape
    full = (batch, components, channels, *image)
    clips = bool(seed % 2)
    return pixels.Mixture(
        kind=kind,
        weights=rng.integers(-400, 401, (batch, components, *image)),
        means=rng.integers(-1000, 5000, full),
        log_scales=rng.integers(-24, 49, full) if clips else rng.integers(-60, 100, full),
        coeffs=rng.integers(
            -4096, 4097, (batch, components, channels * (channels - 1) // 2, *image)
        ),
        gray=gray,
        clips=clips,
    )


def repeated(codec, times):
    """The mixture of the first image, so many times."""
    names = ("weights", "means", "log_scales", "coeffs")
    some = {name: np.repeat(getattr(codec, name), times, 0) for name in names}
    return dataclasses.replace(codec, **some)


def images(seed, shape, gray=False):
    rng = np.random.default_rng(seed + 1)
    x = rng.choice([0, 255, 1, 254, *rng.integers(0, 256, 12)], shape).astype(np.uint8)
    return np.repeat(x[:, :1], shape[1], 1) if gray else x


def check_roundtrip(codec, x, seed):
    """What is pushed is popped, pops sample, and bits are what the message grows by."""
    message = Message.random(4, 2000, seed)
    before = message.copy()
    bits = codec.push(message, x)
    assert bits.shape == (len(x),)
    assert message.bits - before.bits == pytest.approx(bits.sum(), abs=0.05 + 1e-4 * x.size)
    popped = codec.pop(message)
    assert popped.dtype == np.uint8
    assert np.array_equal(popped, x)
    assert message == before
    sample = codec.pop(message)
    codec.push(message, sample)
    assert message == before


shapes = st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 5), st.integers(1, 5))


@settings(max_examples=60, deadline=None)
@given(seeds, kinds, shapes, st.integers(1, 5), st.booleans())
def test_mixture_roundtrip(seed, kind, shape, components, gray):
    codec = mixture(seed, kind, shape, components, gray)
    check_roundtrip(codec, images(seed, shape, gray), seed)


@settings(max_examples=60, deadline=None)
@given(seeds, shapes)
def test_bernoulli_roundtrip(seed, shape):
    rng = np.random.default_rng(seed)
    codec = pixels.Bernoulli(rng.integers(-512, 513, shape))
    check_roundtrip(codec, rng.integers(0, 2, shape).astype(np.uint8), seed)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(["gaussian", "bits"]), shapes, st.floats(0, 1))
def test_pixels_that_a_mask_picks_cost_each_image_its_own(seed, kind, shape, share):
    batch, _, *image = shape
    where = np.random.default_rng(seed).random((batch, *image)) < share  # none at all, too
    if kind == "bits":
        codec = pixels.Bernoulli(np.random.default_rng(seed).integers(-512, 513, shape))
        x = images(seed, shape) & 1
    else:
        codec, x = mixture(seed, kind, shape, 2), images(seed, shape)
    bits = code_length(codec.only(where), pixels.picked(x, where))
    assert bits.shape == (batch,)
    for number in range(batch):
        own = where & (np.arange(batch) == number)[:, None, None]
        alone = code_length(codec.only(own), pixels.picked(x, own))
        assert bits[number] == pytest.approx(alone.sum())


def test_bernoulli_costs_what_the_sigmoid_says():
    logits = np.arange(-320, 321).reshape(-1, 1, 1, 1)
    one = np.ones(logits.shape, np.uint8)
    exact = -np.log2(special.expit(logits.ravel() / 32))
    codec = pixels.Bernoulli(logits)
    assert code_length(codec, one) == pytest.approx(exact, rel=1e-2, abs=1e-6)
    assert code_length(codec, 1 - one) == pytest.approx(exact[::-1], rel=1e-2, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(seeds, kinds, st.integers(1, 5))
def test_probabilities_of_all_levels_sum_to_one_and_none_is_0(seed, kind, components):
    one = mixture(seed, kind, (1, 1, 1, 1), components)
    bits = code_length(repeated(one, 256), np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1))
    assert (2.0**-bits).sum() == pytest.approx(1.0, rel=1e-12)
    assert bits.max() <= 24


@settings(max_examples=40, deadline=None)
@given(seeds, kinds, st.integers(1, 4))
def test_levels_have_the_mass_of_the_distribution(seed, kind, components):
    """Against floats: integer weights are within 1/256 (M/256 for the largest)."""
    codec = mixture(seed, kind, (1, 1, 1, 1), components)
    weights = special.softmax(codec.weights[0, :, 0, 0] / 32)
    mean = codec.means[0, :, 0, 0, 0] / 16
    if codec.clips:
        mean = np.clip(mean, 0, 255)
    scale = 2.0 ** (codec.log_scales[0, :, 0, 0, 0] / 8)
    edges = np.arange(257) - 0.5
    cdf = CDF[kind]((edges[:, None] - mean) / scale)
    cdf[0], cdf[-1] = 0, 1
    exact = np.diff(cdf @ weights)
    every = repeated(codec, 256)
    found = 2.0 ** -code_length(every, np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1))
    assert np.abs(found - exact).sum() <= 2 * components / 256 + 0.01
    if components == 1:
        assert np.abs(found - exact).max() < 3e-5


@settings(max_examples=40, deadline=None)
@given(seeds, kinds, st.integers(1, 4))
def test_later_channels_are_moved_by_the_earlier(seed, kind, components):
    """Given x, the conditional mixture is one with means moved by hand and no coefficients."""
    shape = (2, 3, 2, 3)
    codec, x = mixture(seed, kind, shape, components), images(seed, shape)
    means = codec.means.astype(object)
    for index in np.ndindex(codec.weights.shape):
        b, m, i, j = index
        c = [int(v) for v in codec.coeffs[b, m, :, i, j]]
        first, second = (int(x[b, n, i, j]) - 128 for n in (0, 1))
        means[b, m, 1, i, j] += (c[0] * first + 64) // 128
        means[b, m, 2, i, j] += (c[1] * first + c[2] * second + 64) // 128
    moved = dataclasses.replace(
        codec, means=means.astype(np.int64), coeffs=np.zeros_like(codec.coeffs)
    )
    one, other = (Message.random(4, 2000, seed) for _ in range(2))
    assert np.array_equal(codec.push(one, x), moved.push(other, x))
    assert one == other


@settings(max_examples=40, deadline=None)
@given(seeds, kinds, st.integers(1, 4))
def test_a_gray_image_costs_its_first_channel(seed, kind, components):
    shape = (2, 3, 3, 2)
    x = images(seed, shape, gray=True)
    gray = mixture(seed, kind, shape, components, gray=True)
    first = pixels.Mixture(
        *(kind, gray.weights, gray.means[:, :, :1], gray.log_scales[:, :, :1]),
        gray.coeffs[:, :, :0],
        clips=gray.clips,
    )
    assert np.array_equal(code_length(gray, x), code_length(first, x[:, :1]))


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 10))
def test_mixture_weights_sum_to_256_and_follow_the_softmax(seed, components):
    logits = np.random.default_rng(seed).integers(-512, 513, (components, 48))
    weights = mixture_levels.mixture_weights(logits)
    assert (weights >= 0).all()
    assert (weights.sum(0) == 256).all()
    exact = special.softmax(logits / 32, axis=0) * 256
    assert (np.abs(weights - exact) <= max(components - 1, 1) + 1e-2).all()


@settings(max_examples=20, deadline=None)
@given(seeds, kinds)
def test_an_image_is_coded_alike_in_any_memory_layout(seed, kind):
    shape = (2, 3, 4, 3)
    codec, x = mixture(seed, kind, shape, 3), images(seed, shape)
    strided = pixels.Mixture(
        kind,
        *(np.asfortranarray(v) for v in (codec.weights, codec.means, codec.log_scales)),
        np.asfortranarray(codec.coeffs.astype(np.int32)),
        clips=codec.clips,
    )
    one, other = Message.random(4, 2000, seed), Message.random(4, 2000, seed)
    codec.push(one, x)
    strided.push(other, np.asfortranarray(x))
    assert one == other
    assert np.array_equal(strided.pop(one), x)


@settings(max_examples=20, deadline=None)
@given(seeds, kinds)
def test_clipping_changes_nothing_within_the_table(seed, kind):
    codec, x = mixture(seed, kind, (2, 3, 4, 3), 3), images(seed, (2, 3, 4, 3))
    inside = dataclasses.replace(
        codec,
        means=np.clip(codec.means, 0, 255 * 16),
        log_scales=np.clip(codec.log_scales, -24, 48),
        coeffs=np.zeros_like(codec.coeffs),
    )
    one, other = Message.random(4, 2000, seed), Message.random(4, 2000, seed)
    dataclasses.replace(inside, clips=False).push(one, x)
    dataclasses.replace(inside, clips=True).push(other, x)
    assert one == other


def test_binary_pixels_are_coded_as_the_plain_codec_of_bits_does():
    rng = np.random.default_rng(0)
    logits, x = rng.integers(-600, 601, (2, 1, 9, 9)), rng.integers(0, 2, (2, 1, 9, 9))
    ones = tables.bernoulli_table()[np.clip(logits, -512, 512) + 512]
    mine, plain = Message.random(7, 50, 0), Message.random(7, 50, 0)
    pixels.Bernoulli(logits).push(mine, x.astype(np.uint8))
    assert codecs.bernoulli(ones, tables.PRECISION).push(plain, x) == mine


def test_pixels_of_another_shape_are_refused():
    codec = mixture(0, "logistic", (2, 3, 4, 5), 2)
    message = Message.random(4, 100, 0)
    before = message.copy()
    for shape in ((2, 3, 5, 5), (3, 3, 4, 5), (2, 1, 4, 5)):
        with pytest.raises(ValueError, match="shape"):
            codec.push(message, np.zeros(shape, np.uint8))
    assert message == before
