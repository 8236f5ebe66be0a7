"""How fast a configuration trains here, and what share of the device's peak that is.

    python -m bitsback.models.benchmarks.train_bench models/configs/photo.toml --data images.npz

The peak is what a product of two large matrices reaches in the arithmetic of the run, bfloat16 or
float32, on as many threads; the work of an update is that of its convolutions, forwards and
backwards, as torch counts it.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from bitsback.errors import BitsbackError, refuse
from bitsback.models import engine
from bitsback.models.training import data
from bitsback.models.training.plan import read_config
from bitsback.models.training.trainer import Trainer

_WARM, _ROUNDS, _SIDE = 3, 6, 2048


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast a run trains.

    Args:
        seconds: per update.
        images: per second, of the smallest size.
        flops: floating-point operations per update.
        peak: floating-point operations per second of a large product of matrices.
    """

    seconds: float
    images: float
    flops: float
    peak: float

    @property
    def share(self) -> float:
        """The share of the peak that training reaches."""
        return self.flops / self.seconds / self.peak


def measure(config: Path, inputs: list[Path], device: str = "auto") -> Speed:
    """Time updates of a fresh run.

    Raises:
        InputError, ModelError: as `run.run`.
    """
    model, plan = read_config(config)
    where = engine.device_of(device)
    trainer = Trainer(model, plan, data.load(inputs, model), str(where))
    for _ in range(_WARM):
        trainer.one_update()
    with FlopCounterMode(display=False) as counter:
        trainer.one_update()
    seconds = _seconds(trainer.one_update, where)
    left = torch.randn(_SIDE, _SIDE, device=where)
    left = left.bfloat16() if plan.bf16 else left
    product = _seconds(lambda: left @ left, where)
    flops = float(counter.get_total_flops())
    return Speed(seconds, plan.batch / seconds, flops, 2.0 * _SIDE**3 / product)


def _seconds(work: Callable[[], object], where: torch.device) -> float:
    """Mean seconds of a call, after a first one."""
    work()
    began = _now(where)
    for _ in range(_ROUNDS):
        work()
    return (_now(where) - began) / _ROUNDS


def _now(where: torch.device) -> float:
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    return time.perf_counter()


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(prog="python -m bitsback.models.benchmarks.train_bench")
    parser.add_argument("config", type=Path, help="TOML with [model] and [training]")
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    try:
        speed = measure(given.config, given.data, given.device)
    except (BitsbackError, OSError) as error:
        refuse(str(error))
    print(
        f"{speed.seconds:.3f} s an update, {speed.images:.0f} images/s, "
        f"{speed.flops / speed.seconds / 1e9:.0f} GFLOP/s: {100 * speed.share:.0f} % of "
        f"{speed.peak / 1e9:.0f} ({torch.get_num_threads()} threads)"
    )


if __name__ == "__main__":
    main()
