"""Latents from the bottom up: what is pushed is popped, on the initial bits of one layer."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitsback
from bitsback import grid, pixels, protocol
from bitsback.ans.message import Message
from bitsback.coding import bits_back, sampling
from bitsback.coding.batch import Batch
from bitsback.coding.latents import posteriors
from bitsback.coding.micro_batches import MicroBatches
from bitsback.coding.reports.costs import BatchCost
from bitsback.errors import EmptyMessageError, ModelError
from bitsback.testing import check_model

SIDE = 8
STEPS = 16.0  # of the grid in the model's unit


@dataclasses.dataclass(frozen=True)
class Chain:
    """A random linear Markov chain of latents, top first, in integers.

    Args:
        sizes: channels of each group.
        limit: the largest |k|.
        top_down: the same latents, each posterior given x and the priors as in the chain.
    """

    sizes: tuple[int, ...]
    limit: int = 256
    top_down: bool = False
    passes = protocol.ALL_PIXELS

    @property
    def groups(self):
        rest = {} if self.top_down else {"bottom_up": True, "limit": 64 * self.limit}
        return tuple(
            protocol.Group(n + 1, 1, np.zeros(c, np.int64), fine=True, **rest)
            for n, c in enumerate(self.sizes)
        )

    def weights(self, name, inputs, outputs):
        random = np.random.default_rng([*name.encode(), inputs, outputs])
        return random.standard_normal((inputs, outputs)) / math.sqrt(inputs)

    def start(self, batch, height, width):
        return (batch, None)

    def observe(self, x):
        return x.reshape(len(x), -1) - 0.5

    def prior(self, index, state):
        batch, above = state
        if index == 0:
            return gaussian(np.zeros((batch, self.sizes[0])), 1.0)
        return gaussian(above @ self.weights("p", self.sizes[index - 1], self.sizes[index]), 0.5)

    def infer(self, index, memory, state):
        below = state[1] if memory is None else memory
        mean = below @ self.weights(f"q{index}", below.shape[1], self.sizes[index])
        return gaussian(mean, 0.25)

    def posterior(self, index, memory, state, p):
        assert self.top_down
        mean = memory @ self.weights(f"q{index}", memory.shape[1], self.sizes[index])
        return gaussian(mean, 0.25), memory

    def step(self, index, state, z):
        return (state[0], z[:, :, 0, 0] / 64 / STEPS)

    def likelihood(self, state, gray):
        logits = state[1] @ self.weights("x", self.sizes[-1], SIDE * SIDE)
        return pixels.Bernoulli(np.round(32 * logits).astype(int).reshape(-1, 1, SIDE, SIDE))

    def reveal(self, state, x):
        return state


def gaussian(mean, sigma):
    log_scale = np.full(mean.shape, round(64 * math.log2(sigma * STEPS)))
    shape = (*mean.shape, 1, 1)
    means = np.round(256 * STEPS * mean).astype(np.int64)
    return grid.Gaussian(means.reshape(shape), log_scale.reshape(shape))


def loaded(model, **changes):
    given = protocol.LoadedModel("chain", bytes(32), model, 1, True, (SIDE,), 16, 1)
    return dataclasses.replace(given, **changes)


def images(count, seed=0):
    return (np.random.default_rng(seed).random((count, SIDE, SIDE)) < 0.3).astype(np.uint8)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    st.integers(1, 9),
    st.sampled_from([1, 2, 8]),
    st.integers(0, 2**32),
    st.sampled_from([1, 3, 256, 4096]),
)
def test_what_is_pushed_is_popped(sizes, count, heads, seed, limit):
    model, batch = Chain(tuple(sizes), limit), Batch(count, SIDE, SIDE, seed, seed % 7)
    message, x = Message.random(heads, 4000, seed), images(count, seed)[:, None]
    before = message.copy()
    cost = bits_back.encode(message, model, batch, x, measure=seed % 2 == 0)
    grown = sum(g.pushed - g.popped for g in cost.groups) + cost.likelihood
    assert cost.net == pytest.approx(grown) == pytest.approx(message.bits - before.bits)
    assert np.array_equal(bits_back.decode(message, model, batch), x)
    assert message == before


def test_bits_come_back_layer_after_layer():
    """A message that holds the bits of the widest layer is enough; top-down it is not."""
    sizes, batch, x = (24, 24, 24, 24), Batch(4, SIDE, SIDE, 0, 0), images(4)[:, None]
    cost = bits_back.encode(Message.random(1, 4000, 0), Chain(sizes), batch, x)
    popped = [group.popped for group in cost.groups]
    assert max(popped) <= cost.taken[-1] < 1.5 * max(popped) < 0.5 * sum(popped)
    assert cost.taken[0] == 0
    assert all(math.isinf(bits) for bits in cost.taken[1:-1])
    words = math.ceil(cost.taken[-1] / 32) + 2
    bits_back.encode(Message.random(1, words, 0), Chain(sizes), batch, x)
    with pytest.raises(EmptyMessageError):
        bits_back.encode(Message.random(1, words - 6, 0), Chain(sizes), batch, x)
    with pytest.raises(EmptyMessageError):
        bits_back.encode(Message.random(1, words, 0), Chain(sizes, top_down=True), batch, x)


def test_a_file_begins_with_fewer_images():
    """Both chains begin with images in initial bits: from the bottom up, with fewer of them."""
    x, sizes = images(100), (12, 12, 12, 12)
    models = [loaded(Chain(sizes, top_down=top_down)) for top_down in (False, True)]
    reports = [bitsback.rate(x, model) for model in models]
    assert all(report.check().passed for report in reports)
    data = bitsback.compress(x, models[0], always_chain=True)
    assert np.array_equal(bitsback.decompress(data, models[0]), x)
    widest = max(step.popped_bits / 90 for step in reports[0].steps)
    assert reports[1].initial_bits - reports[0].initial_bits > 2 * widest


def test_net_is_the_rate_of_each_layer_and_a_bit_more_of_one_shows():
    model = Chain((3, 5, 4))
    check = bitsback.rate(images(100), loaded(model)).check()
    assert [part.name for part in check.parts] == ["step 1", "step 2", "step 3", "pixels", "chain"]
    assert check.passed, str(check)
    cost = bits_back.encode(
        Message.random(8, 9000, 0), model, Batch(64, SIDE, SIDE, 0, 0), images(64)[:, None]
    )
    for group in cost.groups:
        # The luck of log q alone: half a square of a normal variable in nats for each latent.
        assert group.variance == pytest.approx(group.count / 2 / math.log(2) ** 2, rel=0.03)
        assert abs(group.continuous_kl - group.kl_bits) < 0.02 * group.kl_bits + 0.01 * group.count


def test_the_model_is_checked():
    report = check_model(loaded(Chain((3, 4))), images(40))
    assert report.passed, report

    class OfTheBatch(Chain):
        def infer(self, index, memory, state):
            q = Chain.infer(self, index, memory, state)
            return grid.Gaussian(q.mean + len(q.mean), q.log_scale)

    report = check_model(loaded(OfTheBatch((3, 4))), images(40))
    assert not report.passed
    assert "differ in batches of 1 and 5" in str(report)


class Careless(Chain):
    """A prior that looks beyond the latents that it is given."""

    def prior(self, index, state):
        p = Chain.prior(self, index, state)
        return grid.Gaussian(p.mean + np.random.default_rng().integers(99), p.log_scale)


def test_a_prior_that_differs_the_second_time_is_named():
    assert not check_model(loaded(Careless((3, 4))), images(40)).passed


def test_micro_batches_are_the_same():
    batch, x = Batch(7, SIDE, SIDE, 0, 0), images(7)[:, None]
    message = Message.random(4, 900, 0)
    before = message.copy()
    bits_back.encode(message, Chain((3, 4)), batch, x)
    assert np.array_equal(bits_back.decode(message, MicroBatches(Chain((3, 4)), 2), batch), x)
    assert message == before


class Far(Chain):
    """Posteriors that lie more than 16 sigmas of the priors away from these."""

    def infer(self, index, memory, state):
        q = Chain.infer(self, index, memory, state)
        return grid.Gaussian(q.mean + 256 * 220, q.log_scale)


def test_latents_that_no_prior_expects_come_back():
    batch, x, message = Batch(5, SIDE, SIDE, 0, 0), images(5)[:, None], Message.random(4, 900, 0)
    before = message.copy()
    bits_back.encode(message, Far((3, 4)), batch, x)
    assert np.array_equal(bits_back.decode(message, Far((3, 4)), batch), x)
    assert message == before


def test_what_reaches_beyond_the_grid_comes_back_and_is_told():
    model = loaded(Chain((3, 4), limit=8))
    x = images(60)
    data = bitsback.compress(x, model, always_chain=True)
    assert np.array_equal(bitsback.decompress(data, model), x)
    with pytest.raises(ModelError, match="beyond the grid's window"):
        bitsback.rate(x, model)

    class Flat(Chain):
        def prior(self, index, state):
            p = Chain.prior(self, index, state)
            return grid.Gaussian(p.mean, p.log_scale + 640)

    with pytest.raises(ModelError, match="above 512 steps"):
        bitsback.rate(x, loaded(Flat((3, 4))))


def test_other_orders_refuse_it():
    model, x = Chain((3, 4)), images(3)[:, None]
    some = Batch(3, SIDE, SIDE, 0, 0, coded=frozenset([0]))
    with pytest.raises(ModelError, match="coded all, or none"):
        bits_back.encode(Message.random(8, 900, 0), model, some, x)
    with pytest.raises(ModelError, match="from the bottom up"):
        posteriors(model, Batch(3, SIDE, SIDE, 0, 0), x)

    class Mixed(Chain):
        @property
        def groups(self):
            first, second = Chain((3, 4)).groups
            return (dataclasses.replace(first, bottom_up=False), second)

    with pytest.raises(ModelError, match="all groups"):
        bits_back.encode(Message.random(8, 900, 0), Mixed((3, 4)), Batch(3, SIDE, SIDE, 0, 0), x)
    with pytest.raises(ModelError, match="a bottom-up group is fine"):
        protocol.Group(1, 1, np.zeros(2, np.int64), bottom_up=True)
    with pytest.raises(ModelError, match="its limit"):
        protocol.Group(1, 1, np.zeros(2, np.int64), fine=True, bottom_up=True, limit=63)


def test_images_are_drawn_from_the_top():
    drawn = sampling.sample(loaded(Chain((3, 4))), 20)
    assert drawn.shape == (20, SIDE, SIDE, 1)
    assert 0.1 < drawn.mean() < 0.9
    assert np.array_equal(drawn, sampling.sample(loaded(Chain((3, 4))), 20))


def test_top_down_latents_take_what_all_groups_take():
    cost = BatchCost(1, 0.0, 0.0, np.zeros(1), ())
    assert cost.taken == (0.0,)
