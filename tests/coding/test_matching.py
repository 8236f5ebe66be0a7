"""The check of net against KL-based bits passes what is right, and fails whatever is not."""

import dataclasses
import math

import numpy as np
import pytest
from conftest import SMALL, random_model

from bitsback.ans.message import Message
from bitsback.coding import batch_pixels, bits_back, latents, matching
from bitsback.coding.batch import Batch
from bitsback.coding.matching import Part
from bitsback.coding.reports.costs import BatchCost
from bitsback.coding.reports.tally import Tally
from bitsback.models import store
from bitsback.models.draw.model import DrawModel
from bitsback.models.draw.reference import ReferenceOps
from bitsback.tables import latent_grid, tables

CONFIG = dataclasses.replace(SMALL, steps=3)
BITS = ("payload_bits", "first_bits", "filler_bits", "header_bits", "head_bits")
NOTHING = dict.fromkeys(BITS, 0)


def small():
    """A model of random weights."""
    tensors, widths = random_model(CONFIG, seed=5)
    return DrawModel(CONFIG, ReferenceOps(CONFIG, tensors), widths)


def chain(batches=60, model=None, side=8, measure=False):
    """The report of a chain of noise through a model."""
    model = model or small()
    random = np.random.default_rng(1)
    message, tally = Message.random(16, 20_000, 0), Tally()
    for index in range(batches):
        x = (random.random((2, 1, side, side)) < 0.3).astype(np.uint8)
        batch = Batch(2, side, side, 0, index)
        tally.add(bits_back.encode(message, model, batch, x, measure), x.size)
    dims = batches * 2 * side**2
    return tally.report(images=2 * batches, dims=dims, chained_dims=dims, **NOTHING)


def failed(report):
    """Names of the parts that do not match."""
    return [part.name for part in report.check().failed]


@pytest.mark.parametrize("batches", [1, 60])
def test_all_steps_match_and_each_has_a_z_of_its_own(batches):
    check = chain(batches).check()
    assert check.passed, str(check)
    assert [part.name for part in check.parts] == ["step 1", "step 2", "step 3", "pixels", "chain"]
    for part in check.parts:
        assert part.standard_error_bits > 0
        assert abs(part.z) < 5
        assert math.copysign(1, part.z) == math.copysign(1, part.difference_bits)


def test_the_standard_errors_are_those_that_chains_scatter_with(monkeypatch):
    """Over many chains each step's z has a mean square near 1."""
    zs = []
    for seed in range(40):
        monkeypatch.setattr(Message, "random", lambda *a, r=Message.random, s=seed: r(*a[:2], s))
        zs.append([part.z for part in chain(5).check().parts[:3]])
        monkeypatch.undo()
    square = np.square(zs).mean(0)
    assert ((square > 0.5) & (square < 1.7)).all(), square


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("off", [32 * 6, 3])
def test_a_posterior_off_by_rows_fails_at_its_step(monkeypatch, step, off):
    pop = latents.Posterior.pop

    def wrong(self, message, masks):
        here = self.latents.group.step == step
        return pop(dataclasses.replace(self, rows=self.rows - off * here), message, masks)

    monkeypatch.setattr(latents.Posterior, "pop", wrong)
    assert set(failed(chain())) - {"chain"} == {f"step {step}"}


def test_a_prior_of_another_step_fails(monkeypatch):
    push, seen = latents.push_prior, {}

    def wrong(message, here, k):
        other = seen.get(here.group.step + 1, here)
        seen[here.group.step] = here
        push(message, other, k)

    monkeypatch.setattr(bits_back, "push_prior", wrong)
    assert failed(chain())


def test_a_kl_counted_twice_fails_at_its_step(monkeypatch):
    once = bits_back.group_cost

    def twice(here, *rest):
        cost = once(here, *rest)
        return dataclasses.replace(cost, kl=cost.kl * (2 if here.group.step == 2 else 1))

    monkeypatch.setattr(bits_back, "group_cost", twice)
    report = chain(10, store.load("omniglot", "cpu").model, 28)
    assert set(failed(report)) == {"step 2", "chain"}


@pytest.mark.parametrize("leak", [0.98, 1.02])
def test_a_leak_in_the_pixels_fails_there_and_in_the_chain(monkeypatch, leak):
    push = batch_pixels.push

    def leaking(*given):
        lengths, side = push(*given)
        return leak * lengths, side

    monkeypatch.setattr(batch_pixels, "push", leaking)
    assert set(failed(chain())) == {"pixels", "chain"}


def photographs(monkeypatch=None, leak=0.0, measure=True):
    """The report of noise through a model of colour images without latents, and a leak in it.

    Args:
        leak: share of the pixels' bits that a symbol more costs, pushed after them.
    """
    config = dataclasses.replace(
        SMALL, channels=3, likelihood="logistic", mixtures=2, passes=4, blocks=1, pass_maps=4
    )
    tensors, widths = random_model(config, seed=5)
    for width in widths:
        width[:] = latent_grid.NIL
    model = DrawModel(config, ReferenceOps(config, tensors), widths)
    push = batch_pixels.push

    def leaking(message, coded):
        lengths, side = push(message, coded)
        freq = round(tables.TOTAL * 2.0 ** (-leak * lengths.sum()))
        message.push(np.array([0]), np.array([freq]), tables.PRECISION)
        return lengths, side

    if leak:
        monkeypatch.setattr(batch_pixels, "push", leaking)
    x = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32)).astype(np.uint8)
    tally = Tally()
    cost = bits_back.encode(Message.random(16, 99, 0), model, Batch(2, 32, 32, 0, 0), x, measure)
    tally.add(cost, x.size)
    return tally.report(images=2, dims=x.size, chained_dims=x.size, **NOTHING)


def test_a_leak_of_a_ten_thousandth_shows_in_two_tiles(monkeypatch):
    intact = photographs().check()
    assert intact.passed, str(intact)
    assert intact.chain.visible_bits(intact.limit) < 1e-6 * intact.chain.promised_bits
    assert set(failed(photographs(monkeypatch, leak=1e-4))) == {"pixels", "chain"}


def test_without_the_simulation_the_bound_hides_it(monkeypatch):
    check = photographs(monkeypatch, leak=1e-5, measure=False).check()
    assert check.passed, str(check)
    assert check.chain.visible_bits(check.limit) > 1e-5 * check.chain.promised_bits
    monkeypatch.undo()
    assert failed(photographs(monkeypatch, leak=1e-5))


def test_one_k_of_a_constant_width_is_checked_too(monkeypatch):
    config = dataclasses.replace(CONFIG, posterior="constant")
    tensors, widths = random_model(config, seed=5)
    model = DrawModel(config, ReferenceOps(config, tensors), widths)
    report = chain(10, model)
    assert report.check().passed, str(report.check())
    push = bits_back.push_prior
    monkeypatch.setattr(bits_back, "push_prior", lambda m, on, k: push(m, on, k + 1))
    assert failed(chain(10, model))


def test_a_leak_of_a_ten_thousandth_shows_in_a_step_without_luck(monkeypatch):
    config = dataclasses.replace(CONFIG, posterior="constant")
    tensors, widths = random_model(config, seed=5)
    model = DrawModel(config, ReferenceOps(config, tensors), widths)
    intact = chain(20, model, measure=True)
    assert intact.check().passed, str(intact.check())
    bits = 1e-4 * intact.steps[1].pushed_bits
    push, left = bits_back.push_prior, [bits]

    def leaking(message, on, k):
        push(message, on, k)
        if on.group.step == 2 and left:
            freq = round(tables.TOTAL * 2.0 ** -left.pop())
            message.push(np.array([0]), np.array([freq]), tables.PRECISION)

    monkeypatch.setattr(bits_back, "push_prior", leaking)
    assert set(failed(chain(20, model, measure=True))) == {"step 2", "chain"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["bits", "promised_bits", "standard_error_bits", "bound_bits"])
def test_what_is_not_finite_does_not_match(name, value):
    part = dataclasses.replace(Part("pixels", 10.0, 10.0, 1.0, 1.0), **{name: value})
    check = matching.check((part,), 1)
    assert not check.passed
    assert check.failed == (part,)
    assert "DO NOT MATCH" in str(check)


def test_nothing_coded_is_not_measured():
    report = Tally().report(images=1, dims=64, chained_dims=0, **NOTHING)
    check = report.check()
    assert not check.passed
    assert not check.measured
    assert str(check) == "net and KL-based rate not measured: the chain coded nothing"
    assert report.to_dict()["match"] is False


def test_pixels_alone_say_that_no_latents_are_coded():
    tally = Tally()
    tally.add(BatchCost(1, 80.0, 80.0, np.array([80.0]), ()), 64)
    check = tally.report(images=1, dims=64, chained_dims=64, **NOTHING).check()
    assert check.passed
    assert not check.latents
    assert "no latents are coded" in str(check)


def test_the_level_holds_for_all_parts_together():
    part = Part("pixels", 0.0, 0.0, 1.0, 0.0)
    assert matching.check((part,) * 2, 1).limit == pytest.approx(4.565, abs=1e-3)
    assert matching.check((part,) * 100, 1).limit > 5.3
