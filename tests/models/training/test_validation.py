"""Held-out rates are of the averaged parameters."""

import dataclasses

import pytest
from training_runs import PLAN, advance, same, squares, state_of, trainer

from bitsback.models.training import data
from bitsback.models.training import trainer as training


def test_held_out_rates_are_of_the_averages_and_change_nothing(monkeypatch):
    monkeypatch.setattr(training, "VALIDATE_EVERY", 12)
    plan = dataclasses.replace(PLAN, quantise_from=0.75)
    plain, watched = trainer(plan), trainer(plan)
    watched.held = data.TrainingImages((squares(60)[:9],), 8, sample=True)
    advance(plain, 24)
    advance(watched, 24)
    assert same(state_of(plain), state_of(watched))
    held = [record.get("held_out_bits_per_dim") for record in watched.history]
    assert [value is None for value in held] == [True, False, True, False]
    assert held[3] == pytest.approx(watched.validate(), abs=1e-5)
    for mean in watched.average:
        mean.add_(0.3)
    assert abs(watched.validate() - held[3]) > 0.01
