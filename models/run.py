"""A whole training run in a folder: resumed if it was cut, a model folder when it ends."""

import time
from collections.abc import Iterator
from pathlib import Path

from . import data, engine, export, finish, plan, store, training

SAVE_SECONDS = 30.0


def run(
    config: Path,
    inputs: list[Path],
    output: Path,
    device: str = "auto",
    seconds: float | None = None,
    start: Path | None = None,
) -> Iterator[training.Progress]:
    """Train the model of a TOML file; yields where it is, every 50 updates.

    Args:
        config: TOML with [model] and [training].
        inputs: training pictures (see `data.load`).
        output: the model folder; its `checkpoint` holds the state and metrics of the run, and is
            continued from if it is there.
        device: "auto", "cpu" or "cuda".
        start: a model folder whose parameters a fresh run starts from, as far as they are of the
            same names and shapes; the checkpoint, if there is one, is what counts.
        seconds: stop after this long, and export what has been reached; a later run goes on.

    Raises:
        InputError: the configuration or the pictures cannot be read.
        ModelError: the configuration is impossible, or the checkpoint is not its own.
    """
    model, schedule = plan.read_config(config)
    pictures, held = data.load(inputs, model).parts()
    trainer = training.Trainer(model, schedule, pictures, str(engine.device_of(device)), held)
    checkpoint = output / "checkpoint"
    if (checkpoint / "log.json").exists():
        trainer.load(checkpoint)
    elif start is not None:
        config_of, tensors, _, _ = store.read(start)
        trainer.begin(export.restore(config_of, tensors))
    saved = time.monotonic()
    for progress in trainer.run(seconds):
        if time.monotonic() - saved >= SAVE_SECONDS:
            trainer.save(checkpoint)
            saved = time.monotonic()
        yield progress
    trainer.save(checkpoint)
    finish.finish(trainer, output)
