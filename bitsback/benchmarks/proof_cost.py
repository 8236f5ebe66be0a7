"""What the proof that convolutions are exact costs, with the settings that it needs.

    python -m bitsback.benchmarks.proof_cost --data cifar.npy --model photo-fast --pairs 8

The first line is exact: the time that the process spends in proofs, and in settings, while it first
compresses the images; and in proofs of the model's known answer while it loads the model. The
pairs are compressed in turns, with convolutions as they are and as torch gives them, each with a
model that is loaded anew; they show what is not seen so, and the noise.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bitsback.archive import writer
from bitsback.errors import refusals
from bitsback.images.image_set import ImageSet, first_images
from bitsback.models import store
from bitsback.models.exact import convolution
from bitsback.models.exact.convolution import Kernel, in_its_dtype
from bitsback.models.exact.settings import exact_settings
from bitsback.sources.read import read_images

_ROUNDS = 20_000  # of settings that are timed


@contextmanager
def replaced(name: str, by: Callable[..., Any]) -> Iterator[None]:
    """Within it, a function of `convolution` is another."""
    function = getattr(convolution, name)
    setattr(convolution, name, by)
    try:
        yield
    finally:
        setattr(convolution, name, function)


def bare(x: Tensor, kernel: Kernel) -> Tensor:
    """A convolution as torch gives it."""
    return in_its_dtype(x, kernel)


def seconds(images: ImageSet, model: str) -> float:
    """Processor time of compressing images with a model that is loaded anew."""
    loaded = store.load(model, "cpu")
    began = time.process_time()
    writer.compress_set(images, loaded)
    return time.process_time() - began


@dataclasses.dataclass
class Spent:
    """Seconds in proofs, how many there were, and how many convolutions."""

    seconds: float = 0.0
    proofs: int = 0
    convolutions: int = 0


def measured(images: ImageSet, model: str) -> tuple[float, Spent, Spent]:
    """Processor time of compressing images; what of it goes into proofs, and what of loading."""
    spent, proven, convolve = Spent(), convolution.proven, convolution.convolve

    def timing(x: Tensor, kernel: Kernel, y: Tensor) -> bool:
        began = time.thread_time()
        found = proven(x, kernel, y)
        spent.seconds += time.thread_time() - began
        spent.proofs += 1
        return found

    def counting(x: Tensor, kernel: Kernel) -> Tensor:
        spent.convolutions += 1
        return convolve(x, kernel)

    with replaced("proven", timing), replaced("convolve", counting):
        loaded = store.load(model, "cpu")
        loading, spent = spent, Spent()
        began = time.process_time()
        writer.compress_set(images, loaded)
        return time.process_time() - began, spent, loading


def settings_seconds() -> float:
    """What a convolution spends on the settings and on finding its case."""
    x = torch.zeros(2, 3, 8, 8)
    began = time.thread_time()
    for _ in range(_ROUNDS):
        with exact_settings("cpu"):
            hash((x.shape, x.stride(), torch.get_num_threads(), torch._C._get_mkldnn_enabled()))
    return (time.thread_time() - began) / _ROUNDS


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="images to compress")
    parser.add_argument("--model", default="photo-fast")
    parser.add_argument("--limit", type=int, default=1000, help="images, at most")
    parser.add_argument("--pairs", type=int, default=8)
    given = parser.parse_args()
    with refusals():
        images = read_images([given.data])
        images = first_images(images, min(given.limit, len(images.pixels)))
        whole, spent, loading = measured(images, given.model)
        settings = spent.convolutions * settings_seconds()
        print(
            f"{len(images.pixels)} images, {given.model}: {whole:.2f} s; {spent.proofs} proofs "
            f"{1000 * spent.seconds:.1f} ms, settings of {spent.convolutions} convolutions "
            f"{1000 * settings:.1f} ms: {(spent.seconds + settings) / whole:.2%}; "
            f"before, {loading.proofs} proofs of the known answer {1000 * loading.seconds:.1f} ms",
            flush=True,
        )
        times: tuple[list[float], list[float]] = [], []
        for number in range(2 * given.pairs):
            without = number % 4 in (1, 2)  # with, without, without, with
            with replaced("convolve", bare) if without else nullcontext():
                times[without].append(seconds(images, given.model))
    if given.pairs:
        proven, others = map(statistics.median, times)
        spread = statistics.stdev(times[0] + times[1])
        print(
            f"{given.pairs} pairs: {proven:.3f} s with, {others:.3f} s without, medians; "
            f"standard deviation of all {spread:.3f} s"
        )


if __name__ == "__main__":
    main()
