import dataclasses

import numpy as np
import pytest
from conftest import code_length
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.ans import compiled
from bitsback.ans.message import Message
from bitsback.tables import corrections, mixture_levels, pixels
from bitsback.tables.corrections import NODES, SHIFT_LIMIT, WEIGHT_LIMIT, Correction

seeds = st.integers(0, 2**32 - 1)
COMPONENTS = 3


def corrected(seed, shape=(2, 3, 4, 5), count=4, kind="logistic", clips=True, gray=False):
    """A mixture with random corrections, and pixels."""
    rng = np.random.default_rng(seed)
    batch, channels, *image = shape
    full = (batch, COMPONENTS, channels, *image)
    pairs = (batch, COMPONENTS, channels * (channels - 1) // 2, *image)
    found = tuple(
        Correction(
            tuple(rng.integers(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (c + 1) * count).tolist()),
            tuple(rng.integers(-SHIFT_LIMIT, SHIFT_LIMIT + 1, len(NODES)).tolist()),
        )
        for c in range(channels)
    )
    x = rng.integers(0, 256, shape).astype(np.uint8)
    mixture = pixels.Mixture(
        kind,
        weights=rng.integers(-100, 100, (batch, COMPONENTS, *image)),
        means=rng.integers(-200, 4300, full),
        log_scales=rng.integers(-30, 60, full),
        coeffs=rng.integers(-1000, 1000, pairs),
        gray=gray,
        clips=clips,
        neighbours=rng.integers(0, 256, (batch, count, channels, *image)).astype(np.uint8),
        corrections=found,
    )
    return mixture, np.repeat(x[:, :1], channels, 1) if gray else x


options = {
    "kind": st.sampled_from(["gaussian", "logistic"]),
    "clips": st.booleans(),
    "gray": st.booleans(),
    "count": st.integers(0, 5),
    "shape": st.tuples(st.integers(1, 2), st.sampled_from([1, 3]), st.just(3), st.just(4)),
}


@pytest.mark.usefixtures("either_way")
@settings(max_examples=50)
@given(seeds, st.fixed_dictionaries(options))
def test_corrected_mixtures_give_their_pixels_back(seed, chosen):
    mixture, x = corrected(seed, **chosen)
    message = Message.random(3, 2000, seed)
    before = message.copy()
    bits = mixture.push(message, x)
    assert message.bits - before.bits == pytest.approx(bits.sum(), abs=0.05 + 1e-4 * x.size)
    assert np.array_equal(mixture.pop(message), x)
    assert message == before


def in_words(mixture, x, b, c, i, j, weights):
    """Means and log-scales of one pixel's channel, by the formula of the module."""
    correction, count = mixture.corrections[c], mixture.neighbours.shape[1]
    first = c * (c - 1) // 2
    means = []
    for m in range(COMPONENTS):
        move = sum(
            int(mixture.coeffs[b, m, first + e, i, j]) * (int(x[b, e, i, j]) - 128)
            for e in range(c)
        )
        means.append(int(mixture.means[b, m, c, i, j]) + (move + 64 >> 7))
    inside = [min(max(mean, 0), 255 * 16) for mean in means]
    middle = sum(w * mean for w, mean in zip(weights, inside, strict=True)) + 128 >> 8
    total = 0
    for k in range(count):
        near = [16 * int(v) for v in mixture.neighbours[b, k, :, i, j]]
        total += correction.weights[k] * (near[c] - middle)
        for e in range(c):
            weight = correction.weights[(e + 1) * count + k]
            total += weight * (near[e] - 16 * int(x[b, e, i, j]))
    scales = []
    for m in range(COMPONENTS):
        scale = int(mixture.log_scales[b, m, c, i, j])
        at = min(max(scale, -24), 48)
        between = np.interp(at, NODES, correction.shifts)
        scales.append(scale + int(np.floor(between + 0.5)))
    return [mean + (total + 64 >> 7) for mean in means], scales


@pytest.mark.parametrize("seed", range(3))
def test_components_move_as_the_formula_says(seed):
    mixture, x = corrected(seed, shape=(2, 3, 2, 3))
    weights = mixture_levels.mixture_weights(mixture_levels.flat(mixture.weights))
    for c in range(3):
        means, scales = mixture.components(x, c, weights)
        for n, (b, i, j) in enumerate(np.ndindex(2, 2, 3)):
            expected = in_words(mixture, x, b, c, i, j, weights[:, n].tolist())
            assert (means[:, n].tolist(), scales[:, n].tolist()) == expected


@settings(max_examples=30)
@given(seeds, st.fixed_dictionaries(options))
def test_loops_and_numpy_push_the_same(seed, chosen):
    if compiled.loops("tables") is None:
        pytest.skip("numba is not installed")
    mixture, x = corrected(seed, **chosen)
    found = []
    for enabled in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "enabled", enabled)
            message = Message.empty(3)
            dataclasses.replace(mixture).push(message, x)
            found.append(message)
    assert found[0] == found[1]


def test_corrections_of_nothing_change_nothing():
    mixture, x = corrected(1)
    idle = Correction((0,) * 12, (0,) * len(NODES))
    plain = dataclasses.replace(mixture, neighbours=None, corrections=())
    same = dataclasses.replace(mixture, corrections=(Correction((0,) * 4), Correction(), idle))
    assert np.array_equal(code_length(same, x), code_length(plain, x))
    assert not np.array_equal(code_length(mixture, x), code_length(plain, x))


def test_picked_pixels_keep_their_neighbours():
    mixture, x = corrected(2)
    where = np.zeros((2, 4, 5), np.bool_)
    where[0, 1:3, 2], where[1, 3, 4] = True, True
    bits = code_length(mixture.only(where), pixels.picked(x, where))
    for number in range(2):
        alone = where.copy()
        alone[1 - number] = False
        own = code_length(mixture.only(alone), pixels.picked(x, alone))
        assert bits[number] == pytest.approx(own.sum())


def test_shifts_are_linear_between_the_nodes():
    spread = corrections.by_scale((8, 0, 0, -8, 0, 4))
    at = {scale: int(spread[scale + 24]) for scale in range(-24, 49)}
    assert [at[scale] for scale in (-24, -8, 0, 16, 32, 48)] == [8, 8, 0, -8, 4, 4]
    assert [at[scale] for scale in (-4, 4, 12, 20, 28)] == [4, 0, -4, -4, 2]
