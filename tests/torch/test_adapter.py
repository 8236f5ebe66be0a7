"""Float VAEs of one's own: they code at the rate of their ELBO, and their files name a machine."""

import dataclasses
import io
import itertools
import math

import numpy as np
import pytest
import torch
from conftest import real_data
from torch import nn

import bitsback
from bitsback.ans.message import Message
from bitsback.archive.reader import Reader
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.errors import ModelError
from bitsback.torch import (
    Bernoulli,
    BetaBinomial,
    Categorical,
    Gaussian,
    Logistic,
    Mixture,
    adapt,
    choose_widths,
    width_costs,
)

SIZES = (8, 16, 32)


class Ladder(nn.Module):
    """Three layers of latents, top-down."""

    def __init__(self, hidden=48, side=28):
        super().__init__()

        def net(inputs, outputs):
            return nn.Sequential(nn.Linear(inputs, hidden), nn.ELU(), nn.Linear(hidden, outputs))

        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(side * side, hidden), nn.ELU())
        self.q = nn.ModuleList(
            net(hidden + b, 2 * s) for b, s in zip((0, 8, 24), SIZES, strict=True)
        )
        self.p = nn.ModuleList(net(b, 2 * s) for b, s in zip((8, 24), SIZES[1:], strict=True))
        self.decoder = net(56, side * side)
        self.log_scale = nn.Parameter(torch.full((side * side,), -2.0))

    def prior(self, t, z):
        return self.p[t - 1](torch.cat(z, 1)).chunk(2, 1) if t else None

    def posterior(self, t, x, z):
        return self.q[t](torch.cat([self.encoder(x), *z], 1)).chunk(2, 1)

    def decode(self, z):
        return torch.sigmoid(self.decoder(torch.cat(z, 1))), self.log_scale


def gaussian_kl(q, p):
    """KL of Gaussians given as (mean, log-sigma), nats."""
    (m, s), (mp, sp) = q, p or (torch.zeros_like(q[0]), torch.zeros_like(q[0]))
    return 0.5 * (((2 * s).exp() + (m - mp) ** 2) * (-2 * sp).exp() - 1) + sp - s


def log_logistic(x, mean, log_scale):
    """log p of values k / 255 under a discretised logistic, nats."""
    upper = torch.sigmoid((x + 0.5 / 255 - mean) / log_scale.exp())
    lower = torch.sigmoid((x - 0.5 / 255 - mean) / log_scale.exp())
    upper = torch.where(x > 0.999, 1.0, upper)
    lower = torch.where(x < 0.001, 0.0, lower)
    return torch.log((upper - lower).clamp_min(2.0**-23))


def trained(images, updates):
    """A Ladder that saw images for a few updates of Adam."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = Ladder()
        adam = torch.optim.Adam(vae.parameters(), 3e-3)
        x = torch.from_numpy(images).float()[:, None] / 255
        for _ in range(updates):
            some = x[torch.randint(len(x), (32,))]
            z, loss = (), 0.0
            for t in range(3):
                q = vae.posterior(t, some, z)
                loss = loss + gaussian_kl(q, vae.prior(t, z)).sum()
                z = (*z, q[0] + q[1].exp() * torch.randn_like(q[0]))
            loss = loss - log_logistic(some.flatten(1), *vae.decode(z)).sum()
            adam.zero_grad()
            (loss / 32).backward()
            adam.step()
    return vae.eval()


@pytest.fixture(scope="module")
def digits():
    return real_data("mnist.npz", "test")[:300]


@pytest.fixture(scope="module")
def ladder():
    return trained(real_data("mnist.npz", "train")[:4000], 400)


@pytest.fixture(scope="module")
def model(ladder, digits):
    return choose_widths(adapted(ladder), digits[:64], fineness=8.0)


def adapted(vae, **changes):
    given = {
        "image": (1, 28, 28),
        "latents": SIZES,
        "prior": vae.prior,
        "posterior": vae.posterior,
        "likelihood": lambda z: Logistic(*vae.decode(z)),
    }
    return adapt(vae, **(given | changes))


def test_net_is_the_elbo_of_each_layer_and_in_total(ladder, digits, model):
    """The author's own float terms, at the very latents that the coder drew."""
    vae, terms = model.model.vae, [0.0] * 4

    def posterior(t, x, z):
        q = ladder.posterior(t, x, z)
        terms[t] += float(gaussian_kl(q, ladder.prior(t, z)).double().sum()) / math.log(2)
        return q

    x = torch.from_numpy(digits).float().flatten(1) / 255

    def likelihood(z):
        lengths = -log_logistic(x, *ladder.decode(z))
        terms[3] += float(lengths.double().sum()) / math.log(2)
        return Logistic(*ladder.decode(z))

    whole = dataclasses.replace(vae, posterior=posterior, likelihood=likelihood, batch=300)
    float_model = dataclasses.replace(model.model, vae=whole)
    message = Message.random(16, 1 << 15, 0)
    cost = bits_back.encode(message, float_model, Batch(300, 28, 28, 0, 0), digits[:, None])
    kl = [group.kl_bits for group in cost.groups]
    for found, wanted in zip([*kl, cost.expected_likelihood], terms, strict=True):
        assert found == pytest.approx(wanted, rel=1e-3, abs=0.005 * len(digits))
    luck = math.sqrt(sum(group.variance for group in cost.groups))
    assert cost.net == pytest.approx(sum(terms), abs=5 * luck)
    assert 5 * luck < 0.005 * cost.net
    for group, layer in zip(cost.groups, terms, strict=False):
        net = group.pushed - group.popped
        assert net == pytest.approx(layer, abs=5 * math.sqrt(group.variance) + 1e-3 * layer)


def test_files_come_back_and_say_where(digits, model):
    data = bitsback.compress(digits[:40], model, always_chain=True, check="all")
    assert data.model_share == 1.0
    assert np.array_equal(bitsback.decompress(data, model), digits[:40])
    assert bitsback.rate(digits[:40], model).check().passed
    header = Reader(io.BytesIO(data), lambda name, sha256: model).header
    assert header.machine == model.machine
    assert torch.__version__ in header.machine
    elsewhere = dataclasses.replace(model, machine="torch 1.0, another machine")
    with pytest.raises(ModelError, match=r"only where it was written.*here is torch 1\.0"):
        bitsback.decompress(data, elsewhere)
    with pytest.raises(ModelError, match="where alone it decodes"):
        bitsback.decompress(data)


def test_other_weights_are_another_model(ladder, digits, model):
    data = bitsback.compress(digits[:20], model, always_chain=True)
    other = trained(digits, 1)
    with pytest.raises(ModelError, match="SHA-256"):
        bitsback.decompress(data, adapted(other))


def test_widths_trade_initial_bits_for_rate(ladder, digits):
    plain = adapted(ladder)
    costs = width_costs(plain, digits[:32])
    assert all(a.initial_bits < b.initial_bits for a, b in itertools.pairwise(costs))
    assert all(a.excess_bits > b.excess_bits for a, b in itertools.pairwise(costs))
    fine, coarse = (choose_widths(plain, digits[:32], fineness) for fineness in (4, 1))
    for a, b in zip(fine.model.log_widths, coarse.model.log_widths, strict=True):
        assert (a <= b).all()
    with pytest.raises(ModelError, match="not from"):
        choose_widths(bitsback.load_model("omniglot"), digits)


class Flat(nn.Module):
    """A random linear model of images of 8 x 8, whose latents have any shape."""

    def __init__(self, outputs, shape=(4,)):
        super().__init__()
        self.shape, count = shape, math.prod(shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.down = nn.Linear(64, 2 * count)
            self.up = nn.Linear(count, outputs)

    def posterior(self, t, x, z):
        mean, log_sigma = self.down(x[:, :1].flatten(1)).chunk(2, 1)
        return mean.reshape(-1, *self.shape), log_sigma.reshape(-1, *self.shape) - 2

    def outputs(self, z):
        return self.up(z[0].flatten(1))


LIKELIHOODS = {
    "bernoulli": (64, lambda o: Bernoulli(o.reshape(-1, 1, 8, 8))),
    "categorical": (64 * 5, lambda o: Categorical(o.reshape(-1, 1, 8, 8, 5))),
    "beta-binomial": (128, lambda o: BetaBinomial(*o.exp().reshape(-1, 2, 1, 8, 8).unbind(1))),
    "gaussian": (128, lambda o: Gaussian(*(o / 4).reshape(-1, 2, 1, 8, 8).unbind(1))),
    "logistic": (128, lambda o: Logistic(*(o / 4).reshape(-1, 2, 1, 8, 8).unbind(1))),
    "mixture": (64 * 9, lambda o: Mixture(*o.reshape(-1, 3, 3, 1, 8, 8).unbind(1))),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("shape", [(4,), (2, 4, 4)])
def test_every_likelihood_codes_and_is_coded_at_its_rate(name, shape):
    outputs, likelihood = LIKELIHOODS[name]
    vae = Flat(outputs, shape).eval()
    model = adapt(
        vae,
        image=(1, 8, 8),
        latents=[shape],
        posterior=vae.posterior,
        likelihood=lambda z: likelihood(vae.outputs(z)),
        pixels=(-1.0, 1.0),
        batch=4,
    )
    top = {"bernoulli": 2, "categorical": 5}.get(name, 256)
    images = np.random.default_rng(0).integers(0, top, (11, 8, 8)).astype(np.uint8)
    assert model.binary == (name == "bernoulli")
    data = bitsback.compress(images, model, always_chain=True, check="all", batch=3)
    assert np.array_equal(bitsback.decompress(data, model), images)
    assert bitsback.rate(images, model).check().passed


def test_a_recurrent_state_is_the_authors():
    vae = Flat(64).eval()
    seen = []

    def step(t, state, z):
        seen.append((t, z.shape))
        return {"canvas": state["canvas"] + vae.up(z)}

    model = adapt(
        vae,
        image=(1, 8, 8),
        latents=[4, 4],
        start=lambda batch: {"canvas": torch.zeros(batch, 64)},
        step=step,
        posterior=lambda t, x, state: vae.posterior(t, x - state["canvas"].reshape(x.shape), ()),
        likelihood=lambda state: Bernoulli(state["canvas"].reshape(-1, 1, 8, 8)),
        batch=4,
    )
    images = (np.random.default_rng(0).random((9, 8, 8)) < 0.3).astype(np.uint8)
    data = bitsback.compress(images, model, always_chain=True, check="all")
    assert np.array_equal(bitsback.decompress(data, model), images)
    assert set(seen) == {(0, (4, 4)), (1, (4, 4))}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"posterior": lambda t, x, z: torch.zeros(16, 8)}, "gave a Tensor: latents are Gaussian"),
        (
            {"prior": lambda t, z: torch.distributions.OneHotCategorical(torch.ones(8))},
            "categorical ones are not supported",
        ),
        ({"prior": lambda t, z: (torch.zeros(3), torch.zeros(3))}, "of shape"),
        ({"posterior": lambda t, x, z: (torch.full((16, 8), math.nan), z)}, "Gaussian|finite"),
        ({"likelihood": lambda z: torch.zeros(16, 1, 28, 28)}, "the likelihood is a Tensor"),
        (
            {"likelihood": lambda z: Logistic(torch.full((16, 784), math.inf), torch.zeros(784))},
            "not finite",
        ),
        ({"likelihood": lambda z: Logistic(torch.zeros(3, 784), torch.zeros(784))}, "a batch of"),
        ({"latents": []}, "latents"),
        ({"image": (2, 28, 28)}, "side"),
    ],
)
def test_what_is_no_model_is_refused(changes, reason):
    with pytest.raises(ModelError, match=reason):
        adapted(Ladder().eval(), **changes)


def test_a_module_in_training_mode_is_refused():
    with pytest.raises(ModelError, match="training mode"):
        adapted(Ladder())


def test_another_number_of_threads_is_refused(digits, model):
    torch.set_num_threads(2)
    try:
        with pytest.raises(ModelError, match="adapted for 1 threads"):
            bitsback.compress(digits[:2], model, always_chain=True)
    finally:
        torch.set_num_threads(1)
