"""The dense two-layer VAE of the IWAE paper, as a ruler for data that differ from its authors'.

    python -m bitsback.models.benchmarks.ruler --data omniglot.npz --seconds 600

Published rates of Omniglot are of another resizing and split than ours. This model's rate on
those data is known, so what it reaches on ours says how far the two are apart.

    q(z1 | x) q(z2 | z1),  p(x | z1) p(z1 | z2) N(z2; 0, 1);  tanh layers of 200, 200 | 100, 100

Source: Burda, Grosse, Salakhutdinov (2016), Importance Weighted Autoencoders, section 5 and
appendix C: 100 and 50 latents; learning rate 0.001 10**(-i/7) for 3**i epochs, i = 0, 1, ...;
-log p(x) estimated by the mean weight of 5,000 samples (eq. 8).
"""

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bitsback.errors import BitsbackError, InputError, refuse

BATCH = 100
HELD_OUT = 1390
LOG_2PI = math.log(2 * math.pi)


class Diagonal(nn.Module):
    """N(mean(h), diag(exp(log_variance(h)))) with h two tanh layers of the input."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()
        )
        self.mean, self.log_variance = nn.Linear(hidden, outputs), nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.mean(h), self.log_variance(h)


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of a diagonal Gaussian, summed over the last axis, nats."""
    scaled = (z - mean).square() * torch.exp(-log_variance)
    return -0.5 * (LOG_2PI + log_variance + scaled).sum(-1)


class Ruler(nn.Module):
    """The model; `dims` are the pixels of an image."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.q1, self.q2 = Diagonal(dims, 200, 100), Diagonal(100, 100, 50)
        self.p1 = Diagonal(50, 100, 100)
        self.p = nn.Sequential(
            nn.Linear(100, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, dims)
        )

    def log_weights(self, x: Tensor) -> Tensor:
        """log p(x, z) / q(z | x) in nats, for one z each; x is (..., dims) of 0 and 1."""
        first = self.q1(x)
        z1 = first[0] + torch.exp(0.5 * first[1]) * torch.randn_like(first[0])
        second = self.q2(z1)
        z2 = second[0] + torch.exp(0.5 * second[1]) * torch.randn_like(second[0])
        pixels = functional.binary_cross_entropy_with_logits(self.p(z1), x, reduction="none")
        zero = torch.zeros_like(z2)
        prior = log_normal(z1, *self.p1(z2)) + log_normal(z2, zero, zero)
        return prior - pixels.sum(-1) - log_normal(z1, *first) - log_normal(z2, *second)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a ruler reached.

    Args:
        bound: mean -ELBO over the test images, nats per image.
        estimate: mean -log p(x) by importance weights over `estimated` of them, nats per image.
        samples: weights per image of that estimate.
        epochs: passes over the training images.
        seconds: of training.
    """

    bound: float
    estimate: float
    estimated: int
    samples: int
    epochs: int
    seconds: float


def epochs_of(stages: int) -> list[float]:
    """The learning rate of each epoch: 0.001 10**(-i/7) for 3**i epochs."""
    return [1e-3 * 10 ** (-i / 7) for i in range(stages) for _ in range(3**i)]


def train(levels: NDArray[np.uint8], stages: int, seconds: float) -> tuple[Ruler, int]:
    """A ruler trained on grey levels (N, dims), uint8, as probabilities of ink, and its epochs.

    The last images are held out: the parameters kept are those of the epoch that was best on them.
    """
    torch.manual_seed(0)
    model = Ruler(levels.shape[1])
    adam = torch.optim.Adam(model.parameters(), eps=1e-4, fused=True)
    odds = torch.from_numpy(levels).float() / 255
    held_out, odds = torch.bernoulli(odds[-HELD_OUT:]), odds[:-HELD_OUT]
    best, kept, began, done = math.inf, model.state_dict(), time.monotonic(), 0
    for rate in epochs_of(stages):
        adam.param_groups[0]["lr"] = rate
        for rows in torch.split(torch.randperm(len(odds)), BATCH):
            loss = -model.log_weights(torch.bernoulli(odds[rows])).mean()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
        done += 1
        bound = bound_of(model, held_out)
        if bound < best:
            best, kept = bound, {name: value.clone() for name, value in model.state_dict().items()}
        if time.monotonic() - began > seconds:
            break
    model.load_state_dict(kept)
    return model, done


@torch.no_grad()
def bound_of(model: Ruler, x: Tensor) -> float:
    """Mean -ELBO of images (N, dims), nats per image."""
    parts = [-model.log_weights(rows).sum() for rows in torch.split(x, 1000)]
    return float(torch.stack(parts).sum()) / len(x)


@torch.no_grad()
def estimate_of(model: Ruler, x: Tensor, samples: int) -> float:
    """Mean -log (1/k) sum_k w_k of images (N, dims), nats per image (eq. 8)."""
    total = 0.0
    for row in x:
        log_weights = model.log_weights(row.expand(samples, -1))
        total += math.log(samples) - float(torch.logsumexp(log_weights, 0))
    return total / len(x)


def measure(
    levels: NDArray[np.uint8],
    test: NDArray[np.uint8],
    stages: int,
    seconds: float,
    images: int,
    samples: int,
) -> Measured:
    """Train on levels (N, H, W), measure on binary images (M, H, W)."""
    began = time.monotonic()
    model, epochs = train(levels.reshape(len(levels), -1), stages, seconds)
    spent = time.monotonic() - began
    x = torch.from_numpy(test.reshape(len(test), -1)).float()
    some = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:images]]
    estimate = estimate_of(model, some, samples)
    return Measured(bound_of(model, x), estimate, len(some), samples, epochs, round(spent, 1))


def main() -> None:
    """Train and measure on an .npz with the arrays `train` and `test_binary`; prints JSON."""
    parser = argparse.ArgumentParser(prog="python -m bitsback.models.benchmarks.ruler")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--stages", type=int, default=8, help="i = 0 .. stages - 1")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop training after")
    parser.add_argument("--images", type=int, default=1000, help="test images of the estimate")
    parser.add_argument("--samples", type=int, default=5000)
    given = parser.parse_args()
    try:
        try:
            with np.load(given.data, allow_pickle=False) as arrays:
                levels, test = arrays["train"], arrays["test_binary"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{given.data}: no .npz with train and test_binary") from error
        measured = measure(levels, test, given.stages, given.seconds, given.images, given.samples)
        print(json.dumps(dataclasses.asdict(measured)))
    except BitsbackError as error:
        refuse(str(error))


if __name__ == "__main__":
    main()
