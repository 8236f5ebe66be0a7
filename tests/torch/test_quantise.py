"""Quantised modules give the same integers in float64 and int64, and cost next to nothing."""

import numpy as np
import pytest
import torch
from conftest import real_data
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import bitsback
from bitsback.errors import ModelError
from bitsback.torch import (
    BetaBinomial,
    Logistic,
    adapt,
    choose_widths,
    quantise,
    quantised_cost,
)
from bitsback.torch.quantise import Affine, nearest


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.ELU(),
        nn.Conv2d(6, 4, 4, padding=(2, 1), dilation=1),
        nn.Tanh(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(4, 3, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(5),
        nn.Sigmoid(),
    )


def test_integers_are_near_the_floats_and_the_same_in_both_engines():
    torch.manual_seed(0)
    module = convolutional()
    x = torch.from_numpy(nearest(np.random.default_rng(0).random((3, 1, 12, 12)))).float()
    with torch.no_grad():
        floats = module(x)
        found = [quantise(module.eval(), engine)(x.double()) for engine in ("torch", "numpy")]
    assert torch.equal(*found)
    assert np.array_equal(found[0].numpy(), nearest(found[0].numpy()))
    assert (found[0] - floats).abs().max() < 2e-3


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 9), st.floats(0.01, 300), st.integers(0, 2**32 - 1))
def test_sums_are_exact_in_whatever_order(inputs, outputs, size, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs)
    layer.weight.data *= size
    x = torch.from_numpy(nearest((torch.rand(4, inputs).double().numpy() - 0.5) * 4000))
    one, other = (quantise(layer, engine) for engine in ("torch", "numpy"))
    assert torch.equal(one(x), other(x))
    shuffled = torch.randperm(inputs)
    one.weight = one.weight[:, shuffled]
    assert torch.equal(one(x[:, shuffled]), other(x))


def test_what_cannot_be_turned_is_named():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Softplus())).eval()
    with pytest.raises(ModelError, match=r"1 \(BatchNorm1d\), 2\.0 \(Softplus\)"):
        quantise(module)
    large = nn.Linear(2, 2)
    large.weight.data.fill_(1e9)
    with pytest.raises(ModelError, match="could reach"):
        quantise(large)
    with pytest.raises(ModelError, match="unknown engine"):
        quantise(nn.Linear(2, 2), "jax")
    assert Affine(nn.Linear(2, 2), "it", "torch").reach < 2**53


class Vae(nn.Module):
    """One layer of 12 latents over MNIST."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ELU(), nn.Linear(64, 24))
        self.decoder = nn.Sequential(nn.Linear(12, 64), nn.ELU(), nn.Linear(64, 784), nn.Sigmoid())
        self.log_scale = nn.Parameter(torch.full((784,), -2.0))

    def terms(self, x):
        mean, log_sigma = self.encoder(x).chunk(2, 1)
        kl = 0.5 * ((2 * log_sigma).exp() + mean**2 - 1) - log_sigma
        z = mean + log_sigma.exp() * torch.randn_like(mean)
        u, s = (x.flatten(1) - self.decoder(z)) / self.log_scale.exp(), self.log_scale
        return kl.sum(1) + (u.abs() + 2 * torch.log1p(torch.exp(-u.abs())) + s).sum(1)


def adapted(vae, **options):
    return adapt(
        vae,
        image=(1, 28, 28),
        latents=[12],
        posterior=lambda t, x, z: vae.encoder(x).chunk(2, 1),
        likelihood=lambda z: Logistic(vae.decoder(z[0]), vae.log_scale),
        **options,
    )


@pytest.fixture(scope="module")
def trained():
    images = torch.from_numpy(real_data("mnist.npz", "train")[:4000]).float()[:, None] / 255
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = Vae()
        adam = torch.optim.Adam(vae.parameters(), 3e-3)
        for _ in range(200):
            loss = vae.terms(images[torch.randint(len(images), (32,))]).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
    return vae.eval()


def test_the_portable_form_costs_little_and_decodes_in_int64(trained):
    digits = real_data("mnist.npz", "test")[:48]
    floats = choose_widths(adapted(trained), digits)
    widths = floats.model.log_widths
    exact, reference = (
        adapted(quantise(trained, engine), exact=True, widths=widths)
        for engine in ("torch", "numpy")
    )
    assert (exact.machine, exact.sha256) == ("", reference.sha256)
    cost = quantised_cost(floats, exact, digits)
    assert abs(cost.share) < 0.005
    assert "in integers" in str(cost)
    data = bitsback.compress(digits, exact, always_chain=True)
    assert np.array_equal(bitsback.decompress(data, reference), digits)
    torch.set_num_threads(2)
    try:
        assert np.array_equal(bitsback.decompress(data, exact), digits)
    finally:
        torch.set_num_threads(1)


def test_an_operation_that_rounds_is_refused_where_it_shows(trained):
    exact = quantise(trained)
    given = {"image": (1, 28, 28), "latents": [12], "exact": True, "batch": 4}

    def posterior(t, x, z):
        return exact.encoder(x).chunk(2, 1)

    def likelihood(z):
        return Logistic(exact.decoder(z[0]) / 3, exact.log_scale)

    model = adapt(exact, posterior=posterior, likelihood=likelihood, **given)
    blank = np.zeros((2, 28, 28), np.uint8)
    with pytest.raises(ModelError, match="the likelihood's field mean is not on the grid"):
        bitsback.compress(blank, model, always_chain=True)
    with pytest.raises(ModelError, match=r"encoder\.1 \(Linear\) is given numbers that are not"):
        exact.encoder(torch.full((1, 784), 0.3))
    with pytest.raises(ModelError, match="lgamma"):
        adapt(
            exact,
            posterior=posterior,
            likelihood=lambda z: BetaBinomial(exact.decoder(z[0]) + 1, exact.decoder(z[0]) + 1),
            **given,
        )


@pytest.mark.parametrize("widths", [[np.zeros(3, int)], [np.zeros(12)], [np.full(12, 1)], []])
def test_widths_that_do_not_fit_are_refused(widths, trained):
    with pytest.raises(ModelError, match="the widths are integers from -144 to 0"):
        adapted(trained, widths=widths)
