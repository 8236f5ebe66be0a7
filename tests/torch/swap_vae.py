"""A float VAE of three layers, inferred from the bottom up, as a researcher has it."""

import numpy as np
import torch
from torch import nn

from bitsback.torch import Bernoulli, adapt

SIZES = (4, 6, 10)


class Swap(nn.Module):
    """Three layers, each given its neighbour alone; images of 8 x 8 bits."""

    def __init__(self):
        super().__init__()

        def net(inputs, outputs):
            return nn.Sequential(nn.Linear(inputs, 16), nn.ELU(), nn.Linear(16, outputs))

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            below = (*SIZES[1:], 64)
            self.p = nn.ModuleList(net(SIZES[t], 2 * SIZES[t + 1]) for t in range(2))
            self.q = nn.ModuleList(net(below[t], 2 * SIZES[t]) for t in range(3))
            self.decoder = net(SIZES[2], 64)
            for layers in (*self.p, *self.q):
                layers[2].weight.data *= 3.0
                layers[2].weight.data[len(layers[2].weight) // 2 :] /= 8.0

    def prior(self, t, above):
        return self.p[t - 1](above).chunk(2, 1) if t else None

    def posterior(self, t, below):
        mean, log_sigma = self.q[t](below.flatten(1)).chunk(2, 1)
        return mean, log_sigma - 1

    def decode(self, z):
        return self.decoder(z).reshape(-1, 1, 8, 8)

    def sample(self, x):
        """Latents under q."""
        below, z = x, [None] * 3
        for t in (2, 1, 0):
            below = z[t] = torch.distributions.Normal(*exp(self.posterior(t, below))).sample()
        return z

    def terms(self, x, z):
        """log q - log p of each latent and -log p(x | z), nats of every image."""
        below = (*z[1:], x)
        q = [torch.distributions.Normal(*exp(self.posterior(t, below[t]))) for t in range(3)]
        found = []
        for t in range(3):
            given = self.prior(t, z[t - 1]) if t else (torch.zeros(()), torch.zeros(()))
            p = torch.distributions.Normal(*exp(given))
            found.append((q[t].log_prob(z[t]) - p.log_prob(z[t])).sum(1))
        pixels = torch.distributions.Bernoulli(logits=self.decode(z[2]))
        return [*found, -pixels.log_prob(x).flatten(1).sum(1)]


def exp(parameters):
    mean, log_sigma = parameters
    return mean, log_sigma.exp()


def adapted(vae, **changes):
    given = {
        "image": (1, 8, 8),
        "latents": SIZES,
        "order": "bottom-up",
        "prior": vae.prior,
        "posterior": vae.posterior,
        "likelihood": lambda z: Bernoulli(vae.decode(z)),
    }
    return adapt(vae, **(given | changes))


def digits(count=120):
    return (np.random.default_rng(0).random((count, 8, 8)) < 0.3).astype(np.uint8)
