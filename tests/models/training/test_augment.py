"""Crops are varied as they are said to be, and what a variation must keep it keeps."""

import dataclasses

import numpy as np
import pytest
from conftest import SMALL
from hypothesis import given
from hypothesis import strategies as st

from bitsback.errors import ModelError
from bitsback.models.training import augment
from bitsback.models.training.data import TrainingImages
from bitsback.models.training.plan import TrainConfig
from bitsback.models.training.trainer import Trainer

SIZES = st.integers(1, 40)
PHASES = st.sampled_from([0, 1])
KERNELS = st.sampled_from(augment.KERNELS)


def noise(side, seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (side, side, channels), np.uint8)


@given(SIZES, PHASES, st.booleans(), KERNELS)
def test_resampling_keeps_what_is_flat(size, phase, cosited, kernel):
    down, up = augment._resampling(size, phase, cosited, kernel)
    np.testing.assert_allclose(down.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(up.sum(1), 1, atol=1e-6)


@given(st.integers(8, 40), PHASES, st.booleans(), st.sampled_from(["linear", "cubic"]))
def test_samples_lie_where_they_are_said_to(size, phase, cosited, kernel):
    """A ramp comes back: interpolation puts every sample where halving took it from."""
    down, up = augment._resampling(size, phase, cosited, kernel)
    ramp = np.arange(size, dtype=np.float32)
    np.testing.assert_allclose((up @ (down @ ramp))[4:-4], ramp[4:-4], atol=0.02)


@given(st.integers(2, 40), PHASES)
def test_nearest_gives_both_pixels_of_a_pair_their_sample(size, phase):
    down, up = augment._resampling(size, phase, False, "nearest")
    back = up @ (down @ np.random.default_rng(size).random(size).astype(np.float32))
    begin = 1 if phase else 0
    pairs = back[begin : begin + (size - begin) // 2 * 2].reshape(-1, 2)
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])


@given(st.integers(0, 2**32 - 1))
def test_gray_has_no_chroma_to_lose(seed):
    gray = np.repeat(noise(17, seed, 1), 3, 2)
    random = np.random.default_rng(seed)
    np.testing.assert_array_equal(augment.halved_chroma(gray, random), gray)


def test_halved_chroma_is_smooth_and_luma_stays():
    """R - G is interpolated well from its neighbours, which that of noise is not."""
    random = np.random.default_rng(1)
    image = (noise(64) // 4 + 96).astype(np.uint8)  # no level is clipped
    errors, lumas = [], []
    for _ in range(40):
        halved = augment.halved_chroma(image, random).astype(np.float64)
        chroma = halved[..., 0] - halved[..., 1]
        errors.append(np.abs(chroma[:, 1:-1] - (chroma[:, :-2] + chroma[:, 2:]) / 2).mean())
        lumas.append(np.abs((halved - image) @ augment._YCC[0]).max())
    chroma = image[..., 0].astype(np.float64) - image[..., 1]
    before = np.abs(chroma[:, 1:-1] - (chroma[:, :-2] + chroma[:, 2:]) / 2).mean()
    assert np.mean(errors) < 0.5 * before
    assert max(lumas) < 1.5  # it is rounded, and so are the three channels


def test_a_cameras_noise_grows_with_the_level():
    random = np.random.default_rng(2)
    spread = {}
    for level in (20, 200):
        flat = np.full((32, 32, 3), level, np.uint8)
        found = [augment.camera_traces(flat, random).astype(float) - level for _ in range(60)]
        spread[level] = np.std(found)
    assert spread[200] > 1.5 * spread[20] > 0


def test_shares_are_of_the_crops_and_none_leaves_batches_as_they_were():
    plain = TrainingImages((noise(64)[None],), 16)
    same = dataclasses.replace(plain, chroma=0.0, camera=0.0)
    np.testing.assert_array_equal(plain.batch(8, 0, 0), same.batch(8, 0, 0))
    windows = {
        plain.arrays[0][0, y : y + 16, x : x + 16].tobytes() for y in range(49) for x in range(49)
    }
    for field in ("chroma", "camera"):
        some = dataclasses.replace(plain, **{field: 0.4})
        crops = np.concatenate([some.batch(64, 0, i).numpy() for i in range(8)])
        changed = [c.transpose(1, 2, 0).tobytes() not in windows for c in crops]
        assert 0.3 < np.mean(changed) < 0.5


def test_chroma_needs_colour():
    plan = TrainConfig(updates=1, chroma=0.4)
    with pytest.raises(ModelError, match="no colour"):
        Trainer(SMALL, plan, TrainingImages((noise(16, channels=1)[None],), 8), "cpu")
