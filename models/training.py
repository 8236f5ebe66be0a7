"""Training a conv DRAW: Adam, EMA, clipping, reverted loss spikes, resumable checkpoints.

Needs torch, NumPy and safetensors only, so that it runs on a bare GPU machine.

Source: section 4 of Towards Conceptual Compression (Adam, 5e-4; on a loss spike the parameters
go back to an older copy and training goes on).
"""

import contextlib
import dataclasses
import json
import math
import os
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bitsback.errors import InputError, ModelError

from . import loss
from .config import DrawConfig
from .data import Pictures
from .floats import DrawNetwork


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long and how a model is trained.

    Args:
        updates: optimiser steps in all.
        batch: pictures per step.
        learning_rate: Adam's, after warm-up, before the cosine decay to a twentieth.
        warmup: steps of linear warm-up.
        beta: weight of the likelihood in the objective (eq. 11).
        clip: largest global norm of the gradient.
        ema: decay of the averaged parameters, which are the ones exported.
        quantise_from: share of the updates after which the network runs on its integer grids.
        spike: a loss above this many standard deviations over its running mean is a spike.
        snapshot: steps between the copies to which a spike reverts.
        seed: of parameters, batches and latents.
    """

    updates: int
    batch: int = 32
    learning_rate: float = 5e-4
    warmup: int = 100
    beta: float = 1.0
    clip: float = 5.0
    ema: float = 0.998
    quantise_from: float = 0.8
    spike: float = 8.0
    snapshot: int = 200
    seed: int = 0


def read_config(path: Path) -> tuple[DrawConfig, TrainConfig]:
    """The [model] and [training] tables of a TOML file.

    Raises:
        InputError: the file is missing or not TOML.
        ModelError: a field is unknown or impossible.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not a TOML file: {error}") from error
    model = DrawConfig.from_dict(tables.get("model", {}))
    fields = tables.get("training", {})
    known = {field.name: field.type for field in dataclasses.fields(TrainConfig)}
    for name, value in fields.items():
        if name not in known:
            raise ModelError(f"{path}: unknown field {name!r} in [training]")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelError(f"{path}: field {name!r} in [training] is not a number")
    if "updates" not in fields or fields["updates"] < 1:
        raise ModelError(f"{path}: [training] needs 'updates', at least 1")
    return model, TrainConfig(**fields)


@dataclasses.dataclass(frozen=True)
class Progress:
    """What the trainer reports: where it is, and how well it codes."""

    update: int
    updates: int
    bits_per_dim: float
    kl_bits_per_dim: float
    pictures_per_second: float
    seconds_left: float


class Trainer:
    """Owns all state of a run: parameters, their average, Adam's moments, random streams."""

    def __init__(
        self, model: DrawConfig, train: TrainConfig, pictures: Pictures, device: str
    ) -> None:
        self.model, self.train, self.pictures = model, train, pictures
        self.device = torch.device(device)
        torch.manual_seed(train.seed)
        self.network = DrawNetwork(model, train.seed).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.params: list[Tensor] = list(self.network.parameters())
        self.average = [p.detach().clone() for p in self.params]
        self.adam = torch.optim.Adam(self.params, lr=train.learning_rate, betas=(0.9, 0.99))
        self.update = 0
        self.seconds = 0.0
        self.running = (0.0, 0.0, 0)  # mean, mean square, count of recent losses
        self.history: list[dict[str, float]] = []
        self.snapshots: list[list[Tensor]] = []
        self.reverted: list[int] = []

    def rate(self) -> float:
        """The learning rate of this update: linear warm-up, then cosine decay."""
        warm = min(1.0, (self.update + 1) / max(1, self.train.warmup))
        done = self.update / self.train.updates
        return (
            self.train.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
        )

    def one_update(self) -> tuple[float, float]:
        """One optimiser step; returns nats per picture, in all and of the latents alone."""
        train = self.train
        quantised = self.update >= train.quantise_from * train.updates
        levels = self.pictures.batch(train.batch, train.seed, self.update).to(self.device)
        autocast = (
            torch.autocast("cuda", torch.bfloat16)
            if self.device.type == "cuda" and not quantised
            else contextlib.nullcontext()
        )
        torch.manual_seed((train.seed << 32) + self.update)
        with autocast:
            found = loss.losses(self.network.ops(quantised), self.model, levels.float())
        kl, likelihood = found.kl.sum(0).mean(), found.likelihood.mean()
        total = (train.beta * likelihood + kl) / self.pictures.dims
        self.adam.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.params, train.clip)
        for group in self.adam.param_groups:
            group["lr"] = self.rate()
        value = float(total.detach())
        if self.is_spike(value):
            self.revert()
        else:
            self.adam.step()
            self.follow()
        self.update += 1
        return float(likelihood.detach() + kl.detach()), float(kl.detach())

    def is_spike(self, value: float) -> bool:
        """Whether the loss jumped; keeps the running statistics and the older parameters."""
        mean, square, count = self.running
        deviation = math.sqrt(max(square - mean * mean, 1e-12))
        jumped = count > 50 and value > mean + max(self.train.spike * deviation, 0.2 * mean)
        if not math.isfinite(value) or jumped:
            return True
        keep = 0.99 if count > 100 else count / (count + 1)
        self.running = (
            keep * mean + (1 - keep) * value,
            keep * square + (1 - keep) * value * value,
            count + 1,
        )
        if self.update % self.train.snapshot == 0:
            self.snapshots = [*self.snapshots[-1:], [p.detach().clone() for p in self.params]]
        return False

    def revert(self) -> None:
        """Back to the older of two kept copies, so that the jump is not in it."""
        if not self.snapshots:
            raise ModelError("the loss is not finite from the first step: lower learning_rate")
        with torch.no_grad():
            for p, older in zip(self.params, self.snapshots[0], strict=True):
                p.copy_(older)
        self.adam.state.clear()
        self.running = (0.0, 0.0, 0)
        self.reverted.append(self.update)

    def follow(self) -> None:
        """Move the averaged parameters towards the present ones."""
        decay = min(self.train.ema, (1 + self.update) / (10 + self.update))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.params, 1 - decay)

    def run(self, seconds: float | None = None, log_every: int = 50) -> Iterator[Progress]:
        """Train until done or until `seconds` have passed, reporting as it goes."""
        began, first = time.monotonic(), self.update
        nats: list[tuple[float, float]] = []
        to_bits = 1 / math.log(2) / self.pictures.dims
        while self.update < self.train.updates:
            nats.append(self.one_update())
            spent = time.monotonic() - began
            speed = (self.update - first) / spent
            late = seconds is not None and spent >= seconds
            if self.update % log_every == 0 or late or self.update == self.train.updates:
                total, kl = (float(v) for v in np.mean(nats, 0))
                nats.clear()
                progress = Progress(
                    self.update,
                    self.train.updates,
                    total * to_bits,
                    kl * to_bits,
                    speed * self.train.batch,
                    (self.train.updates - self.update) / speed,
                )
                self.history.append(
                    {
                        "update": self.update,
                        "seconds": round(self.seconds + spent, 1),
                        "nats": round(total, 4),
                        "kl_nats": round(kl, 4),
                        "bits_per_dim": round(total * to_bits, 5),
                    }
                )
                yield progress
            if late:
                break
        self.seconds += time.monotonic() - began

    def averaged(self) -> dict[str, Tensor]:
        """The averaged parameters by name: the ones to export."""
        names = list(self.network.named())
        return {name: value.cpu() for name, value in zip(names, self.average, strict=True)}

    def save(self, folder: Path) -> None:
        """Write a checkpoint from which `load` continues to the same result."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        names = list(self.network.named())
        for name, p, mean in zip(names, self.params, self.average, strict=True):
            tensors[f"now/{name}"] = p.detach().cpu()
            tensors[f"average/{name}"] = mean.cpu()
            for key, value in self.adam.state.get(p, {}).items():
                tensors[f"adam/{key}/{name}"] = torch.as_tensor(value).cpu()
            for i, snapshot in enumerate(self.snapshots):
                tensors[f"older/{i}/{name}"] = snapshot[names.index(name)].cpu()
        tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
        state = {
            "model": self.model.to_dict(),
            "training": dataclasses.asdict(self.train),
            "update": self.update,
            "seconds": self.seconds,
            "running": self.running,
            "history": self.history,
            "reverted": self.reverted,
            "device": self.device.type,
        }
        _replace(folder / "checkpoint.safetensors", lambda path: save_file(tensors, path))
        _replace(folder / "log.json", lambda path: path.write_text(json.dumps(state)))

    def load(self, folder: Path) -> None:
        """Continue from a checkpoint written by `save`.

        Raises:
            ModelError: the checkpoint is of another configuration.
        """
        state: dict[str, Any] = json.loads((folder / "log.json").read_text())
        if state["model"] != self.model.to_dict():
            raise ModelError(f"{folder}: the checkpoint is of another configuration")
        tensors = load_file(folder / "checkpoint.safetensors", device=str(self.device))
        names = list(self.network.named())
        kept = sorted({name.split("/")[1] for name in tensors if name.startswith("older/")})
        with torch.no_grad():
            for name, p, mean in zip(names, self.params, self.average, strict=True):
                p.copy_(tensors[f"now/{name}"])
                mean.copy_(tensors[f"average/{name}"])
                keys = [
                    k for k in ("step", "exp_avg", "exp_avg_sq") if f"adam/{k}/{name}" in tensors
                ]
                if keys:
                    self.adam.state[p] = {key: tensors[f"adam/{key}/{name}"] for key in keys}
                    self.adam.state[p]["step"] = self.adam.state[p]["step"].cpu()
        self.snapshots = [[tensors[f"older/{i}/{name}"] for name in names] for i in kept]
        self.update, self.seconds = state["update"], state["seconds"]
        self.running = tuple(state["running"])
        self.history, self.reverted = state["history"], state["reverted"]


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    os.replace(temporary, path)
