"""Weight normalisation and dropout change the training and not the model."""

import dataclasses
import math

import pytest
import torch
from conftest import SMALL
from training_runs import PLAN, squares, trainer

from bitsback.models.draw import floats
from bitsback.models.training import data, network


def test_weight_normalisation_changes_the_way_and_not_the_model():
    plain, normal = trainer(), trainer(dataclasses.replace(PLAN, weight_norm=True))
    assert len(normal.params) > len(plain.params)
    before = plain.averaged()
    for name, value in normal.averaged().items():
        assert torch.allclose(value, before[name], atol=1e-6)
    params = normal.network.named()
    with torch.no_grad():
        params["dec1/h"] *= 3.0  # a direction's length means nothing
        params["gain/dec1/h"] *= 2.0
    joined = network.join_gains(params)
    assert joined.keys() == before.keys()
    assert torch.allclose(joined["dec1/h"], 2.0 * before["dec1/h"], atol=1e-6)
    first, *_ = [normal.one_update()[0] for _ in range(24)]
    assert normal.one_update()[0] < first
    held = data.TrainingImages((squares(300),), SMALL.tile, sample=True)
    normal.held = held
    assert math.isfinite(normal.validate() or math.nan)


def test_a_normalised_run_starts_from_the_weights_of_a_plain_one():
    config = dataclasses.replace(SMALL, passes=4)
    weights = {k: v * 0.5 for k, v in trainer(config=config).averaged().items()}
    deeper = dataclasses.replace(config, blocks=1)
    run = trainer(dataclasses.replace(PLAN, weight_norm=True), deeper)
    run.begin(weights)
    found = run.averaged()
    assert all(torch.allclose(found[name], value, atol=1e-6) for name, value in weights.items())
    assert not found["outer1_1/h"].any()
    run.one_update()
    assert all(bool(torch.isfinite(p).all()) for p in run.params)
    assert run.network.named()["gain/outer1_1/h"].any()


def test_dropout_silences_a_share_of_the_hidden_maps_in_training_alone():
    params = floats.parameters(SMALL, torch.Generator().manual_seed(0))
    gates, cell = torch.full((1, 16, 40, 40), 1.0), torch.ones(1, 4, 40, 40)
    whole, _ = floats.FloatOps(SMALL, params).lstm(gates, cell)
    torch.manual_seed(0)
    dropped, kept = floats.FloatOps(SMALL, params, dropout=0.25).lstm(gates, cell)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float(dropped.max()) == pytest.approx(float(whole.max()) / 0.75)
    assert bool((kept != 0).all())
    asked = []
    run = trainer(dataclasses.replace(PLAN, dropout=0.25))
    real = run.network.ops
    run.network.ops = lambda *words: asked.append(words) or real(*words)
    run.one_update()
    assert asked == [(False, 0.25, floats.WHOLE)]
