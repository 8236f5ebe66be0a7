"""Which model, and how many of its steps, for a wanted rate: from a table that ships.

The table holds what each model's first t steps cost and leave of the error, measured on training
images (`python -m bitsback.benchmarks.lossy_table`).
"""

import dataclasses
import json
from collections.abc import Sequence
from importlib import resources

NAME = "lossy.json"


@dataclasses.dataclass(frozen=True)
class Point:
    """One model's first steps.

    Args:
        model: its name.
        sha256: of its weights, in hex: points of other weights are not used.
        steps: how many are stored.
        bits_per_dim: of the latents.
        mse: mean squared error of the image with the rest at the priors' means, levels squared.
    """

    model: str
    sha256: str
    steps: int
    bits_per_dim: float
    mse: float


def points() -> list[Point]:
    """The table that ships."""
    text = resources.files("bitsback.models").joinpath("weights", NAME).read_text("utf-8")
    return [Point(**fields) for fields in json.loads(text)]


def model_for(rate: float, table: Sequence[Point]) -> str:
    """The model that leaves the smallest error at a rate; the thriftiest, if none is so low.

    Args:
        rate: bits/dim.
    """
    fitting = [point for point in table if point.bits_per_dim <= rate]
    if fitting:
        return min(fitting, key=lambda point: point.mse).model
    return min(table, key=lambda point: point.bits_per_dim).model
