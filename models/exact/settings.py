"""The settings of torch under which a convolution only multiplies and adds, whatever the caller's.

Some algorithms transform their input (Winograd, FFT) or shorten it (TF32, bfloat16), and round.
torch chooses among them by the shape, the library that it was built with, and settings of the
whole process:

    NNPACK              Winograd and FFT, for batches of 16 and more where there is no oneDNN
    oneDNN's precision  bfloat16 or TF32, by `torch.set_float32_matmul_precision` and others
    cuDNN               an algorithm chosen anew for every shape; without it windows are gathered
                        and matrices multiplied
    TF32 of cuBLAS      in these products
    autocast            of the calling thread: bfloat16 or float16

A setting that this torch lacks (2.2 has no switch for NNPACK) is left to the proof of
`convolution`, and so is what a library reads from the environment.
"""

import contextlib
import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting of the whole process.

    Args:
        read, write: its value.
        harmless: values under which nothing rounds; the first is written in place of others.
    """

    read: Callable[[], Any]
    write: Callable[[Any], None]
    harmless: tuple[Any, ...]


def _attribute(owner: Any, name: str, *harmless: Any) -> Setting:
    return Setting(lambda: getattr(owner, name), lambda to: setattr(owner, name, to), harmless)


_IEEE = ("ieee", "none")


@functools.cache
def _of_processors() -> list[Setting]:
    found = []
    nnpack: Any = getattr(torch.backends, "nnpack", None)
    if nnpack is not None:
        found.append(Setting(torch._C._get_nnpack_enabled, nnpack.set_flags, (False,)))
    onednn: Any = torch.backends.mkldnn
    if getattr(onednn, "conv", None) is None:  # before torch 2.9
        read, write = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        return [*found, Setting(read, write, ("highest",))]
    return [
        *found,
        _attribute(onednn.conv, "fp32_precision", *_IEEE),
        _attribute(onednn.matmul, "fp32_precision", *_IEEE),
    ]


def _of_gpus() -> list[Setting]:
    matmul: Any = torch.backends.cuda.matmul
    tf32 = _attribute(matmul, "allow_tf32", False)
    try:
        tf32.read()
    except RuntimeError:  # torch has two settings for it, and the other one is in use
        tf32 = _attribute(matmul, "fp32_precision", *_IEEE)
    return [_attribute(torch.backends.cudnn, "enabled", False), tf32]


class _Shared:
    """Settings that are of all threads: the first who needs them sets, the last one restores."""

    def __init__(self, settings: Callable[[], list[Setting]]) -> None:
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """A forked process has no other thread, but may have had its lock."""
        self._lock = threading.Lock()
        self._users = 0
        self._changed: list[tuple[Setting, Any]] = []

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            # Not only the first one: the caller may have changed some in the meantime.
            for setting in self._settings():
                before = setting.read()
                if before not in setting.harmless:
                    setting.write(setting.harmless[0])
                    self._changed.append((setting, before))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                for setting, before in reversed(self._changed):
                    setting.write(before)
                self._changed.clear()


_SHARED = {"cpu": _Shared(_of_processors), "cuda": _Shared(_of_gpus)}
for _shared in _SHARED.values():
    os.register_at_fork(after_in_child=_shared.reset)


def exact_settings(device: str) -> contextlib.AbstractContextManager[None]:
    """Within it, no setting of torch lets a convolution on a device round.

    Args:
        device: "cpu" or "cuda".
    """
    # Leaving autocast costs more than asking for it.
    return _uncast(device) if _casts(device) else _SHARED[device]


@contextlib.contextmanager
def _uncast(device: str) -> Iterator[None]:
    """Out of autocast, which is of the thread, with the settings of the process."""
    with torch.autocast(device, enabled=False), _SHARED[device]:
        yield


def _casts(device: str) -> bool:
    try:
        return torch.is_autocast_enabled(device)
    except TypeError:  # before torch 2.4
        return torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled()
