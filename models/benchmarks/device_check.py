"""`python -m bitsback.models.benchmarks.device_check`: does a GPU give the bits of the CPU?

Every shipped model is evaluated there with each carrier: its known answer, and files written on
one device and read on the other, at every tile that the model codes. Prints a JSON record.
"""

import json
import platform
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitsback.ans.message import Message
from bitsback.coding.batch import Batch
from bitsback.coding.bits_back import decode, encode
from bitsback.errors import BitsbackError, refuse
from bitsback.models import store
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.exactness import Tensors
from bitsback.models.draw.integers import IntegerOps
from bitsback.models.draw.model import DrawModel
from bitsback.models.exact.convolution import Kernel, in_its_dtype
from bitsback.models.exact.settings import exact_settings
from bitsback.models.known_answer import known_answer

IMAGES = 2
# Initial bits of a check, in words of 32: more than the latents of the largest tiles take.
WORDS = 100_000


class BareOps(IntegerOps):
    """Convolutions as the device gives them: no proof, and no other way where they round."""

    def convolve(self, sources: list[Tensor], kernel: Kernel) -> Tensor:
        with exact_settings(self.device.type):
            return in_its_dtype(torch.cat(sources, 1), kernel)


class HalfOps(IntegerOps):
    """float32 but for the convolutions, whose inputs, weights and outputs are float16.

    float16 counts to 2048: no shipped model is exact in it, which the known answer shows.
    """

    def convolve(self, sources: list[Tensor], kernel: Kernel) -> Tensor:
        bias = None if kernel.bias is None else kernel.bias.half()
        halves = torch.cat(sources, 1).half()
        with exact_settings(self.device.type):
            outputs = in_its_dtype(halves, Kernel(kernel.weight.half(), bias, kernel.unit))
        # What overflowed must still be an index into the tables.
        return outputs.float().nan_to_num()


Make = Callable[[DrawConfig, Tensors, torch.device], IntegerOps]
CARRIERS: dict[str, Make] = {
    "float32": partial(BareOps, carrier=torch.float32),
    "float64": partial(BareOps, carrier=torch.float64),
    "float16": HalfOps,
}


def crosses(writer: DrawModel[Tensor], reader: DrawModel[Tensor], x: NDArray[np.uint8]) -> bool:
    """Whether images (B, C, H, W) come back, and with them the message that they were put on."""
    message = Message.random(64, WORDS, 0)
    before = message.copy()
    batch = Batch(len(x), x.shape[2], x.shape[3], seed=0, index=0)
    try:
        encode(message, writer, batch, x)
        decoded = decode(message, reader, batch)
    except (BitsbackError, ValueError, IndexError):  # what a wrong decoder runs into
        return False
    return np.array_equal(decoded, x) and message == before


def check(name: str, device: torch.device) -> dict[str, dict[str, bool | None]]:
    """For every carrier, whether a model's known answer holds and whether its files cross.

    Files of a carrier without the known answer are not tried, which None says.
    """
    manifest, tensors = store.read(store.folder_of(name))
    config, log_widths = manifest.config, manifest.log_widths
    home = DrawModel(config, IntegerOps(config, tensors, torch.device("cpu")), log_widths)
    high = 2 if config.likelihood == "bernoulli" else 256
    random = np.random.default_rng(0)
    images = [
        random.integers(0, high, (IMAGES, config.channels, side, side)).astype(np.uint8)
        for side in config.tiles
    ]
    by_carrier = {}
    for carrier, make in CARRIERS.items():
        ops = make(config, tensors, device)
        away = DrawModel(config, ops, log_widths)
        exact = known_answer(config, ops) == manifest.known_answer
        by_carrier[carrier] = {
            "known_answer": exact,
            "cpu_to_device": all(crosses(home, away, x) for x in images) if exact else None,
            "device_to_cpu": all(crosses(away, home, x) for x in images) if exact else None,
        }
    return by_carrier


def record(device: torch.device) -> dict[str, Any]:
    """The device, the libraries, and the results of every shipped model."""
    cuda = device.type == "cuda"
    cudnn = torch.backends.cudnn.version() if cuda else None  # type: ignore[no-untyped-call]
    return {
        "device": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": cudnn,
        "models": {name: check(name, device) for name in store.names()},
    }


def usable(report: dict[str, Any]) -> bool:
    """Whether every model has an exact carrier, and every exact carrier's files cross."""
    crossings = ("cpu_to_device", "device_to_cpu")
    return all(
        any(checks["known_answer"] for checks in carriers.values())
        and all(checks[way] is not False for checks in carriers.values() for way in crossings)
        for carriers in report["models"].values()
    )


def main() -> None:
    """Print the record; exit with 1 if the device cannot be used, with 2 if there is none."""
    if not torch.cuda.is_available():
        refuse("no CUDA device is available here: nothing was checked")
    report = record(torch.device("cuda"))
    print(json.dumps(report, indent=1))
    sys.exit(0 if usable(report) else 1)


if __name__ == "__main__":
    main()
