"""Checkpoints: all state of a training run in two files of a folder.

`checkpoint.safetensors` has the tensors, `log.json` the rest and a digest of both.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from bitsback.errors import ModelError
from bitsback.sources.atomic_files import atomic_write

from .trainer import Trainer


def exists(folder: Path) -> bool:
    """Whether a run has left its state in this folder."""
    return (folder / "log.json").exists()


def save(trainer: Trainer, folder: Path) -> None:
    """Write a checkpoint from which `load` continues to the same result."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    names = list(trainer.network.named())
    for name, p, mean in zip(names, trainer.params, trainer.average, strict=True):
        tensors[f"now/{name}"] = p.detach()
        tensors[f"average/{name}"] = mean
        for kind, optimiser in trainer.optimisers.items():
            for key, value in optimiser.state.get(p, {}).items():
                tensors[f"{kind}/{key}/{name}"] = torch.as_tensor(value)
    for i, snapshot in enumerate(trainer.snapshots):
        for j, name in enumerate(names):
            tensors[f"older/{i}/{name}"] = snapshot[j]
            tensors[f"older_average/{i}/{name}"] = snapshot[len(names) + j]
    data = safetensors.torch.save(
        {name: value.cpu().contiguous().clone() for name, value in tensors.items()}
    )
    state = {
        "model": trainer.model.to_dict(),
        "training": dataclasses.asdict(trainer.train),
        "update": trainer.update,
        "seconds": trainer.seconds,
        "running": trainer.running,
        "history": trainer.history,
        "reverted": trainer.reverted,
        "device": trainer.device.type,
    }
    state["sha256"] = _digest(state, data)
    atomic_write(folder / "checkpoint.safetensors", data)
    atomic_write(folder / "log.json", json.dumps(state).encode())


def load(trainer: Trainer, folder: Path) -> None:
    """Continue from a checkpoint written by `save`.

    Raises:
        ModelError: the checkpoint is missing, damaged, or of another configuration.
    """
    damaged = f"{folder}: log.json or checkpoint.safetensors is damaged"
    try:
        state: dict[str, Any] = json.loads((folder / "log.json").read_bytes())
        data = (folder / "checkpoint.safetensors").read_bytes()
        tensors = safetensors.torch.load(data)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error.strerror}") from error
    except (ValueError, safetensors.SafetensorError) as error:
        raise ModelError(damaged) from error
    if not isinstance(state, dict):
        raise ModelError(damaged)
    # Checkpoints that were written before there was a digest have none.
    recorded = state.pop("sha256", None)
    if recorded is not None and recorded != _digest(state, data):
        raise ModelError(damaged)
    if state.get("model") != trainer.model.to_dict():
        raise ModelError(f"{folder}: the checkpoint is of another configuration")
    try:
        _restore(trainer, state, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(damaged) from error


def _restore(trainer: Trainer, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    def take(name: str, like: Tensor) -> Tensor:
        if tensors[name].shape != like.shape:
            raise ValueError(name)
        # In the layout of `like`, channels last, which files do not keep.
        return torch.empty_like(like).copy_(tensors[name])

    names = list(trainer.network.named())
    kept = sorted({name.split("/")[1] for name in tensors if name.startswith("older/")})
    for optimiser in trainer.optimisers.values():
        optimiser.state.clear()
    trainer.snapshots = [[] for _ in kept]
    with torch.no_grad():
        for name, p, mean in zip(names, trainer.params, trainer.average, strict=True):
            p.copy_(take(f"now/{name}", p))
            mean.copy_(take(f"average/{name}", p))
            if f"adam/step/{name}" in tensors:
                trainer.optimisers["adam"].state[p] = {
                    "step": tensors[f"adam/step/{name}"],
                    "exp_avg": take(f"adam/exp_avg/{name}", p),
                    "exp_avg_sq": take(f"adam/exp_avg_sq/{name}", p),
                }
            if f"muon/mean/{name}" in tensors:
                trainer.optimisers["muon"].state[p] = {"mean": take(f"muon/mean/{name}", p)}
        for i, copies in zip(kept, trainer.snapshots, strict=True):
            copies += [
                take(f"older/{i}/{n}", p) for n, p in zip(names, trainer.params, strict=True)
            ]
            for name, mean in zip(names, trainer.average, strict=True):
                # Early checkpoints kept no older averages.
                older = f"older_average/{i}/{name}"
                copies.append(take(older if older in tensors else f"average/{name}", mean))
    trainer.update, trainer.seconds = int(state["update"]), float(state["seconds"])
    mean_loss, square, count = state["running"]
    trainer.running = (mean_loss, square, count)
    trainer.history, trainer.reverted = list(state["history"]), list(state["reverted"])


def _digest(state: dict[str, Any], data: bytes) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode() + data).hexdigest()
