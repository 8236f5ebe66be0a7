"""Small training runs, and what spoils them, for the tests of this folder."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from conftest import SMALL

from bitsback.models.draw.config import DrawConfig
from bitsback.models.training import data
from bitsback.models.training import losses as loss
from bitsback.models.training.checkpoint import load, save
from bitsback.models.training.plan import TrainConfig
from bitsback.models.training.trainer import Trainer

GREY = dataclasses.replace(SMALL, likelihood="logistic", mixtures=2)
COLOUR = dataclasses.replace(SMALL, channels=3, likelihood="gaussian")
PLAN = TrainConfig(updates=24, batch=4, learning_rate=5e-3, warmup=4, snapshot=5, bf16=False)


def squares(count: int = 64, side: int = 12) -> np.ndarray:
    """Bright squares on a dark ground, uint8 (count, side, side, 1)."""
    random = np.random.default_rng(7)
    found = np.zeros((count, side, side, 1), np.uint8)
    for image in found:
        top, left = random.integers(0, side - 4, 2)
        image[top : top + 4, left : left + 4] = 255
    return found


def trainer(plan: TrainConfig = PLAN, config: DrawConfig = SMALL) -> Trainer:
    binary = config.likelihood == "bernoulli"
    images = data.TrainingImages((squares(),), config.tile, sample=binary)
    return Trainer(config, plan, images, "cpu")


def state_of(run: Trainer) -> list[torch.Tensor]:
    """All tensors of a run: parameters, averages, moments and older copies."""
    moments = [
        v
        for optimiser in run.optimisers.values()
        for p in run.params
        for _, v in sorted(optimiser.state.get(p, {}).items())
    ]
    older = [copy for copies in run.snapshots for copy in copies]
    return [p.detach() for p in run.params] + run.average + moments + older


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for a, b in zip(first, second, strict=True)
    )


def finite(tensors: list[torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors)


def advance(run: Trainer, updates: int) -> None:
    """Train up to `updates`, with a report every 6."""
    for progress in run.run(log_every=6):
        if progress.update == updates:
            break


def spoil(monkeypatch, at: set[int], run: Trainer, change) -> None:
    """Let `change` have the losses of the updates `at`."""
    honest = loss.losses

    def losses(*args):
        found = honest(*args)
        return change(found) if run.update in at else found

    monkeypatch.setattr(loss, "losses", losses)


def times(factor: float):
    """Multiply the likelihood of the losses."""
    return lambda found: dataclasses.replace(found, likelihood=found.likelihood * factor)


def resumed(folder: Path, plan: TrainConfig, config: DrawConfig) -> tuple[Trainer, Trainer]:
    """A whole run, and one that was saved and loaded halfway, which was the same at that moment."""
    whole, first, second = (trainer(plan, config) for _ in range(3))
    advance(whole, 24)
    advance(first, 12)
    save(first, folder)
    load(second, folder)
    assert same(state_of(second), state_of(first))
    assert (second.update, second.running, second.seconds) == (12, first.running, first.seconds)
    advance(second, 24)
    assert same(state_of(second), state_of(whole))
    return whole, second
