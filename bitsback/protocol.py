"""The protocol through which the coder knows a model."""

from bitsback.coding.model import (
    ALL_PIXELS,
    BottomUpModel,
    Group,
    Likelihood,
    LoadedModel,
    Model,
    check_weights,
)
from bitsback.tiles.padding import Pixels

__all__ = [
    "ALL_PIXELS",
    "BottomUpModel",
    "Group",
    "Likelihood",
    "LoadedModel",
    "Model",
    "Pixels",
    "check_weights",
]
