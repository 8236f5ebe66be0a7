"""Which device and which floats carry the integer network in torch."""

import logging

import torch

from bitsback.errors import ModelError
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.exactness import Tensors
from bitsback.models.draw.integers import IntegerOps

from .known_answer import known_answer

_log = logging.getLogger(__name__)


def device_of(name: str) -> torch.device:
    """The torch device of "auto", "cpu" or "cuda".

    Raises:
        ModelError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise ModelError(f"unknown device {name!r}: auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("no CUDA device is available here: use --device cpu")
    return torch.device(name)


def integer_ops(
    config: DrawConfig, tensors: Tensors, answer: str, device: torch.device
) -> IntegerOps:
    """The integer network on a device, in float32 or, where that fails, float64.

    Raises:
        ModelError: neither gives the known answer, so nothing may be decoded here.
    """
    for carrier in (torch.float32, torch.float64):
        ops = IntegerOps(config, tensors, device, carrier)
        if known_answer(config, ops) == answer:
            _log.info(
                "torch %s on %s, threads: %d, carries the integers in %s: "
                "the known answer is right",
                torch.__version__,
                device,
                torch.get_num_threads(),
                str(carrier).removeprefix("torch."),
            )
            return ops
    raise ModelError(
        f"this device ({device}) does not compute the model exactly: its known answer differs"
    )
