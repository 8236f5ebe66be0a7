"""Several processes that train one model together, as torchrun starts them.

Each takes its own part of every batch and of the batch's noise, and DistributedDataParallel
averages their gradients: over NCCL between CUDA devices, over Gloo between CPUs. All processes take
the same course: they share the mean of their losses and the first one's decisions. A single process
takes whole batches and waits for nobody.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bitsback.errors import BitsbackError, ModelError
from bitsback.models.draw.floats import WHOLE, Part

LETTING_GO = 0.5  # seconds
T = TypeVar("T")


class _LeaveError(Exception):
    """Some process has failed, and the first one says so."""


@contextmanager
def joined() -> Iterator[Part]:
    """The part that this process takes: its share under torchrun, the whole otherwise."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield WHOLE
        return
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield Part(dist.get_rank(), dist.get_world_size())
    except _LeaveError:
        _part_company()
    except (BitsbackError, OSError):
        _part_company()
        raise
    else:
        _part_company()


def _part_company() -> None:
    # Gloo's threads let go of the last tensors once they get hold of the interpreter, and abort the
    # process if it has ended by then (pytorch/pytorch#179291). A group that DistributedDataParallel
    # has used does not wait for them.
    time.sleep(LETTING_GO)
    dist.destroy_process_group()


def own(device: torch.device, part: Part) -> torch.device:
    """The process's own device: of several CUDA devices the one of its local rank.

    Raises:
        ModelError: this machine has fewer CUDA devices than processes.
    """
    if part.size == 1 or device.type != "cuda":
        return device
    processes, devices = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if processes > devices:
        raise ModelError(f"{processes} processes need as many CUDA devices, and here are {devices}")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def averaging(module: nn.Module, part: Part) -> nn.Module:
    """The module, whose gradients after a backward pass are their means over the processes.

    All processes must call it, and go on with the first one's parameters.
    """
    return module if part.size == 1 else DistributedDataParallel(module)


def mean(values: list[float], part: Part) -> list[float]:
    """Each value's mean over the processes, the same in all of them."""
    if part.size == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return [float(value) for value in total / part.size]


def told(decision: bool, part: Part) -> bool:
    """The first process's decision."""
    if part.size == 1:
        return decision
    said = torch.tensor([int(decision)])
    dist.broadcast(said, 0)
    return bool(said)


def together(work: Callable[[], T], part: Part) -> T:
    """What `work` returns here, once every process has finished its own.

    `work` must not itself wait for other processes.

    Raises:
        BitsbackError, OSError: some process's work raised one. Only the first process raises it;
            the others leave the block of `joined`, so that the message is printed once.
    """
    if part.size == 1:
        return work()
    failure: BitsbackError | OSError | None = None
    try:
        value = work()
    except (BitsbackError, OSError) as error:
        failure = error
    messages: list[str | None] = [None] * part.size
    dist.all_gather_object(messages, None if failure is None else str(failure))
    failed = [(i, text) for i, text in enumerate(messages) if text is not None]
    if not failed:
        return value
    if not part.first:
        raise _LeaveError
    if failure is not None:
        raise failure
    rank, message = failed[0]
    raise ModelError(f"process {rank} of {part.size}: {message}")


def by_first(work: Callable[[], object], part: Part) -> None:
    """Have the first process do this while the others wait; errors are those of `together`."""
    together(work if part.first else lambda: None, part)
