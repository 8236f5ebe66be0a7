import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from bitsback.ans import compiled
from bitsback.ans.message import Message
from bitsback.cli import main
from bitsback.coding.model import Likelihood, LoadedModel
from bitsback.models import store
from bitsback.models.draw import equations
from bitsback.models.draw.config import DrawConfig
from bitsback.models.training import export
from bitsback.models.training.network import DrawNetwork

# Tiny tensors lose more to waiting threads than they gain.
torch.set_num_threads(1)

# No test fails because the machine is busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent

# Real data lie in the folder BITSBACK_DATA, or in shared/data beside the checkout.
DATA = Path(os.environ.get("BITSBACK_DATA", ROOT.parent / "shared" / "data")).resolve()

SMALL = DrawConfig(
    channels=1, likelihood="bernoulli", steps=2, maps=4, latents=2, stride=2, tile=8, batch=2
)


def real_data(name: str, array: str) -> np.ndarray:
    """An array of a real data set; skips the test where the set is absent."""
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not in {DATA}: set BITSBACK_DATA to the folder that holds it")
    with np.load(DATA / name, allow_pickle=False) as arrays:
        return arrays[array]


def random_model(config: DrawConfig, seed: int = 0, nil: bool = False):
    """Integer tensors and grids of an untrained model."""
    tensors = export.export(config, DrawNetwork(config, seed).named())
    widths = [
        np.zeros(config.latents2 if group.layer == 2 else config.latents, np.int64)
        for group in equations.groups(config)
    ]
    if nil:
        widths[0][0] = 127
    return tensors, widths


def code_length(likelihood: Likelihood, x: np.ndarray) -> np.ndarray:
    """Bits of every image, (B,), as pushing them tells."""
    return likelihood.push(Message.empty(4), x)


@pytest.fixture
def build_model(tmp_path: Path):
    """Build, save and load an untrained model with some fields of its configuration changed."""

    def build(**changes) -> LoadedModel:
        config = dataclasses.replace(SMALL, **changes)
        tensors, widths = random_model(config)
        store.save(tmp_path / "model", config, tensors, widths)
        return store.load(str(tmp_path / "model"), "cpu")

    return build


@pytest.fixture(scope="module")
def colour(tmp_path_factory):
    """An untrained model, to which pixels are worth far more than they are."""
    config = dataclasses.replace(SMALL, channels=3, likelihood="logistic", mixtures=2)
    folder = tmp_path_factory.mktemp("colour") / "model"
    store.save(folder, config, *random_model(config))
    return store.load(str(folder), "cpu")


@pytest.fixture(scope="module", params=["loops", "numpy"])
def either_way(request):
    """A module's tests, with the compiled loops and with NumPy alone."""
    if request.param == "loops" and compiled.loops("ans") is None:
        pytest.skip("numba is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "enabled", request.param == "loops")
        yield


def run(monkeypatch, capsys, *words):
    """A command's exit code, and what it wrote to standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["bitsback", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        main()
    captured = capsys.readouterr()
    return exit_.value.code or 0, captured.out, captured.err
