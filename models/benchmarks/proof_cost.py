"""What the proof that convolutions are exact costs, with the settings that it needs.

    python -m bitsback.models.benchmarks.proof_cost --data cifar.npy --model photo-fast --pairs 8

Each pair compresses the images twice, in turns: with convolutions as they are, and as torch gives
them, under whatever settings. The model is loaded anew before each, so that all proofs are made
again. Times are of the process, in user mode, and of `compress` alone.
"""

import argparse
import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from bitsback.archive import writer
from bitsback.errors import refusals
from bitsback.images.image_set import ImageSet, first_images
from bitsback.models import store
from bitsback.models.exact import convolution
from bitsback.models.exact.convolution import Kernel, in_its_dtype
from bitsback.sources.read import read_images


@contextmanager
def unproven() -> Iterator[None]:
    """Convolutions as torch gives them."""
    proven = convolution.convolve

    def bare(x: Tensor, kernel: Kernel) -> Tensor:
        return in_its_dtype(x, kernel)

    convolution.convolve = bare
    try:
        yield
    finally:
        convolution.convolve = proven


def seconds(images: ImageSet, model: str) -> float:
    """User time of compressing images with a model that is loaded anew."""
    loaded = store.load(model, "cpu")
    begin = os.times().user
    writer.compress_set(images, loaded)
    return os.times().user - begin


def measure(images: ImageSet, model: str, pairs: int) -> list[tuple[float, float]]:
    """Seconds with the proof and without, of each pair."""
    found = []
    seconds(images, model)  # what is done once in a process
    for _ in range(pairs):
        with_proof = seconds(images, model)
        with unproven():
            found.append((with_proof, seconds(images, model)))
    return found


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
        pairs = measure(images, given.model, given.pairs)
    for proven, bare in pairs:
        print(f"{proven:.2f} s with the proof, {bare:.2f} s without: {proven / bare - 1:+.2%}")
    shares = [proven / bare - 1 for proven, bare in pairs]
    totals = [sum(column) for column in zip(*pairs, strict=True)]
    print(
        f"median {statistics.median(shares):+.2%}, of the sums {totals[0] / totals[1] - 1:+.2%} "
        f"({len(images.pixels)} images, {given.model})"
    )


if __name__ == "__main__":
    main()
