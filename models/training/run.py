"""A whole training run in a folder: resumed if it was cut, a model folder when it ends."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from bitsback.errors import InputError
from bitsback.models import engine, store
from bitsback.models.draw.integers import IntegerOps
from bitsback.sources.atomic_files import atomic_write

from . import checkpoint, data, distributed, export, plan
from .calibrate import calibrate
from .trainer import Trainer, TrainingProgress

SAVE_SECONDS = 30.0
_log = logging.getLogger(__name__)


def run(
    config: Path,
    inputs: list[Path],
    output: Path,
    device: str = "auto",
    seconds: float | None = None,
    start: Path | None = None,
) -> Iterator[TrainingProgress]:
    """Train the model of a TOML file; yields where it is, every 50 updates.

    Processes that torchrun started together each take a part. The first one writes all files and
    raises what any of them does; the others yield nothing.

    Args:
        config: TOML with [model] and [training].
        inputs: training images (see `data.load`).
        output: the model folder; its `checkpoint` holds the state and metrics of the run, and is
            continued from if it is there.
        device: "auto", "cpu" or "cuda".
        start: a model folder whose parameters a fresh run starts from, as far as they are of the
            same names and shapes; the checkpoint, if there is one, is what counts.
        seconds: stop after this long, and export what has been reached; a later run goes on.

    Raises:
        InputError: the configuration or the images cannot be read.
        ModelError: the configuration is impossible, also for so many processes, or the checkpoint
            is not its own.
    """
    if seconds is not None and not seconds >= 0:
        raise InputError(f"a run stops after 0 seconds or more, not {seconds}")
    folder = output / "checkpoint"

    def prepare() -> Trainer:
        model, schedule = plan.read_config(config)
        images, held_out = data.load(inputs, model).parts()
        where = distributed.own(engine.device_of(device), part)
        trainer = Trainer(model, schedule, images, str(where), held_out, part)
        if checkpoint.exists(folder):
            checkpoint.load(trainer, folder)
        elif start is not None:
            manifest, tensors = store.read(start)
            trainer.begin(export.restore(manifest.config, tensors))
        _log.info(
            "%s parameters on %s, %d images and %d held out; from update %d of %d, batches of %d",
            f"{sum(each.numel() for each in trainer.params):,}",
            trainer.device,
            sum(map(len, images.arrays)),
            0 if held_out is None else sum(map(len, held_out.arrays)),
            trainer.update,
            schedule.updates,
            trainer.batch,
        )
        return trainer

    with distributed.joined() as part:
        trainer = distributed.together(prepare, part)
        saved = time.monotonic()
        for progress in trainer.run(seconds):
            if distributed.told(time.monotonic() - saved >= SAVE_SECONDS, part):
                distributed.by_first(lambda: checkpoint.save(trainer, folder), part)
                saved = time.monotonic()
            if part.first:
                yield progress
        distributed.by_first(lambda: checkpoint.save(trainer, folder), part)
        distributed.by_first(lambda: finish(trainer, output), part)


def finish(trainer: Trainer, folder: Path) -> None:
    """Write the averaged parameters as a model that codes, with the log of its training.

    Raises:
        ModelError: the weights are not exact.
    """
    config = trainer.model
    tensors = export.export(config, trainer.averaged())
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
