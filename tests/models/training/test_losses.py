"""What training pays for latents: free bits, and the KL of every group in the log."""

import dataclasses
import math

import pytest
import torch
from conftest import SMALL
from training_runs import PLAN, advance, trainer

from bitsback.errors import ModelError
from bitsback.models.training.losses import Losses


def test_latents_below_their_free_bits_are_not_pressed():
    """Each map pays max(KL, free), mean over the batch: where that is free, no gradient remains."""
    kl = torch.tensor([[1.0, 5.0], [3.0, 9.0]], requires_grad=True)
    found = Losses(torch.zeros(2), kl.sum(1)[None], (kl,))
    assert found.kl_paid(0.0).item() == pytest.approx(9.0)
    paid = found.kl_paid(3.0)
    assert paid.item() == pytest.approx(3.0 + 7.0)
    paid.backward()
    assert kl.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]
    assert found.kl_paid(100.0).item() == pytest.approx(200.0)


def test_free_bits_keep_latents_that_a_run_gives_up_without_them():
    ends = []
    for free in (0.0, 2.0):
        run = trainer(dataclasses.replace(PLAN, updates=120, learning_rate=2e-2, free_bits=free))
        for _ in run.run(log_every=40):
            pass
        ends.append(run.history[-1])
    assert ends[0]["kl_nats"] < ends[1]["kl_nats"]


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_impossible_free_bits_are_refused(value):
    with pytest.raises(ModelError, match="free_bits"):
        dataclasses.replace(PLAN, free_bits=value)


def test_the_log_tells_the_kl_of_every_group():
    run = trainer(config=dataclasses.replace(SMALL, layers=2, maps2=3, latents2=1))
    advance(run, 12)
    for record in run.history:
        assert len(record["kl_nats_by_group"]) == 4
        assert sum(record["kl_nats_by_group"]) == pytest.approx(record["kl_nats"], abs=0.01)
