"""A three-layer float VAE of MNIST, coded by bitsback and in constriction's way: lines, rate, time.

    python notebooks/float_vae.py mnist.npz [IMAGES [UPDATES]]

The file has uint8 arrays `train` and `test` of 28 x 28 pixels. Both code the same images with the
same network; lines are those of `adapted` and `ours`, and of `by_constriction`, without blank ones
and docstrings.
"""

import inspect
import math
import sys
import time

import numpy as np
import torch
from torch import nn

import bitsback
from bitsback.torch import Logistic, adapt, choose_widths, quantise, quantised_cost

SIZES = (8, 16, 32)


class Ladder(nn.Module):
    """Latents of 8, 16 and 32 dimensions, top-down; pixels k / 255 under discretised logistics."""

    def __init__(self, hidden=256):
        super().__init__()

        def net(inputs, outputs, *more):
            return nn.Sequential(
                nn.Linear(inputs, hidden), nn.ELU(), nn.Linear(hidden, outputs), *more
            )

        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.ELU())
        self.q = nn.ModuleList(
            net(hidden + b, 2 * s) for b, s in zip((0, 8, 24), SIZES, strict=True)
        )
        self.p = nn.ModuleList(net(b, 2 * s) for b, s in zip((8, 24), SIZES[1:], strict=True))
        self.decoder = net(56, 784, nn.Sigmoid())
        self.log_scale = nn.Parameter(torch.full((784,), -3.0))

    def prior(self, t, z):
        return self.p[t - 1](torch.cat(z, 1)).chunk(2, 1) if t else None

    def posterior(self, t, x, z):
        return self.q[t](torch.cat([self.encoder(x), *z], 1)).chunk(2, 1)

    def decode(self, z):
        return self.decoder(torch.cat(z, 1)), self.log_scale

    def terms(self, x):
        """KL of each layer and -log p(x | z) of every image, nats, for one sample of z."""
        z, found = (), []
        for t in range(3):
            m, s = self.posterior(t, x, z)
            mp, sp = self.prior(t, z) or (torch.zeros_like(m), torch.zeros_like(s))
            kl = 0.5 * (((2 * s).exp() + (m - mp) ** 2) * (-2 * sp).exp() - 1) + sp - s
            found.append(kl.sum(1))
            z = (*z, m + s.exp() * torch.randn_like(m))
        probabilities = levels(*self.decode(z), [(x.flatten(1) * 255).round().long()])[0]
        return [*found, -torch.log(probabilities.clamp_min(2.0**-23)).sum(1)]


def levels(mean, log_scale, which):
    """Probabilities of levels 0..255, the end bins with the tails."""
    mean, log_scale, found = mean.double(), log_scale.double(), []
    for v in which:
        upper = torch.sigmoid(((v + 0.5) / 255 - mean) / log_scale.exp())
        lower = torch.sigmoid(((v - 0.5) / 255 - mean) / log_scale.exp())
        v = torch.as_tensor(v)
        found.append(torch.where(v == 255, 1.0, upper) - torch.where(v == 0, 0.0, lower))
    return found


def train(images, updates):
    """A Ladder after so many updates of Adam."""
    torch.manual_seed(0)
    vae, x = Ladder(), torch.from_numpy(images).float()[:, None] / 255
    adam = torch.optim.Adam(vae.parameters(), 1e-3)
    for _ in range(updates):
        loss = sum(vae.terms(x[torch.randint(len(x), (64,))])).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return vae.eval()


def adapted(vae, **options):
    """The VAE as a model that codes; options as of `adapt`."""
    return adapt(
        vae,
        image=(1, 28, 28),
        latents=SIZES,
        prior=vae.prior,
        posterior=vae.posterior,
        likelihood=lambda z: Logistic(*vae.decode(z)),
        **options,
    )


def ours(vae, images):
    """The model, and the images coded and decoded."""
    model = adapted(vae)
    model = choose_widths(model, images[:100])
    data = bitsback.compress(images, model, always_chain=True)
    return model, data, bitsback.decompress(data, model)


def by_constriction(vae, images, spacing=1 / 64):
    """Bits that the images add to a stack, and the images decoded from it."""
    from constriction import stream

    gaussian = stream.model.QuantizedGaussian(-8192, 8191)
    pixels = stream.model.Categorical(perfect=False)
    coder = stream.stack.AnsCoder(
        np.random.default_rng(0).integers(1, 2**32, 1000, dtype=np.uint32)
    )
    before = coder.num_valid_bits()

    def steps(given, t):
        mean, log_sigma = given or [torch.zeros(1, SIZES[t])] * 2
        return mean[0].double().numpy() / spacing, log_sigma[0].double().exp().numpy() / spacing

    def likelihood(z):
        table = levels(*vae.decode(z), range(256))
        return torch.stack(table, -1)[0].clamp_min(2.0**-23).double().numpy()

    def latent(k):
        return torch.from_numpy(k * spacing).float()[None]

    for image in images:
        x, z, drawn = torch.from_numpy(image)[None, None].float() / 255, (), []
        for t in range(3):
            drawn.append(coder.decode(gaussian, *steps(vae.posterior(t, x, z), t)))
            z = (*z, latent(drawn[t]))
        coder.encode_reverse(image.ravel().astype(np.int32), pixels, likelihood(z))
        for t in reversed(range(3)):
            coder.encode_reverse(drawn[t], gaussian, *steps(vae.prior(t, z[:t]), t))
    bits, back = coder.num_valid_bits() - before, []
    for _ in images:
        z, drawn = (), []
        for t in range(3):
            drawn.append(coder.decode(gaussian, *steps(vae.prior(t, z), t)))
            z = (*z, latent(drawn[t]))
        back.append(coder.decode(pixels, likelihood(z)).reshape(28, 28).astype(np.uint8))
        x = torch.from_numpy(back[-1])[None, None].float() / 255
        for t in reversed(range(3)):
            coder.encode_reverse(drawn[t], gaussian, *steps(vae.posterior(t, x, z[:t]), t))
    return bits, np.stack(back[::-1])


def lines_of(function):
    """Lines of code, without blank ones, the signature and the docstring."""
    lines = [line for line in inspect.getsource(function).splitlines() if line.strip()]
    return len(lines) - 2


def main(path, count=300, updates=3000):
    """Print the comparison."""
    torch.set_num_threads(1)
    with np.load(path) as arrays:
        vae, images = train(arrays["train"][:20000], updates), arrays["test"][:count]
    x = torch.from_numpy(images).float()[:, None] / 255
    with torch.no_grad():
        samples = [vae.terms(x) for _ in range(50)]
    elbo = [np.stack([s[i].double().numpy() for s in samples]) / math.log(2) for i in range(4)]
    total = sum(part.mean() for part in elbo)
    print(f"-ELBO: {total:.2f} bits an image")
    began = time.perf_counter()
    model, data, back = ours(vae, images)
    seconds = time.perf_counter() - began
    assert np.array_equal(back, images)
    report = bitsback.rate(images, model, expected={"groups": elbo[:3], "likelihood": elbo[3]})
    net = report.net_bits / report.chained_images
    print(
        f"bitsback: {lines_of(adapted) + lines_of(ours)} lines, net {net:.2f} bits an image ({net / total - 1:+.3%}),"
    )
    print(f"    {8 * len(data) / count:.2f} in the file, coded and decoded in {seconds:.1f} s")
    print(report.check())
    try:
        began = time.perf_counter()
        with torch.no_grad():
            bits, back = by_constriction(vae, images)
        seconds = time.perf_counter() - began
        assert np.array_equal(back, images)
        lines, each = lines_of(by_constriction), bits / count
        print(
            f"constriction: {lines} lines, net {each:.2f} bits an image ({each / total - 1:+.3%}),"
        )
        print(f"    no file, coded and decoded in {seconds:.1f} s")
    except ImportError:
        print("constriction is not installed")
    whole = quantise(vae)
    exact = adapted(whole, exact=True, widths=model.model.log_widths)
    print(quantised_cost(model, exact, images))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
