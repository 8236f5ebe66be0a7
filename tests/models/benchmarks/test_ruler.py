"""The ruler's densities are those of torch, its estimate is nearer than its bound, it learns."""

import json
import sys

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from bitsback.models.benchmarks import ruler


def blobs(count, seed):
    """Grey levels of a bar at one of eight places, (count, 8, 8)."""
    random = np.random.default_rng(seed)
    levels = np.full((count, 8, 8), 13, np.uint8)
    levels[np.arange(count), random.integers(0, 8, count)] = 242
    return levels


def test_the_log_density_is_that_of_torch():
    z, mean, log_variance = torch.randn((3, 5, 7), generator=torch.Generator().manual_seed(0))
    wanted = Normal(mean, (0.5 * log_variance).exp()).log_prob(z).sum(-1)
    assert torch.allclose(ruler.log_normal(z, mean, log_variance), wanted, atol=1e-5)


def test_the_schedule_is_the_papers():
    rates = ruler.epochs_of(8)
    assert len(rates) == 3280
    assert rates[0] == 1e-3
    assert rates[1:4] == [1e-3 * 10 ** (-1 / 7)] * 3
    assert rates[-1] == pytest.approx(1e-4)


def test_it_learns_and_its_estimate_is_below_its_bound(monkeypatch):
    monkeypatch.setattr(ruler, "HELD_OUT", 100)
    levels, fresh = blobs(1100, 0), blobs(200, 1)
    test = (np.random.default_rng(2).random(fresh.shape) * 255 < fresh).astype(np.uint8)
    first = ruler.measure(levels, test, 1, 1e9, 50, 200)
    later = ruler.measure(levels, test, 4, 1e9, 50, 200)
    assert (first.epochs, later.epochs) == (1, 40)
    assert later.bound < first.bound - 1
    assert later.estimate < later.bound
    ink = 13 / 255
    entropy = -64 * (ink * np.log(ink) + (1 - ink) * np.log(1 - ink)) + np.log(8)
    assert later.estimate > entropy - 1.5


def test_training_stops_after_its_time():
    assert ruler.train(blobs(2000, 0).reshape(2000, -1), 8, 0.0)[1] == 1


def test_the_command_prints_json_and_refuses_other_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ruler, "HELD_OUT", 10)
    levels = blobs(100, 0)
    np.savez(tmp_path / "x.npz", train=levels, test_binary=levels // 128)
    words = ["--stages", "1", "--images", "3", "--samples", "4"]
    monkeypatch.setattr(sys, "argv", ["ruler", "--data", str(tmp_path / "x.npz"), *words])
    ruler.main()
    assert json.loads(capsys.readouterr().out)["estimated"] == 3
    np.savez(tmp_path / "x.npz", train=levels)
    with pytest.raises(SystemExit) as stop:
        ruler.main()
    assert stop.value.code == 2
    assert "test_binary" in capsys.readouterr().err
