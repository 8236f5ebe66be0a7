"""Quantised modules give the same integers in float64 and int64, and cost next to nothing."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import real_data
from torch import nn

import bitsback
from bitsback.errors import InputError, ModelError
from bitsback.torch import (
    BetaBinomial,
    Logistic,
    adapt,
    choose_widths,
    quantise,
    quantised_cost,
)
from bitsback.torch.integers.grid import nearest


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.ELU(),
        nn.Conv2d(6, 4, 4, padding=(2, 1), dilation=1),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, groups=2),
        nn.GELU(),
        nn.Conv2d(4, 8, 3, bias=False),
        nn.PixelShuffle(2),
        nn.LeakyReLU(),
        nn.MaxPool2d(2),
        nn.AvgPool2d(3),
        nn.Flatten(),
        nn.LazyLinear(5),
        nn.Sigmoid(),
    )


def test_integers_are_near_the_floats_and_the_same_in_both_engines():
    torch.manual_seed(0)
    module = convolutional()
    x = torch.from_numpy(nearest(np.random.default_rng(0).random((3, 1, 12, 12))))
    with torch.no_grad():
        module(x.float())  # the lazy layer's size, and statistics
        floats = module.eval()(x.float())
        found = [quantise(module, engine)(x) for engine in ("torch", "numpy")]
    assert torch.equal(*found)
    assert np.array_equal(found[0].numpy(), nearest(found[0].numpy()))
    assert 0 < (found[0] - floats).abs().max() < 2e-3


class Residual(nn.Module):
    """A sum of two maps, a halved one, a parameter, and a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.again = self.first
        self.parts = nn.ModuleDict({"act": nn.SiLU(), "same": self.first})
        self.shift = nn.Parameter(torch.full((4,), 1 / 3))
        self.more = nn.ParameterList([nn.Parameter(torch.full((4,), 0.1))])

    def forward(self, x):
        h = x + self.parts["act"](self.first(x)) / 8 + self.shift
        return self.again(h) - self.parts["same"](self.more[0] + h)


def test_an_authors_own_lines_stay_and_a_layer_of_many_names_is_turned_under_each():
    torch.manual_seed(0)
    module = Residual().eval()
    x = torch.from_numpy(nearest(np.random.default_rng(0).normal(size=(3, 4))))
    with torch.no_grad():
        floats = module(x.float())
    whole = quantise(module)
    assert whole.first is whole.again is whole.parts["same"]
    assert (whole(x) - floats).abs().max() < 1e-3
    assert module.first.weight.dtype == torch.float32  # the module itself stays


def test_the_integers_travel_as_a_state():
    torch.manual_seed(0)
    one, other = (quantise(nn.Linear(4, 3).eval()) for _ in range(2))
    x = torch.ones(1, 4)
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))


class Masked(nn.Conv2d):
    def forward(self, x):
        return nn.functional.conv2d(x, self.weight * 0.5, self.bias)


def test_what_cannot_be_turned_is_named():
    module = nn.Sequential(
        *(nn.Linear(3, 4), nn.LayerNorm(4), nn.Sequential(nn.Mish(), nn.Softplus(0.5))),
        *(Masked(1, 1, 1), nn.Upsample(scale_factor=2, mode="bilinear"), nn.LazyLinear(3)),
        *(nn.AvgPool2d(2, ceil_mode=True), nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))),
        nn.LSTM(3, 3),
    ).eval()
    module[0].register_forward_hook(lambda *given: None)
    with pytest.raises(ModelError, match="what cannot be turned into integers") as found:
        quantise(module)
    assert str(found.value).split(": ")[1].split(", ") == [
        "0 (Linear) with hooks (remove_weight_norm leaves plain weights)",
        "1 (LayerNorm)",
        "2.0 (Mish)",
        "2.1 (Softplus) with a beta below 1",
        "3 (Masked)",
        "a Conv2d with a forward of its own",
        "4 (Upsample) that is not nearest",
        "5 (LazyLinear) that has seen no input yet",
        "6 (AvgPool2d) whose windows differ in size",
        "7 (ParametrizedLinear) with parametrizations "
        "(remove_parametrizations leaves plain weights)",
        "8 (LSTM)",
    ]
    with pytest.raises(ModelError, match="unknown engine"):
        quantise(nn.Linear(2, 2).eval(), "jax")
    with pytest.raises(ModelError, match="training mode"):
        quantise(nn.Linear(2, 2))


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
    assert abs(cost.share) < 1e-4
    assert cost.standard_error < 1e-4
    assert (cost.images, len(cost.float_bits)) == (48, 2)
    # The same bits as of the code, up to the luck of its latents.
    report = bitsback.rate(digits, exact)
    assert sum(cost.exact_bits) / 48 == pytest.approx(
        report.kl_bits / report.chained_images, rel=0.05
    )
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

    with pytest.raises(ModelError, match="the likelihood's field mean is not on the grid"):
        adapt(exact, posterior=posterior, likelihood=likelihood, **given)
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


def test_a_cost_needs_images_draws_and_adapted_models(trained):
    model, digits = adapted(trained), np.zeros((2, 28, 28), np.uint8)
    for images, draws in ((digits[:1], 1), (digits, 0)):
        with pytest.raises(InputError, match="a cost needs a draw and two images"):
            quantised_cost(model, model, images, draws)
    assert quantised_cost(model, model, digits, 1).share == 0
    with pytest.raises(ModelError, match=r"is not from bitsback\.torch\.adapt"):
        quantised_cost(model, dataclasses.replace(model, model=None), digits)


def test_other_lines_of_the_author_are_another_model(trained):
    whole = quantise(trained)
    one = adapted(whole, exact=True)
    assert adapted(whole, exact=True).sha256 == one.sha256
    other = adapt(
        whole,
        image=(1, 28, 28),
        latents=[12],
        posterior=lambda t, x, z: whole.encoder(x).chunk(2, 1),
        likelihood=lambda z: Logistic(whole.decoder(z[0]), whole.log_scale + 1),
        exact=True,
    )
    assert other.sha256 != one.sha256


def test_the_numbers_are_those_of_a_machine_without_vectors():
    stays = [
        "test_affine.py::test_the_arithmetic_of_portable_files_stays",
        "test_elementwise.py::test_the_tables_of_portable_files_stay",
    ]
    other = {"ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(str(Path(__file__).parent / name) for name in stays),
        ],
        env=os.environ | other,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("..")
