"""A plain VAE for binary images: the smallest model that the coder's protocol admits (BB-ANS).

    q(z|x) = N(mean(h), exp2(scale(h))**2),  h = relu(W x),  p(z) = N(0, 1),
    p(x|z) = Bernoulli(logits(relu(V z)))

One step, one layer, dense weights. It shows what a model must give to `bitsback.coding.bits_back`,
and is the baseline to which conv DRAW adds its steps.

Source: Townsend, Bird and Barber, arXiv:1901.04866 (BB-ANS over a VAE of MNIST).
"""

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitsback.coding import model
from bitsback.tables import latent_grid, pixels

WEIGHT_BITS = 10
HIDDEN_BITS = 6
_HIDDEN_LIMIT = 16 << HIDDEN_BITS
_MEAN_LIMIT = 16 << latent_grid.MEAN_BITS

Params = dict[str, Tensor]
Int64 = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Vae:
    """The protocol's model over integer weights.

    Sums of products are exact: float64 carries the integers, and all stay below 2**53.

    Args:
        weights: of "encode", "mean", "scale", "decode" and "logits", int64 (inputs + 1, outputs)
            in units of 2**-10, the bias in the last row.
        height, width: of the images.
    """

    weights: dict[str, Int64]
    height: int
    width: int

    passes = model.ALL_PIXELS

    @property
    def groups(self) -> tuple[model.Group, ...]:
        """One group of latents, on a grid half as wide as the prior's sigma."""
        latents = self.weights["mean"].shape[1]
        return (model.Group(1, 1, np.full(latents, -16, np.int64)),)

    def start(self, batch: int, height: int, width: int) -> Int64:
        """The latents before any is known: zeros."""
        if (height, width) != (self.height, self.width):
            raise ValueError(f"this VAE codes images of {self.height} x {self.width} pixels")
        return np.zeros((batch, self.weights["mean"].shape[1]), np.int64)

    def observe(self, x: NDArray[np.uint8]) -> Int64:
        """h, (B, hidden) in units of 2**-6, from x, uint8 (B, 1, H, W)."""
        return self._hidden("encode", x.reshape(len(x), -1).astype(np.int64), 0)

    def prior(self, index: int, state: Int64) -> latent_grid.Gaussian:
        """The standard normal."""
        shape = (*state.shape, 1, 1)
        return latent_grid.Gaussian(np.zeros(shape, np.int64), np.zeros(shape, np.int64))

    def posterior(
        self, index: int, memory: Int64, state: Int64, p: latent_grid.Gaussian
    ) -> tuple[latent_grid.Gaussian, Int64]:
        """q(z | x)."""
        mean = self._dense("mean", memory, HIDDEN_BITS, latent_grid.MEAN_BITS)
        scale = self._dense("scale", memory, HIDDEN_BITS, 6)
        q = latent_grid.Gaussian(
            np.clip(mean, -_MEAN_LIMIT, _MEAN_LIMIT)[:, :, None, None],
            np.clip(scale, -512, 192)[:, :, None, None],
        )
        return q, memory

    def step(self, index: int, state: Int64, z: Int64) -> Int64:
        """The latents, (B, latents) in units of 2**-6."""
        return z[:, :, 0, 0]

    def likelihood(self, state: Int64, gray: bool) -> model.Likelihood:
        """p(x | z)."""
        return pixels.Bernoulli(self._logits(state))

    def image(self, state: Int64) -> NDArray[np.uint8]:
        """Probabilities of ink."""
        return np.round(255 / (1 + np.exp(-self._logits(state) / 32))).astype(np.uint8)

    def reveal(self, state: Int64, x: NDArray[np.uint8]) -> Int64:
        """The same state: all pixels are coded in one pass."""
        return state

    def _logits(self, state: Int64) -> Int64:
        """In units of 1/32, (B, 1, H, W)."""
        hidden = self._hidden("decode", state, latent_grid.Z_BITS)
        logits = self._dense("logits", hidden, HIDDEN_BITS, 5)
        return logits.reshape(len(state), 1, self.height, self.width)

    def _dense(self, name: str, x: Int64, bits: int, out_bits: int) -> Int64:
        """W x + b, from units of 2**-bits to units of 2**-out_bits, rounded half up."""
        weights = self.weights[name]
        one = np.full((len(x), 1), 1 << bits, np.int64)
        total = np.concatenate([x, one], 1).astype(np.float64) @ weights.astype(np.float64)
        shift = WEIGHT_BITS + bits - out_bits
        return (total.astype(np.int64) + (1 << (shift - 1))) >> shift

    def _hidden(self, name: str, x: Int64, bits: int) -> Int64:
        return np.clip(self._dense(name, x, bits, HIDDEN_BITS), 0, _HIDDEN_LIMIT)


def fresh(height: int, width: int, hidden: int, latents: int, seed: int) -> Params:
    """Untrained parameters, float (inputs + 1, outputs) each, scaled by the fan-in."""
    generator = torch.Generator().manual_seed(seed)
    dims = height * width
    sizes = {
        "encode": (dims, hidden),
        "mean": (hidden, latents),
        "scale": (hidden, latents),
        "decode": (latents, hidden),
        "logits": (hidden, dims),
    }
    params = {}
    for name, (inputs, outputs) in sizes.items():
        weights = torch.randn((inputs + 1, outputs), generator=generator) / math.sqrt(inputs)
        weights[-1] = 0.0
        params[name] = weights
    return params


def loss_nats(params: Params, x: Tensor) -> Tensor:
    """-ELBO of binary images x, float (B, H * W): KL(q || p) + -log p(x | z), mean nats."""
    hidden = _affine(params["encode"], x).clamp(0, 16)
    mean = _affine(params["mean"], hidden)
    log_scale = _affine(params["scale"], hidden).clamp(-8, 3) * math.log(2)
    z = mean + log_scale.exp() * torch.randn_like(mean)
    logits = _affine(params["logits"], _affine(params["decode"], z).clamp(0, 16))
    kl = 0.5 * ((2 * log_scale).exp() + mean * mean - 1) - log_scale
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return (kl.sum(1) + cross.sum(1)).mean()


def _affine(weights: Tensor, x: Tensor) -> Tensor:
    return x @ weights[:-1] + weights[-1]


def fit(images: NDArray[np.uint8], hidden: int, latents: int, updates: int, seed: int = 0) -> Vae:
    """Train on binary images and round the weights.

    Args:
        images: (N, H, W) uint8 of 0 and 1.
        updates: of Adam, 64 images each.
    """
    height, width = images.shape[1:]
    params = fresh(height, width, hidden, latents, seed)
    for value in params.values():
        value.requires_grad_()
    adam = torch.optim.Adam(list(params.values()), lr=2e-3)
    random = np.random.default_rng(seed)
    flat = torch.from_numpy(images.reshape(len(images), -1)).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(updates):
            loss = loss_nats(params, flat[random.integers(len(flat), size=64)])
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
    return rounded(params, height, width)


def rounded(params: Params, height: int, width: int) -> Vae:
    """The model whose weights are `params` rounded to 2**-10."""
    scale = 2.0**WEIGHT_BITS
    weights = {
        name: torch.floor(value.detach().double() * scale + 0.5).long().numpy()
        for name, value in params.items()
    }
    return Vae(weights, height, width)
