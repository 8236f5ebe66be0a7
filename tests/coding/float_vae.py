"""A float VAE of two layers, as a researcher has it: its ELBO, and its port to the protocol."""

import dataclasses

import numpy as np

from bitsback import grid, pixels, protocol

SIDE, DIMS, TOP, LOW = 8, 64, 4, 6


@dataclasses.dataclass(frozen=True)
class FloatVae:
    """p(z1) = N(0, 1), p(z2 | z1), p(x | z2); q(z1 | x), q(z2 | x, z1). Weights are drawn.

    Each part gives a mean and log2 sigma, or logits.
    """

    seed: int = 0

    def weights(self, name: str, inputs: int, outputs: int, size: float) -> np.ndarray:
        random = np.random.default_rng([self.seed, *name.encode()])
        return size * random.standard_normal((inputs, outputs)) / np.sqrt(inputs)

    def posterior1(self, x):
        flat = x.reshape(len(x), -1) - 0.3
        mean = flat @ self.weights("m1", DIMS, TOP, 1.1)
        return mean, -1.0 + flat @ self.weights("s1", DIMS, TOP, 0.15)

    def prior2(self, z1):
        return np.tanh(z1 @ self.weights("p", TOP, LOW, 1.0)), z1 @ self.weights(
            "ps", TOP, LOW, 0.3
        )

    def posterior2(self, x, z1):
        flat = x.reshape(len(x), -1) - 0.3
        mean = flat @ self.weights("m2", DIMS, LOW, 1.3) + z1 @ self.weights("b2", TOP, LOW, 0.5)
        return mean, -1.5 + flat @ self.weights("s2", DIMS, LOW, 0.15)

    def logits(self, z2):
        return -1.0 + z2 @ self.weights("x", LOW, DIMS, 2.0)

    def expected_bits(self, x, samples=8):
        """KL of both layers and -log2 p(x | z), each (samples, N) bits."""
        random, found = np.random.default_rng(7), []
        for _ in range(samples):
            q1, p1 = self.posterior1(x), (0.0, 0.0)
            z1 = q1[0] + np.exp2(q1[1]) * random.standard_normal(q1[0].shape)
            q2, p2 = self.posterior2(x, z1), self.prior2(z1)
            z2 = q2[0] + np.exp2(q2[1]) * random.standard_normal(q2[0].shape)
            sign = 1.0 - 2.0 * x.reshape(len(x), -1)
            nll = np.logaddexp(0.0, sign * self.logits(z2)).sum(1) / np.log(2)
            found.append((kl(*q1, *p1), kl(*q2, *p2), nll))
        kl1, kl2, nll = np.stack(found, 1)
        return {"groups": [kl1, kl2], "likelihood": nll}


def kl(q_mean, q_log, p_mean, p_log):
    """KL of Gaussians, (N,) bits."""
    ratio = np.exp2(2 * (q_log - p_log)) + ((q_mean - p_mean) / np.exp2(p_log)) ** 2 - 1
    return (ratio / 2 / np.log(2) + p_log - q_log).sum(1)


class Port:
    """The VAE as the coder sees it: rounded at the border, wrong where a test wants it.

    Args:
        wrong: "variance", "means", "prior" or "z", for a mistake that such ports make.
    """

    passes = protocol.ALL_PIXELS

    def __init__(self, vae: FloatVae, wrong: str = "") -> None:
        self.vae, self.wrong = vae, wrong
        limit = {"limit": 32} if wrong == "z" else {}
        self.groups = tuple(
            protocol.Group(1, layer, np.full(size, -48), **limit)
            for layer, size in ((1, TOP), (2, LOW))
        )

    def start(self, batch, height, width):
        return (np.zeros((batch, 0)),)

    def observe(self, x):
        return x

    def prior(self, index, state):
        if index == 0 or self.wrong == "prior":
            zero = np.zeros((len(state[0]), (TOP, LOW)[index]))
            return gaussian(zero, zero)
        return gaussian(*self.vae.prior2(state[1]))

    def posterior(self, index, memory, state, p):
        vae = self.vae
        mean, log_sigma = vae.posterior2(memory, state[1]) if index else vae.posterior1(memory)
        if self.wrong == "variance":
            log_sigma = 2 * log_sigma
        if self.wrong == "means":
            mean = np.clip(mean, -0.6, 0.6)
        return gaussian(mean, log_sigma), memory

    def step(self, index, state, z):
        return (*state, z[:, :, 0, 0] / 64)

    def reveal(self, state, x):
        return state

    def likelihood(self, state, gray):
        logits = np.round(32 * self.vae.logits(state[2])).astype(np.int64)
        return pixels.Bernoulli(logits.reshape(-1, 1, SIDE, SIDE))


def gaussian(mean, log_sigma):
    shape = (*mean.shape, 1, 1)
    values = (np.round(scale * v).astype(np.int64) for scale, v in ((256, mean), (64, log_sigma)))
    return grid.Gaussian(*(v.reshape(shape) for v in values))


def port(vae: FloatVae, wrong: str = "") -> protocol.LoadedModel:
    """The port, ready to code."""
    return protocol.LoadedModel("port", bytes(32), Port(vae, wrong), 1, True, (SIDE,), 32, 1)


def images(count: int, seed: int = 1) -> np.ndarray:
    """Noise whose density differs from image to image, (N, 8, 8) uint8."""
    random = np.random.default_rng(seed)
    ink = random.uniform(0.05, 0.6, (count, 1, 1))
    return (random.random((count, SIDE, SIDE)) < ink).astype(np.uint8)
