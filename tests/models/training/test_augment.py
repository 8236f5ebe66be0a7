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


@pytest.mark.parametrize("side", [8, 20])
def test_varied_crops_are_enlarged_and_coloured_now_and_then(side, monkeypatch):
    random = np.random.default_rng(0)
    noise = random.integers(60, 190, (20, 22, 3)).astype(np.uint8)
    plain = {
        noise[top : top + side, left : left + side].tobytes()
        for top in range(21 - side)
        for left in range(23 - side)
    }
    crops = [augment.varied_crop(noise, side, random) for _ in range(400)]
    assert all(crop.shape == (side, side, 3) and crop.dtype == np.uint8 for crop in crops)
    untouched = [crop for crop in crops if crop.tobytes() in plain]
    share = (1 - augment.ENLARGED) * (1 - augment.COLOURED)
    assert 0.7 * share < len(untouched) / len(crops) < 1.3 * share

    def mean_of(measure, **shares):
        for name, share in shares.items():
            monkeypatch.setattr(augment, name, share)
        return np.mean([measure(augment.varied_crop(noise, side, random)) for _ in range(100)])

    def roughness(crop):
        return np.abs(np.diff(crop.astype(int), axis=0)).mean()

    def colour(crop):
        return np.abs(crop - crop.mean(2, keepdims=True)).mean()

    enlarged = mean_of(roughness, ENLARGED=1.0, COLOURED=0.0)
    assert enlarged < 0.9 * mean_of(roughness, ENLARGED=0.0, COLOURED=0.0)
    coloured = mean_of(colour, ENLARGED=0.0, COLOURED=1.0)
    assert coloured > 1.1 * mean_of(colour, ENLARGED=0.0, COLOURED=0.0)
    again = np.random.default_rng(5), np.random.default_rng(5)
    first, second = (augment.varied_crop(noise, side, each) for each in again)
    assert np.array_equal(first, second)


def test_varied_drawings_are_moved_but_keep_their_ink(monkeypatch):
    random = np.random.default_rng(0)
    square = np.zeros((28, 28, 1), np.uint8)
    square[10:18, 8:20] = 255
    drawings = np.stack([augment.varied_drawing(square, 28, random) for _ in range(200)])
    assert drawings.shape == (200, 28, 28, 1)
    assert drawings.dtype == np.uint8
    assert len({drawing.tobytes() for drawing in drawings}) == 200
    ink = drawings.reshape(200, -1).astype(float).sum(1) / 255
    assert 75 < ink.min() < 90 < 102 < ink.max() < 125  # 96, and up to 1.1**2 as much or as little
    rows = (drawings[..., 0].mean((0, 2)) * np.arange(28)).sum() / drawings[..., 0].mean(
        (0, 2)
    ).sum()
    assert abs(rows - 13.5) < 0.3
    for name in ("TURNED", "SCALED", "SHIFTED"):
        monkeypatch.setattr(augment, name, 0.0)
    assert np.array_equal(augment.varied_drawing(square, 28, random), square)
    images = TrainingImages((square[None],), 28, vary=1.0)
    assert np.array_equal(images.batch(1, 0, 0)[0, 0].numpy(), square[..., 0])
