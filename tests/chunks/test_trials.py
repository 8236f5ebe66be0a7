"""Classical codes are tried where a sample of tiles says that they save, and only there."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsback.archive.writer import compress_set
from bitsback.chunks import encoder, trials
from bitsback.chunks.cost import ChainCost
from bitsback.chunks.plan import Settings, plan_chunk
from bitsback.chunks.trials import HOPELESS, Trial, is_plain, sample, spread
from bitsback.images.classical import METHODS, Method
from bitsback.images.image_set import from_array


def noise(count, channels=3, side=8):
    values = np.random.default_rng(5).integers(0, 256, (count, side, side, channels))
    return values.astype(np.uint8)


@pytest.fixture
def plan_of(build_model):
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2)
    return lambda images: plan_chunk(from_array(images), loaded, Settings(), 0, b"")


@given(st.integers(1, 300), st.integers(0, 300))
def test_so_many_tiles_as_wanted_are_taken_from_all_parts(count, wanted):
    numbers = spread(count, wanted)
    assert len(numbers) == min(count, max(1, wanted))
    assert (np.diff(numbers) > 0).all()
    assert 0 <= numbers[0] <= numbers[-1] < count
    parts = min(3, len(numbers))
    for part in range(parts):
        begin, end = part * count // parts, (part + 1) * count // parts
        assert ((begin <= numbers) & (numbers < end)).any()
    if count > 12 * max(1, wanted):
        assert numbers[0] > count // 9


def test_the_chain_is_compared_on_the_tiles_of_the_sample():
    trial = Trial((np.array([0, 1]), np.array([3])), (100.0, 10.0), ((), ()))
    hard = [np.array([60.0, 60.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.0, 9.0])]
    # 100 of 120 bits for half of the first segment, 10 of 9 for a quarter of the second one.
    assert trial.saves(hard, 0)
    hard[1][3] = 0.0
    assert not trial.saves(hard, 0)
    hard[0][:] = 1000.0, 0.0, 0.0, 0.0
    assert trial.saves(hard, 0)
    hard[0][:] = 0.0, 50.0, 9000.0, 9000.0
    assert not trial.saves(hard, 0)


def test_the_beginning_of_a_chain_does_not_stand_for_the_rest():
    trial = Trial((np.array([4, 5]),), (22.0,), ((),))
    bits = np.array([500.0, *[10.0] * 9])
    assert not trial.saves([bits], 0)  # as if the first tile were merely hard: 11 of 10 bits
    assert trial.saves([bits], 1)  # 110 bits in all, where the chain took 590
    bits[0] = 30.0
    assert trial.saves([bits], 1)  # 110 of 120
    bits[0] = 15.0
    assert not trial.saves([bits], 1)  # 110 of 105
    assert trial.saves([bits], 5)  # the sample is of the beginning
    later = Trial((np.array([1]), np.array([4, 5])), (9.9, 22.0), ((), ()))
    assert not later.saves([np.array([9.0, 9.0]), bits[1:]], 1)
    assert later.saves([np.array([9.0, 9.0]), bits[1:]], 7)


def test_segments_count_by_all_their_tiles():
    # A tile of the first segment stands for one, of the second for a hundred.
    trial = Trial((np.array([0]), np.array([0])), (10.0, 10.0), ((), ()))
    assert trial.saves([np.array([1.0]), np.full(100, 11.0)], 0)
    assert not trial.saves([np.array([90.0]), np.full(100, 9.0)], 0)


def test_few_values_are_not_sampled_and_all_codes_are_tried(plan_of):
    trial = sample(plan_of(noise(20)), binary=False)
    assert trial.methods == (METHODS,)
    assert trial.saves([np.zeros(20)], 0)
    assert not HOPELESS.saves([np.full(20, 1e9)], 0)


def test_a_sample_is_a_small_part_of_a_set(plan_of):
    plan = plan_of(noise(2000))
    trial = sample(plan, binary=False)
    values = len(trial.numbers[0]) * 8 * 8 * 3
    assert values <= 2000 * 8 * 8 * 3 / 12 + 8 * 8 * 3
    # Noise has no shorter code than its values.
    assert trial.bits[0] > 8 * values
    assert trial.bits_of(plan) == pytest.approx(8 * 2000 * 8 * 8 * 3, rel=0.01)
    assert trial.methods == ((Method.RAW, Method.RAW_INSIDE),) or Method.XZ in trial.methods[0]


def test_what_a_mix_takes_is_the_sum_over_its_segments(plan_of):
    images = noise(400, channels=4)  # colour, and alpha as gray tiles
    images[..., 3] = 9
    trial = sample(plan := plan_of(images), binary=False)
    assert len(trial.numbers) == 2
    assert trial.bits_of(plan) == pytest.approx(8 * 400 * 8 * 8 * 3, rel=0.05)


@pytest.mark.parametrize(
    ("model_sees", "sample_sees", "plain"),
    [("blank", "blank", True), ("noise", "blank", False), ("blank", "noise", False)],
)
def test_the_chain_is_left_out_only_where_both_samples_are_plain(
    plan_of, model_sees, sample_sees, plain
):
    images, chosen = np.zeros((600, 8, 8, 3), np.uint8), np.arange(160, 192)
    if model_sees == "noise":
        images[chosen] = noise(len(chosen))
    if sample_sees == "noise":
        images[80:130], images[280:320] = np.split(noise(90), [50])
    plan = plan_of(images)
    trial = sample(plan, binary=False)
    assert not set(trial.numbers[0]) & set(chosen)
    bits = np.full(len(chosen), 8.0 * 192)
    seen = ChainCost(8.0 * 192, (0.0,), 0.0, 0, chosen, bits)
    assert is_plain(trial, plan, seen, binary=False) == plain
    assert not is_plain(HOPELESS, plan, seen, binary=False)
    assert not is_plain(trial, plan, ChainCost(1e9, (0.0,)), binary=False)
    # The code of a single small tile is mostly its head.
    one = ChainCost(8.0 * 192, (0.0,), 0.0, 0, chosen[:1], bits[:1])
    assert is_plain(trial, plan, one, binary=False) == (sample_sees == "blank")


@pytest.mark.parametrize("saves", [False, True])
def test_all_tiles_are_coded_classically_only_where_the_sample_saves(
    saves, build_model, monkeypatch
):
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2)
    images = noise(500) // 64
    real, tried = encoder.encode_classically, []

    def spy(plan, binary, trial, *rest):
        tried.append(trial)
        return real(plan, binary, trial, *rest)

    monkeypatch.setattr(encoder, "encode_classically", spy)

    def told(plan, binary):
        found = sample(plan, binary)
        bits = (1.0 if saves else 1e12,)
        return dataclasses.replace(found, bits=bits)

    monkeypatch.setattr(trials, "sample", told)
    monkeypatch.setattr(trials, "is_plain", lambda *_: False)
    data = compress_set(from_array(images), loaded).data
    assert bool(tried) == saves
    assert (len(data) < 0.6 * images.size) == saves
