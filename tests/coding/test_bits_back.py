"""Coding images through a model leaves the message as it was found, and gives the images back."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from conftest import SMALL, random_model
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.ans.message import Message
from bitsback.coding import bits_back, latents
from bitsback.coding.batch import Batch
from bitsback.coding.model import Group
from bitsback.models.draw import equations
from bitsback.models.draw.integers import IntegerOps
from bitsback.models.draw.model import DrawModel
from bitsback.tables import latent_grid, tables


def model_of(config, seed=0, nil=False):
    tensors, widths = random_model(config, seed, nil)
    return DrawModel(config, IntegerOps(config, tensors, torch.device("cpu")), widths)


@st.composite
def cases(draw_):
    likelihood = draw_(st.sampled_from(["bernoulli", "gaussian", "logistic"]))
    layers = draw_(st.sampled_from([1, 2]))
    config = dataclasses.replace(
        SMALL,
        channels=draw_(st.sampled_from([1, 3])),
        likelihood=likelihood,
        mixtures=draw_(st.integers(1, 3)) if likelihood == "logistic" else 1,
        steps=draw_(st.integers(1, 4)),
        layers=layers,
        maps2=3 if layers == 2 else 0,
        latents2=1 if layers == 2 else 0,
        posterior=draw_(st.sampled_from(["gaussian", "constant"])),
        passes=draw_(st.sampled_from([1, 4, 7])),
    )
    if config.passes > 1:
        config = dataclasses.replace(
            config, pass_maps=draw_(st.sampled_from([0, 4, 8])), blocks=draw_(st.integers(0, 2))
        )
        if likelihood == "logistic" and config.pass_maps and draw_(st.booleans()):
            config = dataclasses.replace(config, residual=1, stride=1 << config.levels)
    elif likelihood == "logistic" and draw_(st.booleans()):
        stride = draw_(st.sampled_from([2, 4]))
        config = dataclasses.replace(
            config, stride=stride, head_maps=4, head_blocks=draw_(st.integers(0, 2))
        )
    last = len(equations.groups(config)) - 1
    height, width = (config.multiple * draw_(st.integers(1, 3)) for _ in range(2))
    gray = config.channels == 3 and draw_(st.booleans())
    batch = Batch(
        draw_(st.integers(1, 5)),
        height,
        width,
        draw_(st.integers(0, 2**64 - 1)),
        draw_(st.integers(0, 99)),
        gray,
        draw_(st.one_of(st.none(), st.frozensets(st.integers(0, last)))),
        variance=draw_(st.sampled_from([0.0, 0.5, 1.0])),
        corrected=draw_(st.booleans()),
    )
    return config, batch, draw_(st.booleans()), draw_(st.integers(0, 99))


@settings(max_examples=40, deadline=None)
@given(cases())
def test_decoding_undoes_encoding(case):
    config, batch, nil, seed = case
    model = model_of(config, seed, nil)
    high = 2 if config.likelihood == "bernoulli" else 256
    channels = 1 if batch.gray else config.channels
    random = np.random.default_rng(seed)
    x = random.integers(0, high, (batch.size, channels, batch.height, batch.width)).astype(np.uint8)
    x = np.repeat(x, 3, 1) if batch.gray else x
    message = Message.random(8, 20_000, seed)
    before = message.copy()
    bits_back.encode(message, model, batch, x)
    assert message != before
    assert np.array_equal(bits_back.decode(message, model, batch), x)
    assert message == before


@pytest.mark.parametrize("nil", [False, True])
def test_a_batch_of_some_groups_takes_what_they_pop_and_no_more(nil):
    config = dataclasses.replace(SMALL, steps=3)
    model, taken = model_of(config, nil=nil), []
    x = (np.random.default_rng(1).random((3, 1, 8, 8)) < 0.3).astype(np.uint8)
    for coded in (0, 1, 2, 3, None):
        message = Message.random(8, 20_000, 0)
        message.track_low_water()
        some = None if coded is None else frozenset(range(coded))
        cost = bits_back.encode(message, model, Batch(3, 8, 8, 0, 0, coded=some), x)
        taken.append(20_000 - message.lowest_words)
        popped = [group.popped for group in cost.groups]
        assert all(bits > 0 for bits in popped[:coded])
        assert coded is None or not any(popped[coded:])
        assert coded is None or not any(group.pushed for group in cost.groups[coded:])
    assert taken[0] == 0
    assert taken == sorted(taken)
    assert taken[3] == taken[4] > taken[1] > 0


def test_the_latents_that_are_not_coded_are_the_means_of_their_priors():
    model = model_of(SMALL)
    visits, _ = bits_back.walk(
        model, Batch(2, 8, 8, 0, 0, coded=frozenset()), lambda *_: np.zeros((2, 0, 4, 4))
    )
    for visit in visits:
        distance = visit.latents.z(visit.k) * 4 - visit.latents.p.mean
        width = 2.0 ** (visit.latents.p.log_scale / 64) * 256
        assert np.abs(distance / width).max() < 1 / 64 + 4 / width.min()


@pytest.mark.parametrize("variance", [1.0, 0.25])
def test_other_latents_are_drawn_from_their_priors_with_the_variance_asked_for(variance):
    model = model_of(dataclasses.replace(SMALL, latents=3, posterior="constant"))
    batch = Batch(64, 8, 8, 0, 0, coded=frozenset({0}), variance=variance)
    visits, _ = bits_back.walk(model, batch, lambda i, *_: np.zeros((64, 3 if i == 0 else 0, 4, 4)))
    drawn = visits[1].latents
    distance = drawn.z(visits[1].k) / 64 - drawn.p.mean / 256
    ratio = distance / 2.0 ** (drawn.p.log_scale / 64)
    assert abs(ratio.mean()) < 4 * math.sqrt(variance / ratio.size)
    assert ratio.var() == pytest.approx(variance, rel=0.08)
    again, _ = bits_back.walk(model, batch, lambda i, *_: np.zeros((64, 3 if i == 0 else 0, 4, 4)))
    assert np.array_equal(again[1].latents.z(again[1].k), drawn.z(visits[1].k))


def test_a_constant_posterior_costs_little_where_its_prior_is_much_narrower():
    group = Group(1, 1, np.array([0, 0]), constant_width=True)
    shape = (1, 2, 40, 40)
    scales = np.stack([np.full((1, 40, 40), -6 * 64), np.full((1, 40, 40), 64)], 1)
    p = latent_grid.Gaussian(np.zeros(shape, np.int64), scales)
    found = latents.prepare(Batch(1, 80, 80, 0, 0), 0, group, p)
    q = latents.Posterior(found.prior_rows, found.prior_rows, p, found)  # at the prior's mean
    k = q.nearest
    message = Message.empty(8)
    before = message.bits
    latents.push_prior(message, found, k)
    freqs = np.diff(tables.prior_table()[found.prior_rows].astype(float))
    costs = 24 - np.log2(np.take_along_axis(freqs, k[..., None] + 128, -1))[0, ..., 0]
    assert costs[0].mean() < 0.05
    # -log2 of the density at the mean of N(0, 2**2), and a little for not being there
    assert costs[1].mean() == pytest.approx(math.log2(2 * math.sqrt(2 * math.pi)), abs=0.05)
    assert message.bits - before == pytest.approx(costs.sum(), rel=0.01)
    z = found.z(k) / 64
    assert np.abs(z).max() <= 0.5 + 1 / 128  # uniform over the grid's width, for both
    assert z.var((0, 2, 3)) == pytest.approx([1 / 12, 1 / 12], rel=0.1)


@pytest.mark.parametrize(
    ("coded", "asked"),
    [
        (None, [0, 1]),
        ({0}, [0]),
        ({1}, [0, 1]),
        ({0, 2}, [0]),
        ({2}, []),
    ],
)
def test_posteriors_that_no_coded_latent_needs_are_not_computed(monkeypatch, coded, asked):
    config = dataclasses.replace(SMALL, steps=3)
    tensors, widths = random_model(config)
    widths[0][0] = 127
    widths[2][:] = 127
    model = DrawModel(config, IntegerOps(config, tensors, torch.device("cpu")), widths)
    seen, observed = [], []
    posterior, observe = DrawModel.posterior, DrawModel.observe
    monkeypatch.setattr(
        DrawModel, "posterior", lambda self, i, *rest: seen.append(i) or posterior(self, i, *rest)
    )
    monkeypatch.setattr(DrawModel, "observe", lambda *given: observed.append(1) or observe(*given))
    x = np.ones((1, 1, 8, 8), np.uint8)
    message, batch = Message.random(8, 20_000, 0), Batch(1, 8, 8, 0, 0, coded=coded)
    cost = bits_back.encode(message, model, batch, x)
    assert seen == asked
    popping = set(asked) & (coded or {0, 1})
    assert [group.popped > 0 for group in cost.groups] == [i in popping for i in range(3)]
    assert np.array_equal(bits_back.decode(message, model, batch), x)
    assert seen == 2 * asked
    assert len(observed) == 2 * bool(asked)
