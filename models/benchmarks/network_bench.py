"""How fast the integer network is beside the float network that it came from, on one thread.

    python -m bitsback.models.benchmarks.network_bench --model photo

The float peer is the network of `floats.py` as an evaluation of the bound runs it: float32, no
gradients, the same images and batch, in whichever memory layout is faster. The integer network
is timed through the coder's own protocol: conversions from and to NumPy and the parameters of
the pixels are its own. In the table of parts, the squashing of floats is in the LSTMs' cells.
Given images, it also tells the rate of both.
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitsback.errors import BitsbackError, refuse
from bitsback.models import store
from bitsback.models.draw import equations
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.floats import FloatOps, parameters
from bitsback.models.draw.model import DrawModel
from bitsback.models.draw.state import Array
from bitsback.models.training import data, export, losses, validation

# What the methods of an arithmetic spend their own time on.
PARTS = {
    "convolve": "convolutions",
    "finish": "rounding of accumulators",
    "look_up": "sigmoid and tanh",
    "lstm": "cells of the LSTMs",
    "tensor": "from NumPy",
    "array": "to NumPy",
}
REST = "all else"
ROUNDS = 20
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclasses.dataclass(frozen=True)
class Timings:
    """Seconds per image: the best rounds of both networks, and where each spends its time."""

    floats: float
    integers: float
    layout: str
    float_parts: dict[str, float]
    integer_parts: dict[str, float]

    @property
    def ratio(self) -> float:
        """Images a second of the integer network over those of the float network."""
        return self.floats / self.integers


class Bare(FloatOps):
    """The floats of training, made as fast as the integers.

    Weights lie in one memory format, those of layers of the same sources are put together once,
    and limits are applied in place.
    """

    def __init__(
        self, config: DrawConfig, params: dict[str, Tensor], form: torch.memory_format
    ) -> None:
        laid_out = {
            name: value.contiguous(memory_format=form) if value.ndim == 4 else value
            for name, value in params.items()
        }
        super().__init__(config, laid_out)
        self.fused = functools.cache(super().fused)  # type: ignore[method-assign]

    def finish(self, layer: str, accumulated: Tensor) -> Tensor:
        return accumulated.clamp_(self.layers[layer].low, self.layers[layer].high)


def float_pass(ops: FloatOps, config: DrawConfig, levels: Tensor, noise: list[Tensor]) -> Tensor:
    """Encoder, prior, posterior and decoder of all steps; gives the canvas r."""
    batch, _, height, width = levels.shape
    state = equations.start(ops, config, batch, height, width)
    x = losses.to_network(config, levels)
    memory = equations.observe(ops, config, x)
    for group, eps in zip(equations.groups(config), noise, strict=True):
        q, memory = equations.posterior(ops, config, group, memory, state)
        z = q.mean + torch.exp2(q.log_scale) * eps
        state = equations.step(ops, config, group, state, ops.latent(z))
    return losses.canvas(ops, config, state, x)


def integer_pass(
    model: DrawModel[Array], x: NDArray[np.uint8], latents: list[NDArray[np.int64]]
) -> object:
    """What encoding asks of the network; gives the codec of the pixels."""
    batch, _, height, width = x.shape
    state, memory = model.start(batch, height, width), model.observe(x)
    for index, z in enumerate(latents):
        p = model.prior(index, state)
        _, memory = model.posterior(index, memory, state, p)
        state = model.step(index, state, z)
    for number, where in enumerate(model.passes):
        codec = model.likelihood(state, False)
        if number + 1 < len(model.passes):
            state = model.reveal(state, x[:, :, *where])
    return codec


def best_of(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each run, the best of interleaved rounds."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def breakdown(ops: object, run: Callable[[], object]) -> dict[str, float]:
    """Seconds of a run that each kind of work takes by itself, the best of some rounds."""
    spent: dict[str, float] = {}
    inside = [0.0]

    def timed(kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            inside.append(0.0)
            begin = time.perf_counter()
            value = method(*args)
            seconds = time.perf_counter() - begin
            spent[kind] = spent.get(kind, 0.0) + seconds - inside.pop()
            inside[-1] += seconds
            return value

        return call

    methods = [name for name in PARTS if hasattr(ops, name)]
    for name in methods:
        setattr(ops, name, timed(PARTS[name], getattr(ops, name)))
    rounds = []
    for _ in range(ROUNDS):
        spent.clear()
        begin = time.perf_counter()
        run()
        total = time.perf_counter() - begin
        rounds.append((total, spent | {REST: total - sum(spent.values())}))
    for name in methods:
        delattr(ops, name)
    return min(rounds, key=lambda pair: pair[0])[1]


def bench(name: str, x: NDArray[np.uint8]) -> Timings:
    """Time both networks of a model.

    Args:
        name: of a shipped model, or a folder.
        x: the images, uint8 (B, C, H, W).

    Raises:
        ModelError: as `store.load`.
    """
    model = store.load(name, "cpu").model
    assert isinstance(model, DrawModel)
    config, random = model.config, np.random.default_rng(0)
    latents = [random.integers(-128, 129, shape) for shape in shapes(config, x)]
    noise = [torch.from_numpy(random.normal(size=z.shape)).float() for z in latents]
    # How long it takes does not depend on the weights.
    fresh = parameters(config, torch.Generator().manual_seed(0))
    runs: dict[str, Callable[[], object]] = {
        "integers": functools.partial(integer_pass, model, x, latents)
    }
    floats = {}
    for layout, form in LAYOUTS.items():
        floats[layout] = Bare(config, fresh, form)
        levels = torch.from_numpy(x).float().contiguous(memory_format=form)
        runs[layout] = functools.partial(float_pass, floats[layout], config, levels, noise)
    with torch.no_grad():
        seconds = best_of(runs)
        layout = min(LAYOUTS, key=lambda name: seconds[name])
        parts = [breakdown(floats[layout], runs[layout]), breakdown(model.ops, runs["integers"])]
    per_image = [{kind: s / len(x) for kind, s in part.items()} for part in parts]
    return Timings(seconds[layout] / len(x), seconds["integers"] / len(x), layout, *per_image)


def rates(name: str, images: data.TrainingImages) -> tuple[float, float]:
    """KL-based bits/dim of a model's float network, and of the same on the integer grids."""
    manifest, tensors = store.read(store.folder_of(name))
    config = manifest.config
    params = export.restore(config, tensors)
    floats, integers = (
        validation.bits_per_dim(config, params, quantised, images, 0) for quantised in (False, True)
    )
    return floats, integers


def shapes(config: DrawConfig, x: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """Shapes of the groups of latents of images (B, C, H, W)."""
    sizes: list[tuple[int, ...]] = []
    for group in equations.groups(config):
        side = config.stride * (config.stride2 if group.layer == 2 else 1)
        channels = config.latents2 if group.layer == 2 else config.latents
        sizes.append((len(x), channels, x.shape[2] // side, x.shape[3] // side))
    return sizes


def report(timings: Timings, shape: tuple[int, ...]) -> str:
    """What was measured, as lines of text."""
    batch, channels, height, width = shape
    lines = [
        f"{batch} images of {channels} x {height} x {width} at once, {ROUNDS} rounds, the best",
        f"float network, {timings.layout}: {1 / timings.floats:.1f} images/s",
        f"integer network: {1 / timings.integers:.1f} images/s",
        f"ratio: {timings.ratio:.3f}",
        "ms per image:              float  integer",
    ]
    for kind in [*PARTS.values(), REST]:
        spent = [
            1e3 * parts.get(kind, 0.0) for parts in (timings.float_parts, timings.integer_parts)
        ]
        lines.append(f"  {kind:<23}{spent[0]:>7.3f}  {spent[1]:>7.3f}")
    return "\n".join(lines)


def main() -> None:
    """Print images a second of both networks, their ratio, and where the time goes."""
    parser = argparse.ArgumentParser(prog="python -m bitsback.models.benchmarks.network_bench")
    parser.add_argument("--model", default="photo")
    parser.add_argument("--data", type=Path, help="images as for training; noise without")
    parser.add_argument("--batch", type=int, help="images at once; the model's own if left out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        config = store.read(store.folder_of(given.model))[0].config
        batch = given.batch or config.batch
        images = data.load([given.data], config) if given.data else None
        if images:
            x = images.batch(batch, 0, 0).numpy()
        else:
            high = 2 if config.likelihood == "bernoulli" else 256
            shape = (batch, config.channels, config.tile, config.tile)
            x = np.random.default_rng(0).integers(0, high, shape).astype(np.uint8)
        print(report(bench(given.model, x), x.shape))
        if images:
            floats, integers = rates(given.model, images)
            print(f"bits/dim of {validation.COUNT} crops: float network {floats:.5f}")
            print(
                f"on the same noise: integer network {integers:.5f}, {integers / floats - 1:+.3%}"
            )
    except BitsbackError as error:
        refuse(str(error))


if __name__ == "__main__":
    main()
