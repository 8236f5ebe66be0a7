"""A three-layer float VAE of MNIST, coded by bitsback, and in the ways of craystack and constriction.

    python notebooks/float_vae.py mnist.npz [IMAGES [UPDATES]]

The file has uint8 arrays `train` and `test` of 28 x 28 pixels; IMAGES is a multiple of 20. All code
the same images with the same network. Lines are those of `adapted` and `ours`, and of the function
of the other library, without blank ones, docstrings, and those that only count bits.
"""

import inspect
import math
import re
import sys
import time

import numpy as np
import torch
from torch import nn

import bitsback
from bitsback.torch import Logistic, adapt, choose_widths, compare_terms, quantise, quantised_cost

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
        return [*found, self.reconstruction(x, z)]

    def terms_at(self, x, z):
        """log q(z_t) - log p(z_t) and -log p(x | z) of every image, nats, at given z."""
        found = []
        for t in range(3):
            m, s = self.posterior(t, x, z[:t])
            mp, sp = self.prior(t, z[:t]) or (torch.zeros_like(m), torch.zeros_like(s))
            log_q, log_p = (
                -(((z[t] - m) / s.exp()) ** 2) / 2 - s,
                -(((z[t] - mp) / sp.exp()) ** 2) / 2 - sp,
            )
            found.append((log_q - log_p).sum(1))
        return [*found, self.reconstruction(x, z)]

    def reconstruction(self, x, z):
        """-log p(x | z) of every image, nats."""
        probabilities = levels(*self.decode(z), [(x.flatten(1) * 255).round().long()])[0]
        return -torch.log(probabilities.clamp_min(2.0**-23)).sum(1)


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


def by_constriction(vae, images, reach=16, spacing=1 / 64):
    """Bits by latent and of the pixels that the images add to a stack, and the images decoded.

    The latents lie on a grid from -reach to reach, to each point of which constriction gives a
    probability of at least 2**-24: a draw is anywhere on it with that many times its points.
    """
    from constriction import stream

    gaussian = stream.model.QuantizedGaussian(-int(reach / spacing), int(reach / spacing))
    pixels = stream.model.Categorical(perfect=False)
    coder = stream.stack.AnsCoder(
        np.random.default_rng(0).integers(1, 2**32, 1000, dtype=np.uint32)
    )
    net, back, far = np.zeros(4), [], []

    def steps(given, t):
        mean, log_sigma = given or [torch.zeros(1, SIZES[t])] * 2
        return mean[0].double().numpy() / spacing, log_sigma[0].double().exp().numpy() / spacing

    def likelihood(z):
        table = levels(*vae.decode(z), range(256))
        return torch.stack(table, -1)[0].clamp_min(2.0**-23).double().numpy()

    def latent(k):
        return torch.from_numpy(k * spacing).float()[None]

    def counted(part, call, *arguments):
        before = coder.num_valid_bits()
        found = call(*arguments)
        net[part] += coder.num_valid_bits() - before
        if call == coder.decode:
            _, mean, sigma = arguments
            far.extend(found[np.abs(found - mean) > 7 * sigma] * spacing)
        return found

    for image in images:
        x, z, drawn = torch.from_numpy(image)[None, None].float() / 255, (), []
        for t in range(3):
            q = steps(vae.posterior(t, x, z), t)
            drawn.append(counted(t, coder.decode, gaussian, *q))
            z = (*z, latent(drawn[t]))
        flat = image.ravel().astype(np.int32)
        counted(3, coder.encode_reverse, flat, pixels, likelihood(z))
        for t in reversed(range(3)):
            counted(t, coder.encode_reverse, drawn[t], gaussian, *steps(vae.prior(t, z[:t]), t))
    for _ in images:
        z, drawn = (), []
        for t in range(3):
            drawn.append(coder.decode(gaussian, *steps(vae.prior(t, z), t)))
            z = (*z, latent(drawn[t]))
        back.append(coder.decode(pixels, likelihood(z)).reshape(28, 28).astype(np.uint8))
        x = torch.from_numpy(back[-1])[None, None].float() / 255
        for t in reversed(range(3)):
            coder.encode_reverse(drawn[t], gaussian, *steps(vae.posterior(t, x, z[:t]), t))
    tell(far, reach)
    return net, np.stack(back[::-1])


def tell(far, reach):
    """Say how many latents were drawn where no posterior is."""
    print(
        f"grid to {reach}: {len(far)} latents drawn beyond 7 sigma, up to {max(map(abs, far), default=0):.0f}"
    )


def by_craystack(vae, images, batch=20, bins=16, precision=24):
    """The same, with bins of equal mass under each prior, for batches of images side by side."""
    import craystack as cs

    random = np.random.default_rng(0)
    head, _ = cs.base_message(batch * 784, randomize=True)
    message = head, (random.integers(2**32, size=1 << 16, dtype=np.uint32), ())
    net, back = np.zeros(4), []

    def bits(message):
        from craystack import rans

        words = len(rans.flatten(message)) - 2 * message[0].size  # of the tail
        return np.log2(message[0].astype(float)).sum() + 32 * words

    def on(codec, size):
        return cs.substack(codec, lambda head: np.reshape(head[: batch * size], (batch, size)))

    def parameters(given, t):
        mean, log_sigma = given or [torch.zeros(batch, SIZES[t])] * 2
        return mean.double().numpy(), log_sigma.double().exp().numpy()

    def posterior(t, x, z):
        q, p = parameters(vae.posterior(t, x, z), t), parameters(vae.prior(t, z[:t]), t)
        return on(cs.DiagGaussian_GaussianBins(*q, *p, precision, bins), SIZES[t])

    def likelihood(z):
        table = torch.stack(levels(*vae.decode(z), range(256)), -1).clamp_min(2.0**-23).numpy()
        return on(cs.Categorical(table / table.sum(-1, keepdims=True), precision), 784)

    def latent(t, k, z):
        mean, sigma = parameters(vae.prior(t, z), t)
        return torch.from_numpy(mean + sigma * cs.std_gaussian_centres(bins)[k]).float()

    def counted(part, codec, *x):
        nonlocal message
        before = bits(message)
        message, *found = codec(message, *x)
        net[part] += bits(message) - before
        return found

    for first in range(0, len(images), batch):
        some, z, drawn = images[first : first + batch], (), []
        x = torch.from_numpy(some)[:, None].float() / 255
        for t in range(3):
            drawn += counted(t, posterior(t, x, z).pop)
            z = (*z, latent(t, drawn[t], z))
        counted(3, likelihood(z).push, some.reshape(batch, 784).astype(np.uint64))
        for t in reversed(range(3)):
            counted(t, on(cs.Uniform(bins), SIZES[t]).push, drawn[t])
    for _ in range(0, len(images), batch):
        z, drawn = (), []
        for t in range(3):
            message, k = on(cs.Uniform(bins), SIZES[t]).pop(message)
            drawn.append(k)
            z = (*z, latent(t, k, z))
        message, some = likelihood(z).pop(message)
        back.append(some.reshape(batch, 28, 28).astype(np.uint8))
        x = torch.from_numpy(back[-1])[:, None].float() / 255
        for t in reversed(range(3)):
            (message,) = posterior(t, x, z[:t]).push(message, drawn[t])
    return net, np.concatenate(back[::-1])


def lines_of(*functions):
    """Lines of code: without blank ones, docstrings, and what only counts bits for the table."""
    count = 0
    for function in functions:
        source = re.sub(r'(?s)""".*?"""', "", inspect.getsource(function))
        source = re.sub(r"(?ms)^    def (counted|bits)\(.*?(?=^    [^ \n])", "", source)
        source = re.sub(r"(?m)^    tell\(.*\n", "", source)
        count += len([line for line in source.splitlines() if line.strip()]) - 1
    return count


def row(name, lines, net, total, seconds):
    """A line of the table; net: bits an image of each latent and of the pixels."""
    parts = "".join(f"{bits:9.2f}" for bits in [*net, sum(net)])
    print(f"{name:20}{lines:>6}{parts}{sum(net) / total - 1:+10.3%}{seconds:>9}")


def main(path, count=300, updates=3000):
    """Print the comparison."""
    torch.set_num_threads(1)
    with np.load(path) as arrays:
        vae, images = train(arrays["train"][:20000], updates), arrays["test"][:count]
    compare(vae, images)


def compare(vae, images, samples=60):
    """Print the table, the checks, and what integers cost."""
    count, x = len(images), torch.from_numpy(images).float()[:, None] / 255
    with torch.no_grad():
        drawn = [vae.terms(x) for _ in range(samples)]
    elbo = [np.stack([s[i].double().numpy() for s in drawn]) / math.log(2) for i in range(4)]
    total = sum(part.mean() for part in elbo)
    heads = "".join(f"{head:>9}" for head in ("z_0", "z_1", "z_2", "pixels", "net"))
    print(f"bits an image{'':7}{'lines':>6}{heads}{'-ELBO':>10}{'CPU s':>9}")
    row("-ELBO", "", [part.mean() for part in elbo], total, "")
    began = time.process_time()
    model, data, back = ours(vae, images)
    seconds = f"{time.process_time() - began:.1f}"
    assert np.array_equal(back, images)
    report = bitsback.rate(images, model, expected={"groups": elbo[:3], "likelihood": elbo[3]})
    net = [*(step.net_bits for step in report.steps), report.likelihood_bits]
    each = np.array(net) / report.chained_images
    row("bitsback", lines_of(adapted, ours), each, total, seconds)
    peers = {
        "craystack": by_craystack,
        "constriction, to 16": by_constriction,
        "constriction, to 128": lambda *given: by_constriction(*given, reach=128),
    }
    for name, peer in peers.items():
        peer_row(name, peer, vae, images, total)
    print(f"{8 * len(data) / count:.2f} bits an image in bitsback's file; the others have none")
    print(report.check())
    print(compare_terms(model, images, vae.terms_at))
    whole = quantise(vae)
    exact = adapted(whole, exact=True, widths=model.model.log_widths)
    print(quantised_cost(model, exact, images))


def peer_row(name, peer, vae, images, total):
    """The row of another library's way, where it is installed."""
    try:
        began = time.process_time()
        with torch.no_grad():
            net, back = peer(vae, images)
    except ImportError as error:
        print(f"{name}: {error.name} is not installed")
        return
    seconds = f"{time.process_time() - began:.1f}"
    assert np.array_equal(back, images)
    lines = lines_of(by_craystack if peer is by_craystack else by_constriction)
    row(name, lines, net / len(images), total, seconds)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
