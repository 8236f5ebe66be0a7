"""Muon: steps of weight matrices whose singular values are all made equal.

A gradient with momentum, as a matrix (out, in k k), is replaced by the nearest matrix of equal
singular values, so that directions that the gradient seldom takes are learned as fast as others.

Source: Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks,
https://kellerjordan.github.io/posts/muon/; Liu et al. (2025), Muon is scalable for LLM training,
https://arxiv.org/abs/2502.16982, section 2.2, for the size of a step.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# The quintic whose repetition brings singular values in (0, 1] near 1 (Jordan et al.).
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# Root mean square of a step in units of the learning rate, as Adam has it (Liu et al.).
STEP = 0.2


class Muon(torch.optim.Optimizer):
    """Steps of convolution weights (out, in, k, k), all of one shape at once.

    Args:
        lr: learning rate; a step is as large as one of Adam at that rate.
        momentum: decay of the running mean of gradients; a step looks one update ahead (Nesterov).
        bf16: whether matrices are made orthogonal in bfloat16, which is precise enough.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, bf16: bool = False
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.dtype = torch.bfloat16 if bf16 else torch.float32

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of all weights, from their gradients."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                by_shape.setdefault(p.shape, []).append(p)
            for shape, alike in by_shape.items():
                gradients = torch.stack([_gradient(p) for p in alike])
                means = torch.stack([self._mean(p) for p in alike])
                means.lerp_(gradients, 1 - group["momentum"])
                ahead = gradients.lerp(means, group["momentum"]).flatten(2)
                steps = orthogonal(ahead.to(self.dtype)).to(ahead)
                size = group["lr"] * STEP * max(steps.shape[1:]) ** 0.5
                for p, mean, step in zip(alike, means, steps, strict=True):
                    self.state[p]["mean"].copy_(mean)
                    p.sub_(step.view(shape), alpha=size)

    def _mean(self, p: Tensor) -> Tensor:
        """The running mean of its gradients, nil before the first one."""
        state = self.state[p]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(p)
        mean: Tensor = state["mean"]
        return mean


def _gradient(p: Tensor) -> Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (n, a, b) with the same singular vectors and singular values near 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x.contiguous() / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    linear, cubic, quintic = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = linear * x + (cubic * gram + quintic * gram @ gram) @ x
    return x.mT if tall else x
