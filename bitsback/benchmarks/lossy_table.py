"""What the first steps of models cost and leave of the error: the table of `bitsback.lossy.choice`.

    python -m bitsback.benchmarks.lossy_table --data cifar10.npz --data imagenet176_a.npz \
        -o models/weights/lossy.json

Measured on training images, with the integer network, the steps that are not stored at their
priors' means.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError, refusals
from bitsback.lossy import choice, coder, regions
from bitsback.models import store
from bitsback.models.training import data
from bitsback.sources.atomic_files import atomic_write


def points(loaded: LoadedModel, images: NDArray[np.uint8]) -> list[choice.Point]:
    """The points of a model on images, (N, H, W, C) uint8, one for each number of steps."""
    coded = coder.analyse(images, loaded)
    table = []
    for steps in range(1, regions.steps_of(loaded) + 1):
        encoded = coder.write(coded, images.shape[1:], loaded, steps, bare=True)
        error = coder.decode(encoded.data, loaded, 0.0).astype(np.float64) - images
        rate = encoded.promised_bits / encoded.dims
        mse = float(np.square(error).mean())
        table.append(
            choice.Point(loaded.name, loaded.sha256.hex(), steps, round(rate, 5), round(mse, 3))
        )
    return table


def storing(names: list[str]) -> list[LoadedModel]:
    """The models of these names whose latents can be stored alone.

    Raises:
        InputError: none can.
    """
    loaded = [store.load(name) for name in names]
    constant = [model for model in loaded if model.constant_width]
    if not constant:
        raise InputError("no model that ships has a posterior of constant width")
    return constant


def main() -> None:
    """Write the table of all models that ship."""
    parser = argparse.ArgumentParser(prog="python -m bitsback.benchmarks.lossy_table")
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--crops", type=int, default=256)
    parser.add_argument("-o", "--output", type=Path, default=store.WEIGHTS / choice.NAME)
    given = parser.parse_args()
    with refusals():
        table = []
        for loaded in storing(store.names()):
            config = store.read(store.folder_of(loaded.name))[0].config
            crops = data.load(given.data, config).batch(given.crops, 0, 2**40).numpy()
            table += points(loaded, np.ascontiguousarray(crops.transpose(0, 2, 3, 1)))
            print(*table[-regions.steps_of(loaded) :], sep="\n")
        text = json.dumps([dataclasses.asdict(point) for point in table], indent=0)
        atomic_write(given.output, (text + "\n").encode())


if __name__ == "__main__":
    main()
