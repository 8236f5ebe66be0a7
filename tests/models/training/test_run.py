"""A run needs few libraries, and starts from another model where it is told to."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import SMALL
from training_runs import advance, squares, trainer

from bitsback.errors import ModelError
from bitsback.models import store
from bitsback.models.training import export
from bitsback.models.training import run as run_module


def test_training_needs_no_more_than_torch_numpy_and_safetensors(tmp_path):
    np.save(tmp_path / "a.npy", squares())
    code = f"""
import sys
for name in ("typer", "rich", "scipy", "PIL", "click", "skimage", "imagecodecs", "constriction"):
    sys.modules[name] = None
from pathlib import Path
from bitsback.models.draw import config
from bitsback.models.training import checkpoint, data, plan, trainer
model = config.DrawConfig(**{SMALL.to_dict()!r})
images = data.load([Path({str(tmp_path / "a.npy")!r})], model)
run = trainer.Trainer(model, plan.TrainConfig(updates=1, batch=2), images, "cpu")
print([progress.update for progress in run.run()])
checkpoint.save(run, Path({str(tmp_path / "checkpoint")!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "[1]\n"
    assert (tmp_path / "checkpoint" / "log.json").exists()


def test_a_run_starts_from_the_parameters_of_a_model_as_far_as_they_are_alike(tmp_path):
    run = trainer()
    advance(run, 12)
    tensors = export.export(SMALL, run.averaged())
    restored = export.restore(SMALL, tensors)
    for name, value in export.export(SMALL, restored).items():
        assert np.array_equal(value, tensors[name])
    for name, value in run.averaged().items():
        assert torch.allclose(restored[name], value, atol=2e-3)
    wider = trainer(config=dataclasses.replace(SMALL, passes=4, blocks=1))
    fresh = wider.network.named()["seen1/h"].detach().clone()
    wider.begin(restored)
    assert torch.equal(wider.network.named()["dec1/h"], restored["dec1/h"])
    assert torch.equal(wider.averaged()["init/r"], restored["init/r"])
    assert torch.equal(wider.network.named()["seen1/h"], fresh)
    for block in (wider.network.named(), wider.averaged()):  # it begins as nothing
        assert not block["outer1_1/h"].any()
        assert block["inner1_1/h"].any()
    with pytest.raises(ModelError, match="in common"):
        wider.begin({"dec1/h": torch.zeros(1)})
    store.save(tmp_path / "m", SMALL, tensors, [np.zeros(2, np.int64)] * 2)
    np.save(tmp_path / "x.npy", squares())
    (tmp_path / "c.toml").write_text(
        '[model]\nchannels = 1\nlikelihood = "bernoulli"\nsteps = 2\nmaps = 4\nlatents = 2\n'
        "tile = 8\nbatch = 2\npasses = 4\n[training]\nupdates = 2\nlearning_rate = 1e-9\n"
    )
    words = (tmp_path / "c.toml", [tmp_path / "x.npy"], tmp_path / "out", "cpu", None)
    list(run_module.run(*words, tmp_path / "m"))
    manifest, found = store.read(tmp_path / "out")
    assert manifest.config.passes == 4
    assert np.abs(found["dec1/h"].astype(int) - tensors["dec1/h"]).max() <= 1
