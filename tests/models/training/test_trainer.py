"""Training lowers the loss, and survives spikes of it."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from conftest import SMALL
from training_runs import COLOUR, GREY, PLAN, finite, same, spoil, state_of, times, trainer

from bitsback.errors import ModelError
from bitsback.models.training import data
from bitsback.models.training.trainer import Trainer


@pytest.mark.parametrize("factor", [1e4, math.inf, math.nan])
def test_a_loss_spike_reverts_parameters_and_average_to_an_older_copy(monkeypatch, factor):
    plan = dataclasses.replace(PLAN, updates=80, batch=2, snapshot=20)
    run = trainer(plan)
    while run.update < 40:
        run.one_update()
    older = [p.detach().clone() for p in [*run.params, *run.average]]
    while run.update < 70:
        run.one_update()
    assert not same([p.detach() for p in [*run.params, *run.average]], older)
    with monkeypatch.context() as patch:
        spoil(patch, {70}, run, times(factor))
        run.one_update()
    assert run.reverted == [70]
    reached = [p.detach() for p in [*run.params, *run.average]]
    assert same(reached, run.snapshots[0])
    assert same(run.snapshots[0], older)
    for _ in run.run(log_every=5):
        pass
    assert run.update == 80
    assert run.reverted == [70]
    assert finite(state_of(run))
    assert all(math.isfinite(record["nats"]) for record in run.history)
    assert run.history[-1]["bits_per_dim"] < 1.5


def test_after_a_spike_no_copy_newer_than_the_one_reverted_to_is_kept(monkeypatch):
    run = trainer(dataclasses.replace(PLAN, snapshot=5))
    spoil(monkeypatch, {8, 9}, run, times(math.nan))
    while run.update < 8:
        run.one_update()
    oldest = run.snapshots[0]
    assert len(run.snapshots) == 2
    run.one_update()
    run.one_update()
    assert run.reverted == [8, 9]
    assert [id(copies) for copies in run.snapshots] == [id(oldest)]


def test_a_gradient_that_is_not_finite_reaches_neither_parameters_nor_average(monkeypatch):
    run = trainer()

    def steep(found):
        # The loss is as it was, its gradient infinite: d sqrt(x)/dx at 0.
        nil = (found.likelihood - found.likelihood.detach()).abs().sqrt()
        return dataclasses.replace(found, likelihood=found.likelihood + nil)

    spoil(monkeypatch, {10}, run, steep)
    for _ in run.run(log_every=1):
        assert finite(state_of(run))
    assert run.reverted == [10]
    assert all(math.isfinite(record["nats"]) for record in run.history)


def test_a_learning_rate_that_explodes_is_reverted_out_of_the_average_too(monkeypatch):
    run = trainer(dataclasses.replace(PLAN, updates=90, snapshot=10))
    rate = Trainer.rate
    monkeypatch.setattr(Trainer, "rate", lambda self: 1e4 if self.update == 60 else rate(self))
    while run.update < 61:
        run.one_update()
    assert max(float(v.abs().max()) for v in run.average) > 100
    for _ in run.run():
        pass
    assert run.reverted == [61]
    assert max(float(v.detach().abs().max()) for v in [*run.params, *run.average]) < 10


def test_a_loss_that_is_never_finite_is_refused(monkeypatch):
    run = trainer()
    spoil(monkeypatch, {0}, run, times(math.nan))
    with pytest.raises(ModelError, match="learning_rate"):
        run.one_update()


@pytest.mark.parametrize("beta", [1.0, 4.0])
@pytest.mark.parametrize("config", [SMALL, GREY])
def test_training_lowers_the_loss(config, beta):
    plan = dataclasses.replace(PLAN, updates=120, batch=8, learning_rate=2e-2, beta=beta)
    run = trainer(plan, config)
    for _ in run.run(log_every=10):
        pass
    first, last = run.history[0]["nats"], run.history[-1]["nats"]
    assert last < 0.7 * first
    assert run.reverted == []


def test_the_weight_of_the_kl_rises_to_one(monkeypatch):
    """Gradients of an update are those of likelihood + min(1, (update + 1) / kl_warmup) * KL."""
    run = trainer(dataclasses.replace(PLAN, kl_warmup=4, clip=1e9))

    def gradients(update, kl_warmup):
        run.train = dataclasses.replace(run.train, kl_warmup=kl_warmup)
        run.update = update
        monkeypatch.setattr(run.optimisers["adam"], "step", lambda: None)
        run.one_update()
        return torch.cat([p.grad.flatten() for p in run.params]).clone()

    for update, weight in ((0, 0.25), (2, 0.75), (3, 1.0), (9, 1.0)):
        rising = gradients(update, 4)
        # Linear in the weight: between the gradients of 1 and of 1/2.
        whole, half = gradients(update, 0), gradients(update, 2 * (update + 1))
        wanted = whole + (whole - half) * 2 * (weight - 1)
        assert torch.allclose(rising, wanted, atol=1e-4 * float(wanted.abs().max()))


def test_a_larger_beta_spends_more_on_latents_and_less_on_pixels():
    ends = []
    for beta in (0.2, 5.0):
        run = trainer(dataclasses.replace(PLAN, updates=120, learning_rate=2e-2, beta=beta))
        for _ in run.run(log_every=40):
            pass
        ends.append(run.history[-1])
    low, high = ends
    assert low["kl_nats"] < high["kl_nats"]
    assert low["nats"] - low["kl_nats"] > high["nats"] - high["kl_nats"]


def test_a_run_takes_crops_of_several_sizes_in_turn():
    config = dataclasses.replace(COLOUR, likelihood="logistic", doublings=1)
    noise = np.random.default_rng(0).integers(0, 256, (9, 20, 20, 3)).astype(np.uint8)
    plan = dataclasses.replace(PLAN, sizes=2, vary=0.5)
    run = Trainer(config, plan, data.TrainingImages((noise,), 8), "cpu")
    asked = []
    real = data.TrainingImages.batch

    def batch(*words):
        asked.append(real(*words).shape)
        return real(*words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data.TrainingImages, "batch", batch)
        totals = [run.one_update()[0] for _ in range(4)]
    assert asked == [(4, 3, 8, 8), (1, 3, 16, 16)] * 2
    assert run.images.vary == 0.5
    # Nats of a crop of the smallest size, whatever was taken.
    assert max(totals) < 1.5 * min(totals)
