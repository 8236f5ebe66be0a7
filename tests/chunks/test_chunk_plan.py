"""What a plan says of a chunk's tiles, and what a tile needs on the message before it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsback.chunks.cost import ChainCost, Needs, chain_cost, heads_for, shaped
from bitsback.chunks.plan import Settings, plan_chunk
from bitsback.errors import InputError
from bitsback.format.chunk_head import MAX_BATCH_VALUES
from bitsback.images.image_set import from_array


@pytest.fixture
def plan_of(build_model):
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2)

    def plan(shape, **settings):
        array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
        made = plan_chunk(from_array(array), loaded, Settings(**settings), 7, b"note")
        return made, loaded

    return plan


def test_colour_comes_before_gray_and_padding_is_no_value(plan_of):
    plan, _ = plan_of((2, 12, 20, 4))
    assert [segment.tiles.shape for segment in plan.segments] == [(12, 8, 8, 3), (12, 8, 8, 1)]
    assert [segment.gray for segment in plan.segments] == [False, True]
    assert (plan.side, plan.count, plan.dims) == (8, 24, 2 * 12 * 20 * 4)
    assert plan.dims_after(0) == plan.dims
    assert plan.dims_after(1) == plan.dims - 8 * 8 * 3
    assert plan.dims_after(12) == 2 * 12 * 20
    assert plan.dims_after(24) == 0
    assert [segment.classical for segment in plan.described(14)] == [12, 2]


def test_a_chain_has_every_tile_once_and_the_files_seed(plan_of):
    plan, _ = plan_of((2, 12, 20, 4), batch=5, seed=3)
    steps = list(plan.chain((1, 2)))
    numbers = [(step.segment, n) for step in steps for n in range(24)[step.where]]
    assert sorted(numbers) == [(segment, n) for segment in (0, 1) for n in range(12)]
    assert {step.batch.seed for step in steps} == {3}
    assert {step.batch.index >> 32 for step in steps} == {7}
    assert max(step.batch.size for step in steps) == 5


def test_a_models_own_batch_is_never_more_than_a_decoder_allows(build_model):
    """Its batch is of its largest tiles; of the smallest ones it would be 64 times as many."""
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2, batch=128, doublings=3)
    images = from_array(np.zeros((7000, 8, 8, 3), np.uint8))
    plan = plan_chunk(images, loaded, Settings(), 0, b"")
    assert plan.side == 8
    assert plan.batch == MAX_BATCH_VALUES // (8 * 8 * 3)
    with pytest.raises(InputError, match=f"at most {plan.batch}"):
        plan_chunk(images, loaded, Settings(batch=plan.batch + 1), 0, b"")


def test_a_sample_tells_what_a_chain_costs(plan_of):
    plan, loaded = plan_of((4, 16, 16, 3))
    cost = chain_cost(plan, loaded)
    assert cost.net > 0
    assert cost.popped[0] == 0
    assert list(cost.popped) == sorted(cost.popped)
    assert len(cost.popped) == len(loaded.model.groups) + 1
    assert len(cost.numbers) == len(cost.bits) == min(plan.batch, plan.count)
    assert cost.bits.mean() == pytest.approx(cost.net, rel=1e-3)
    assert shaped(plan, cost, None).heads == 8
    assert shaped(plan, cost, 32).heads == 32
    assert shaped(plan, ChainCost(1.0, (0.0, 100.0)), None).ramp == 125
    assert shaped(plan, ChainCost(1.0, (0.0, 1e9)), None).ramp == 65535


@given(
    st.lists(st.floats(0, 1e5), min_size=1, max_size=6),
    st.floats(0, 1e6),
    st.integers(0, 5),
    st.integers(1, 512),
)
def test_what_can_be_afforded_is_there(groups, bits, least, heads):
    needs = Needs((0.0, *np.cumsum(groups).tolist()), heads)
    least = min(least, len(groups) - 1)
    coded = needs.affordable(bits, least)
    if coded is None:
        assert needs.all_groups <= bits
    else:
        assert needs.all_groups > bits
        assert least <= coded < len(groups)
        assert coded == least or needs.groups(coded) <= bits
    assert needs.groups(0) == 0


@given(st.floats(0, 1e12))
def test_heads_are_a_power_of_two_in_their_range(bits):
    heads = heads_for(bits)
    assert 8 <= heads <= 512
    assert heads & (heads - 1) == 0


def test_settings_out_of_range_are_refused():
    wrongs = [{"batch": n} for n in (0, 65536, 1.5)] + [{"seed": n} for n in (-1, 2**64, 0.5)]
    for wrong in wrongs:
        name = next(iter(wrong))
        with pytest.raises(InputError, match=f"the {name} must (lie between|be an integer)"):
            Settings(**wrong)
