"""The bench of the network compares the same network in two arithmetics."""

import re
import sys

import numpy as np
import pytest
import torch
from conftest import SMALL

from bitsback.models import store
from bitsback.models.benchmarks import network_bench
from bitsback.models.draw import equations
from bitsback.models.draw.floats import FloatOps, parameters
from bitsback.tables import pixels


@pytest.mark.parametrize("name", store.names())
def test_the_float_peer_gives_the_numbers_of_the_trained_floats(name):
    config = store.read(store.folder_of(name))[0].config
    params = parameters(config, torch.Generator().manual_seed(1))
    random = torch.Generator().manual_seed(2)
    shape = (2, config.channels, config.tile, config.tile)
    levels = torch.randint(0, 2, shape, generator=random).float()
    noise = [torch.randn(z, generator=random) for z in network_bench.shapes(config, levels.numpy())]
    with torch.no_grad():
        wanted = network_bench.float_pass(FloatOps(config, params), config, levels, noise)
        for form in network_bench.LAYOUTS.values():
            ops = network_bench.Bare(config, params, form)
            found = network_bench.float_pass(ops, config, levels, noise)
            assert torch.allclose(found, wanted, atol=1e-3)
    assert len(wanted.unique()) > 100


def test_the_integer_pass_goes_through_the_whole_model():
    loaded = store.load("omniglot", "cpu")
    x = np.zeros((2, 1, 28, 28), np.uint8)
    random = np.random.default_rng(0)
    latents = [
        random.integers(-64, 65, shape) for shape in network_bench.shapes(loaded.model.config, x)
    ]
    found = network_bench.integer_pass(loaded.model, x, latents)
    state = loaded.model.start(2, 28, 28)
    for index, z in enumerate(latents):
        state = loaded.model.step(index, state, z)
    model = loaded.model
    for where in model.passes[:-1]:
        state = model.reveal(state, x[:, :, *where])
    assert isinstance(found, pixels.Bernoulli)
    assert np.array_equal(found.logits, loaded.model.likelihood(state, False).logits)


def test_the_parts_of_a_run_sum_to_it():
    params = parameters(SMALL, torch.Generator().manual_seed(1))
    ops = FloatOps(SMALL, params)

    def run():
        state = equations.start(ops, SMALL, 2, 8, 8)
        return equations.step(
            ops, SMALL, equations.groups(SMALL)[0], state, torch.zeros(2, 2, 4, 4)
        )

    parts = network_bench.breakdown(ops, run)
    convolutions, cells = "convolutions", "cells of the LSTMs"
    assert set(parts) == {convolutions, "rounding of accumulators", cells, network_bench.REST}
    assert all(seconds > 0 for seconds in parts.values())
    assert "finish" not in vars(ops)


def test_it_prints_both_rates_their_ratio_and_the_parts(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(network_bench, "ROUNDS", 1)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    images = np.random.default_rng(0).integers(0, 256, (3, 30, 30)).astype(np.uint8)
    np.save(tmp_path / "x.npy", images)
    words = ["network_bench", "--model", "mnist", "--data", str(tmp_path / "x.npy"), "--batch", "3"]
    monkeypatch.setattr(sys, "argv", words)
    network_bench.main()
    printed = capsys.readouterr().out
    assert printed.startswith("3 images of 1 x 28 x 28")
    floats, integers = (float(rate) for rate in re.findall(r"([\d.]+) images/s", printed))
    ratio = float(re.search(r"ratio: ([\d.]+)", printed).group(1))
    assert ratio == pytest.approx(integers / floats, rel=0.01)
    for kind in network_bench.PARTS.values():
        assert kind in printed
    floats, integers = (float(rate) for rate in re.findall(r"network (\d+\.\d{5})", printed))
    assert floats == pytest.approx(integers, rel=0.05)
    assert floats != integers


def test_an_unknown_model_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(sys, "argv", ["network_bench", "--model", "nowhere"])
    with pytest.raises(SystemExit) as stopped:
        network_bench.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
