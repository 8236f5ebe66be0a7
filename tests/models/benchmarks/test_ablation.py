"""Changes of a configuration are trained one after another, each with its own schedule."""

import json
import sys

import numpy as np
import pytest
from conftest import SMALL

from bitsback.errors import InputError, ModelError
from bitsback.models.benchmarks import ablation
from bitsback.models.training.plan import TrainConfig

CONFIG = """
[model]
channels = 1
likelihood = "logistic"
steps = 1
maps = 4
tile = 8
[training]
updates = 5
batch = 4
learning_rate = 1e-2
bf16 = false
"""


def test_fields_are_set_wherever_they_belong():
    model, plan = ablation.changed(
        SMALL, TrainConfig(updates=5), "maps=7 likelihood=gaussian learning_rate=2e-3 bf16=false"
    )
    assert (model.maps, model.likelihood, model.steps) == (7, "gaussian", SMALL.steps)
    assert (plan.learning_rate, plan.bf16, plan.updates) == (2e-3, False, 5)
    assert ablation.changed(SMALL, plan, "") == (SMALL, plan)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("nothing=3", InputError),
        ("maps=0", ModelError),
        ("maps", ModelError),
        ("ema=2", ModelError),
    ],
)
def test_impossible_changes_are_refused(change, error):
    with pytest.raises(error):
        ablation.changed(SMALL, TrainConfig(updates=5), change)


@pytest.mark.parametrize(("seconds", "fits"), [(100.0, 50), (9.0, 4), (0.5, 1)])
def test_as_many_updates_fit_as_the_speed_after_the_first_two_lets(seconds, fits):
    now, costs = 0.0, [70.0, 30.0] + [2.0] * 8

    def update():
        nonlocal now
        now += costs.pop(0)

    assert ablation.updates_that_fit(update, seconds, lambda: now) == fits
    assert costs == []


def test_a_table_has_a_row_for_the_configuration_and_each_change(tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    ramps = (np.arange(8) * 20 + random.integers(0, 9, (100, 8, 8))).astype(np.uint8)
    np.save(tmp_path / "x.npy", ramps)
    (tmp_path / "c.toml").write_text(CONFIG)
    words = [tmp_path / "c.toml", "--data", tmp_path / "x.npy", "--seconds", "0.5"]
    words += ["--change", "maps=6", "--device", "cpu", "--log", tmp_path / "log.json"]
    monkeypatch.setattr(sys, "argv", ["ablation", *map(str, words)])
    room = {0.5: 45}
    monkeypatch.setattr(ablation, "updates_that_fit", lambda update, seconds: room[seconds])
    ablation.main()
    rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["none", "maps=6"]
    assert int(rows[1][1]) > int(rows[0][1])
    assert all(int(row[2]) == 45 and 2 < float(row[3]) < 14 for row in rows)
    logged = json.loads((tmp_path / "log.json").read_text())
    assert [row["change"] for row in logged] == ["", "maps=6"]
    for row, shown in zip(logged, rows, strict=True):
        assert row["updates"] == int(shown[2]) == row["curve"][-1]["update"]
        assert row["curve"][-1]["held_out_bits_per_dim"] == pytest.approx(row["held_out"], abs=1e-4)
        assert len(row["curve"]) == 45
    np.save(tmp_path / "x.npy", ramps[:40])
    with pytest.raises(SystemExit) as stop:
        ablation.main()
    assert stop.value.code == 2
    assert "50 images" in capsys.readouterr().err
