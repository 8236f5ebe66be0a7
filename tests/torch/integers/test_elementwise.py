"""Activations by table, factors, averages: on the grid, and near torch's own."""

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from bitsback.errors import ModelError
from bitsback.torch import quantise
from bitsback.torch.integers.elementwise import Scale
from bitsback.torch.integers.grid import nearest, rounded

ACTIVATIONS = {
    "elu": nn.ELU(0.5),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu by tanh": nn.GELU("tanh"),
    "softplus": nn.Softplus(2.0),
    "leaky": nn.LeakyReLU(0.2),
    "prelu": nn.PReLU(3, 0.3),
    "relu": nn.ReLU(),
    "relu6": nn.ReLU6(),
}


def lots():
    """(1024, 3) of the grid, near 0 and far from it."""
    x = np.random.default_rng(0).normal(size=(1024, 3)) * np.exp2(np.arange(1024) % 14 - 5)[:, None]
    return torch.from_numpy(nearest(x))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_on_the_grid_and_near_its_floats(name):
    module, x = ACTIVATIONS[name].eval(), lots()
    with torch.no_grad():
        floats = module.double()(x)
    found = quantise(module)(x)
    assert torch.equal(found, rounded(found))
    assert (found - floats).abs().max() < 4e-4


def batch_norm(kind, affine=True):
    torch.manual_seed(1)
    module = kind(3, affine=affine)
    module.running_mean = torch.randn(3)
    module.running_var = torch.rand(3) + 0.1
    if affine:
        module.weight.data, module.bias.data = torch.randn(3), torch.randn(3)
    return module.eval()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_batch_normalisation_is_a_factor_and_an_offset_of_each_channel(kind, affine):
    module, x = batch_norm(kind, affine), lots()[:600]
    if kind is nn.BatchNorm2d:
        x = x.reshape(6, 10, 10, 3).permute(0, 3, 1, 2)
    with torch.no_grad():
        floats = module.double()(x)
    found = quantise(module)(x)
    assert torch.equal(found, rounded(found))
    assert (found - floats).abs().max() <= 2.0**-15 + 2.0**-17 * floats.abs().max()


def test_after_a_convolution_it_gives_what_the_floats_give():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 3, 3), batch_norm(nn.BatchNorm2d), nn.SiLU()).eval()
    x = torch.from_numpy(nearest(np.random.default_rng(0).random((2, 1, 8, 8))))
    with torch.no_grad():
        floats = module(x.float())
    assert (quantise(module)(x) - floats).abs().max() < 5e-3


@pytest.mark.parametrize(
    "pool",
    [nn.AvgPool2d(3), nn.AvgPool2d((2, 3), 1, 1), nn.AvgPool2d(2, divisor_override=3)],
    ids=str,
)
def test_averages_are_rounded_once(pool):
    x = torch.from_numpy(nearest(np.random.default_rng(0).normal(size=(2, 3, 9, 9))))
    assert torch.equal(quantise(pool.eval())(x), rounded(pool(x)))


def test_factors_of_any_size_keep_20_bits():
    for size in (1e-9, 1e-3, 1.0, 3e4):
        found = Scale(np.array([size]), np.zeros(1), "it")(torch.full((1, 1), 0.5).double()).item()
        assert found == pytest.approx(size / 2, rel=2.0**-20, abs=2.0**-17)


def test_numbers_that_are_not_finite_are_named():
    module = batch_norm(nn.BatchNorm1d)
    module.weight.data[1] = np.nan
    with pytest.raises(
        ModelError, match=r"the module \(BatchNorm1d\) has a number that is not fin"
    ):
        quantise(module)
    with pytest.raises(ModelError, match="has no running statistics"):
        quantise(nn.BatchNorm1d(3, track_running_stats=False).eval())


def test_what_an_activation_is_given_must_be_on_the_grid():
    for module in (nn.Tanh(), nn.LeakyReLU(), nn.AvgPool2d(1)):
        with pytest.raises(ModelError, match="an operation before it rounds"):
            quantise(module.eval())(torch.full((1, 1, 1), 0.3))


def test_the_tables_of_portable_files_stay():
    """Files hold what these numbers code: another digest is another format."""
    sha256 = hashlib.sha256()
    x = torch.arange(-(2**18), 2**18, 7).double()[:, None].expand(-1, 3) * 2.0**-13
    for name in sorted(ACTIVATIONS):
        whole = quantise(ACTIVATIONS[name].eval())(x) * 2**16
        sha256.update(whole.contiguous().numpy().astype("<i8").tobytes())
    assert sha256.hexdigest() == "1e6418aa013211c9611073715776263ad2e46d5d50ecea9b29c1bf04bfd170c6"
