"""From a training run to a model folder: export, calibration, known answer, log."""

import json
from pathlib import Path

import torch

from bitsback.models import store
from bitsback.models.draw.integers import IntegerOps
from bitsback.sources.atomic_files import atomic_write

from .calibrate import calibrate
from .export import export
from .trainer import Trainer


def finish(trainer: Trainer, folder: Path) -> None:
    """Write the averaged parameters as a model that codes, with the log of its training.

    Raises:
        ModelError: the weights are not exact.
    """
    config = trainer.model
    tensors = export(config, trainer.averaged())
    ops = IntegerOps(config, tensors, torch.device("cpu"))
    store.save(folder, config, tensors, calibrate(config, ops, trainer.images))
    log = {
        "updates": trainer.update,
        "seconds": round(trainer.seconds, 1),
        "device": trainer.device.type,
        "reverted": trainer.reverted,
        "curve": trainer.history,
    }
    atomic_write(folder / "log.json", (json.dumps(log) + "\n").encode())
