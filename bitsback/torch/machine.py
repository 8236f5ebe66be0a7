"""What a machine is, as far as floats that round depend on it; evaluations that repeat."""

import contextlib
import hashlib
import platform
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitsback.errors import ModelError
from bitsback.models.exact.settings import exact_settings


def described(device: torch.device, answer: bytes) -> str:
    """The machine as a file's header has it.

    Args:
        device: that the model runs on.
        answer: digest of the model's outputs for a known input: where the same names hide other
            arithmetics, it differs.
    """
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    capability = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    return (
        f"torch {torch.__version__}, {platform.machine()} {capability}, {kind}, "
        f"{threads} thread{'s' * (threads > 1)}, answer {answer.hex()[:8]}"
    )


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Within it, torch computes the same whatever the caller's settings, without gradients."""
    with torch.inference_mode(), exact_settings(device.type):
        yield


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters lie.

    Raises:
        ModelError: on several devices.
    """
    devices = {value.device for value in _tensors(module).values()} or {torch.device("cpu")}
    if len(devices) > 1:
        raise ModelError("the model's parameters lie on several devices: move them to one")
    return devices.pop()


def dtype_of(module: nn.Module) -> torch.dtype:
    """The floats that a module computes in: those of its first parameter."""
    floats = (value.dtype for value in _tensors(module).values() if value.is_floating_point())
    return next(floats, torch.float32)


def check_evaluated(module: nn.Module) -> None:
    """Raise ModelError if a part of a module is in training mode: dropout would draw anew."""
    for name, part in module.named_modules():
        if part.training:
            raise ModelError(
                f"module {name or type(module).__name__!r} is in training mode, in which dropout "
                "and batch normalisation differ from call to call: call eval() on the model first"
            )


def digest(module: nn.Module, facts: str, arrays: Iterable[NDArray[np.generic]]) -> bytes:
    """SHA-256 of a module's parameters and buffers, and of what else decoding depends on."""
    sha256 = hashlib.sha256(facts.encode())
    for name, value in sorted(_tensors(module).items()):
        sha256.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        data = value.detach().cpu().contiguous().reshape(-1)
        sha256.update(data.view(torch.uint8).numpy().tobytes())
    for array in arrays:
        sha256.update(array.tobytes())
    return sha256.digest()


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
