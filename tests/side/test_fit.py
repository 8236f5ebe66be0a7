import hashlib

import numpy as np
import pytest
from conftest import code_length
from scipy import ndimage

from bitsback.side import apply, codec
from bitsback.side.fit import fit
from bitsback.side.neighbours import neighbours
from bitsback.side.wanted import BOTH, NOTHING, Wanted
from bitsback.tables import pixels
from bitsback.tables.corrections import NONE

ORDER = ((slice(None, None, 2), slice(None)), (slice(1, None, 2), slice(None)))
PREDICTOR, RECALIBRATION = Wanted(recalibration=False), Wanted(predictor=False)


def smooth(seed=0, side=64, batch=2):
    """Pictures in which neighbours, and the channels' differences, are alike."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=(batch, 1, side, side)), (0, 0, 2, 2)) * 250
    colour = ndimage.gaussian_filter(rng.normal(size=(batch, 3, side, side)), (0, 0, 4, 4)) * 90
    noise = rng.normal(size=(batch, 3, side, side))
    return np.clip(np.rint(128 + coarse + colour + noise), 0, 255).astype(np.uint8)


def guess(x, log_scale, seed=0, error=0.0):
    """Mixtures around the very levels, off by an error, as wide as is said."""
    rng = np.random.default_rng(seed)
    batch, channels, *image = x.shape
    off = rng.logistic(scale=max(error, 1e-9), size=(batch, 1, channels, *image))
    means = np.rint(16 * (x[:, None] + off)).astype(np.int64) + np.zeros((1, 2, 1, 1, 1), np.int64)
    return pixels.Mixture(
        "logistic",
        weights=np.zeros((batch, 2, *image), np.int64),
        means=means,
        log_scales=np.full_like(means, log_scale),
        coeffs=np.zeros((batch, 2, channels * (channels - 1) // 2, *image), np.int64),
        clips=True,
    )


def second_pass(x):
    return x[:, :, *ORDER[1]], neighbours(x, ORDER, 1)


def saving(mixture, part, near, wanted=BOTH):
    """What corrections really save, less what they take, and what is found."""
    found = fit(mixture, part, near, wanted)
    better = apply.corrected(mixture, near, found.corrections)
    taken = sum(codec.bits_of(one, c) for c, one in enumerate(found.corrections))
    return code_length(mixture, part).sum() - code_length(better, part).sum() - taken, found


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("wanted", "least"), [(BOTH, 0.15), (PREDICTOR, 0.06), (RECALIBRATION, 0.01)]
)
def test_what_neighbours_know_is_sent(wanted, least):
    part, near = second_pass(smooth())
    blind = guess(np.full_like(part, 128), 40)
    saved, found = saving(blind, part, near, wanted)
    assert saved == pytest.approx(found.saved, rel=0.1)
    assert saved > least * code_length(blind, part).sum()
    assert all(bool(one.weights) == wanted.predictor for one in found.corrections)
    assert all(one.shifts or not wanted.recalibration for one in found.corrections)


def test_a_difference_of_channels_is_found():
    part, near = second_pass(smooth())
    blind = guess(np.full_like(part, 128), 40)
    _, found = saving(blind, part, near, PREDICTOR)
    own, red = found.corrections[1].by_channel(1)
    assert own.sum() == pytest.approx(128, abs=20)
    assert red.sum() == pytest.approx(-128, abs=40)


@pytest.mark.parametrize(("log_scale", "shift"), [(24, -8), (8, 8), (12, 4)])
def test_scales_that_are_wrong_are_shifted(log_scale, shift):
    part, near = second_pass(np.full((2, 3, 64, 64), 128, np.uint8))
    mixture = guess(part, log_scale, error=2.0 ** (16 / 8))
    saved, found = saving(mixture, part, near, RECALIBRATION)
    assert saved > 0
    # Shifts of two octaves at most three quarters of one are tried.
    expected = int(np.clip(shift, -6, 6))
    for one in found.corrections:
        at = one.by_scale[log_scale + 24]
        assert abs(int(at) - expected) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_mixture_that_is_right_is_left_alone(seed):
    rng = np.random.default_rng(seed)
    levels = np.full((2, 3, 64, 64), 128, np.uint8)
    mixture = guess(levels, 16)
    x = np.clip(np.rint(128 + rng.logistic(scale=4, size=levels.shape)), 0, 255).astype(np.uint8)
    near = rng.integers(0, 256, (2, 16, *levels.shape[1:])).astype(np.uint8)
    _, found = saving(mixture, x, near)
    assert sum(map(bool, found.corrections)) <= 1
    assert found.saved < 1e-3 * code_length(mixture, x).sum()


def test_nothing_is_sent_of_few_pixels_or_other_likelihoods():
    part, near = second_pass(smooth(side=4))
    assert fit(guess(part, 40), part, near, BOTH).corrections == (NONE,) * 3
    logits = pixels.Bernoulli(np.zeros((2, 1, 32, 64), np.int64))
    bits = np.zeros((2, 1, 32, 64), np.uint8)
    assert fit(logits, bits, bits[:, None], BOTH).corrections == ()
    part, near = second_pass(smooth())
    assert not any(fit(guess(part, 40), part, near, NOTHING).corrections)


def test_gray_pictures_have_corrections_of_one_channel():
    x = np.repeat(smooth()[:, :1], 3, 1)
    part, near = second_pass(x)
    blind = guess(np.full_like(part, 128), 40)
    gray = pixels.Mixture(**{**vars(blind), "gray": True})
    found = fit(gray, part, near, BOTH)
    assert len(found.corrections) == 1
    assert found.corrections[0].weights


@pytest.mark.usefixtures("either_way")
def test_the_same_is_found_everywhere():
    part, near = second_pass(smooth())
    steps = np.arange(part.size).reshape(part.shape)
    x = ((part.astype(np.int64) + steps % 7) & 255).astype(np.uint8)
    found = fit(guess(x // 2 + 60, 28), part, near, BOTH)
    text = repr([(one.weights, one.shifts) for one in found.corrections])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == FOUND


FOUND = "4215902726bc9256"
