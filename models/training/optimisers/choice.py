"""Which optimiser moves which parameters."""

import torch

from bitsback.models.training.network import DrawNetwork
from bitsback.models.training.plan import TrainConfig

from .muon import Muon


def optimisers(network: DrawNetwork, train: TrainConfig) -> dict[str, torch.optim.Optimizer]:
    """By name: Adam, and Muon for hidden layers if it is asked for.

    Hidden layers are LSTMs' gates and what is within passes and heads. What a level of passes
    begins with stays with Adam: those matrices are the largest, and take longest to make
    orthogonal, but their convolutions, on coarser grids, are the cheapest.
    """
    hidden = {name: p for name, p in network.named().items() if train.muon and _is_hidden(name)}
    others = [p for name, p in network.named().items() if name not in hidden]
    by_name: dict[str, torch.optim.Optimizer] = {
        "adam": torch.optim.Adam(others, lr=train.learning_rate, betas=(0.9, 0.99))
    }
    if hidden:
        by_name["muon"] = Muon(hidden.values(), lr=train.learning_rate, bf16=train.bf16)
    return by_name


def _is_hidden(name: str) -> bool:
    return name.startswith(("enc", "dec", "seen", "inner", "outer")) and not name.endswith("/bias")
