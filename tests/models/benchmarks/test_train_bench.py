"""The speed of training is told with the work it is, and bad input is one sentence."""

import re
import sys

import numpy as np
import pytest
import torch

from bitsback.models.benchmarks import train_bench

CONFIG = """
[model]
channels = 1
likelihood = "bernoulli"
steps = 1
maps = 4
tile = 8
[training]
updates = 5
batch = BATCH
bf16 = false
"""


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setattr(train_bench, "_SIDE", 64)
    np.save(tmp_path / "x.npy", np.zeros((9, 8, 8), np.uint8))
    (tmp_path / "c.toml").write_text(CONFIG.replace("BATCH", "4"))
    return tmp_path / "c.toml", [tmp_path / "x.npy"]


def test_the_work_of_an_update_is_that_of_its_convolutions(words):
    four = train_bench.measure(*words, "cpu")
    words[0].write_text(CONFIG.replace("BATCH", "8"))
    eight = train_bench.measure(*words, "cpu")
    assert eight.flops == 2 * four.flops
    # Of the encoder alone: 16 gates of 16 inputs and 9 weights at 16 places, forwards.
    assert four.flops > 4 * 2 * 16 * 16 * 9 * 16
    assert four.images == pytest.approx(4 / four.seconds)
    assert four.share == pytest.approx(four.flops / four.seconds / four.peak)


def test_one_line_is_printed_and_bad_input_named(words, monkeypatch, capsys):
    config, (images,) = words
    line = ["train_bench", str(config), "--data", str(images), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", line)
    train_bench.main()
    said = capsys.readouterr().out
    threads = torch.get_num_threads()
    assert re.fullmatch(
        rf"[\d.]+ s an update, \d+ images/s, \d+ GFLOP/s: \d+ % of \d+ \({threads} threads\)\n",
        said,
    )
    images.unlink()
    with pytest.raises(SystemExit) as stop:
        train_bench.main()
    assert stop.value.code == 2
    assert "no such file" in capsys.readouterr().err
