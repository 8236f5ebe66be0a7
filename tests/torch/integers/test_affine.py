"""Layers of integers: sums that float32 counts, near the floats, the same in int64."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bitsback.errors import ModelError
from bitsback.models.exact import convolution
from bitsback.torch.integers import affine
from bitsback.torch.integers.affine import Affine, Weights, input_bits
from bitsback.torch.integers.grid import nearest, rounded

LAYERS = {
    "linear": lambda: nn.Linear(12, 5),
    "without a bias": lambda: nn.Conv2d(4, 6, 3, bias=False),
    "strides": lambda: nn.Conv2d(4, 6, 3, stride=(2, 3), padding=(1, 2)),
    "dilation": lambda: nn.Conv2d(4, 6, 3, dilation=(1, 2), padding="same"),
    "even": lambda: nn.Conv2d(4, 6, (2, 4), padding="same"),
    "valid": lambda: nn.Conv2d(4, 6, 3, padding="valid"),
    "reflecting": lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "circular": lambda: nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="circular"),
    "groups": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
    "transposed with more": lambda: nn.ConvTranspose2d(
        4, 6, 3, stride=(3, 2), padding=(0, 2), output_padding=(2, 1), dilation=(2, 1)
    ),
    "transposed in groups": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
}


def input_of(layer, images=3, seed=0):
    shape = (images, 12) if isinstance(layer, nn.Linear) else (images, 4, 9, 8)
    return torch.from_numpy(nearest(np.random.default_rng(seed).normal(size=shape)))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even")  # torch's, of its own copy
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_near_its_floats_and_the_same_in_both_engines(name):
    torch.manual_seed(0)
    layer = LAYERS[name]().double().requires_grad_(False)
    x = input_of(layer)
    floats = layer(x)
    one, other = (Affine(layer, "it", engine)(x) for engine in ("torch", "numpy"))
    assert torch.equal(one, other)
    assert torch.equal(one, rounded(one))
    assert one.shape == floats.shape
    assert (one - floats).abs().max() < 2e-3 * floats.abs().max()


@pytest.mark.parametrize("name", LAYERS)
def test_an_image_gives_the_same_alone_and_in_a_batch(name):
    layer = LAYERS[name]().double().requires_grad_(False)
    whole, x = Affine(layer, "it", "torch"), input_of(layer, 5)
    x[3] *= 64  # a neighbour's unit is no image's own
    assert torch.equal(torch.cat([whole(x[n : n + 1]) for n in range(5)]), whole(x))


def test_a_linear_takes_any_axes_before_its_inputs():
    layer = nn.Linear(12, 5).double().requires_grad_(False)
    whole, x = Affine(layer, "it", "torch"), input_of(layer, 6)
    assert torch.equal(whole(x.reshape(2, 3, 12)), whole(x).reshape(2, 3, 5))


@settings(max_examples=40)
@given(st.integers(1, 1500), st.integers(1, 4), st.floats(-18, 12), st.integers(0, 2**32 - 1))
def test_sums_stay_below_what_float32_counts_and_are_as_fine_as_that_allows(n, o, size, seed):
    random = np.random.default_rng(seed)
    weight = random.standard_t(2, (o, n)) * 2.0**size
    found = Weights.of(weight, "it")
    assert max(part.stop - part.start for part in found.parts) <= affine.PART
    assert sum(part.stop - part.start for part in found.parts) == n
    assert found.reach < 2**24
    sums = np.max([np.abs(found.whole[:, p]).sum(1) for p in found.parts], axis=0)
    finest = found.shift == affine._MOST_SHIFT
    # One bit more would be too much, were it not for the rounding of n weights.
    assert ((2 * sums + n) << found.bits >= 2**24)[~finest].all()
    assert np.abs(found.whole * np.ldexp(1.0, -found.shift)[:, None] - weight).max() <= np.ldexp(
        0.5, -found.shift.min()
    )


@settings(max_examples=30)
@given(st.integers(1, 700), st.floats(-10, 10), st.floats(-12, 14), st.integers(0, 2**32 - 1))
def test_integers_are_the_same_in_float32_and_int64(inputs, size, height, seed):
    random = np.random.default_rng(seed)
    layer = nn.Linear(inputs, 3).double().requires_grad_(False)
    layer.weight.data = torch.from_numpy(random.normal(size=(3, inputs)) * 2.0**size)
    x = torch.from_numpy(nearest(random.normal(size=(4, inputs)) * 2.0**height))
    one, other = (Affine(layer, "it", engine) for engine in ("torch", "numpy"))
    assert torch.equal(one(x), other(x))


def test_the_largest_sums_are_exact_too():
    layer = nn.Linear(512, 2).double().requires_grad_(False)
    layer.weight.data.fill_(0.1)
    layer.weight.data[1, 1::2] = -0.1
    one, other = (Affine(layer, "it", engine) for engine in ("torch", "numpy"))
    x = torch.ones(2, 512).double()
    x[1, 1::2] = -1
    assert one.reach > 2**23
    assert torch.equal(one(x), other(x))
    assert one(x)[0, 0] == pytest.approx(51.2, rel=1e-2)


def test_what_torch_rounds_is_found_and_computed_in_another_way(monkeypatch):
    layer = nn.Conv2d(4, 6, 3).double().requires_grad_(False)
    x = input_of(layer)
    expected = Affine(layer, "it", "numpy")(x)

    def rounding(x, kernel):
        y = convolution.in_its_dtype(x, kernel)
        return y + (y == y.max())

    monkeypatch.setattr(convolution, "WAYS", (rounding, *convolution.WAYS[1:]))
    assert torch.equal(Affine(layer, "it", "torch")(x), expected)


def test_more_inputs_leave_fewer_bits_to_each():
    assert [input_bits(n) for n in (1, 4, 64, 512)] == [13, 12, 10, 8]
    assert input_bits(1 << 30) == 4


def test_zeros_give_the_bias():
    layer = nn.Linear(12, 5).double().requires_grad_(False)
    found = Affine(layer, "it", "torch")(torch.zeros(2, 12))
    assert torch.equal(found, rounded(layer.bias).expand(2, 5))


def test_results_are_clipped_to_the_grid():
    layer = nn.Linear(1, 1).double().requires_grad_(False)
    layer.weight.data.fill_(3e4)
    assert Affine(layer, "it", "torch")(torch.full((1, 1), 9.0)).item() == 2**15


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        (np.nan, 0.0, "a weight that is not finite"),
        (np.inf, 0.0, "a weight that is not finite"),
        (2.0**80, 0.0, "weights that are too large for integers"),
        (1.0, np.nan, "a bias that is not finite"),
        (1.0, 1e5, "a bias that is not finite, or beyond 32768"),
    ],
)
def test_a_layer_that_cannot_is_named(weight, bias, message):
    layer = nn.Linear(2, 1).double().requires_grad_(False)
    layer.weight.data[0, 1], layer.bias.data[0] = weight, bias
    with pytest.raises(ModelError, match=r"decoder\.3 \(Linear\) has " + message):
        Affine(layer, "decoder.3 (Linear)", "torch")


def test_its_weights_are_not_to_be_had():
    layer = Affine(nn.Linear(2, 1).requires_grad_(False), "it", "torch")
    for name in ("weight", "bias"):
        with pytest.raises(ModelError, match="can only be called"):
            getattr(layer, name)


def test_casts_of_a_whole_model_leave_the_integers_alone():
    layer = nn.Linear(12, 5).requires_grad_(False)
    whole, x = Affine(layer, "it", "torch"), input_of(layer)
    expected = whole(x)
    assert torch.equal(whole.half()(x), expected)


def test_numbers_beside_the_grid_are_refused():
    layer = Affine(nn.Linear(2, 1).requires_grad_(False), "it", "torch")
    layer(torch.full((1, 2), 2.0**-20).double())
    for value in (torch.full((1, 2), 1 / 3).double(), torch.full((1, 2), 0.75)):
        with pytest.raises(ModelError, match="it is given numbers that are not on the grid"):
            layer(value)


def test_the_arithmetic_of_portable_files_stays():
    """Files hold what these numbers code: another digest is another format."""
    random, sha256 = np.random.Generator(np.random.Philox(7)), hashlib.sha256()
    for name in sorted(LAYERS):
        layer = LAYERS[name]().double().requires_grad_(False)
        for value in layer.parameters():
            drawn = random.integers(-(2**20), 2**20, tuple(value.shape)) * 2.0**-21
            value.data = torch.from_numpy(drawn)
        x = input_of(layer) * 0
        x += torch.from_numpy(random.integers(-(2**20), 2**20, tuple(x.shape)) * 2.0**-16)
        whole = Affine(layer, name, "torch")(x) * 2**16
        sha256.update(whole.numpy().astype("<i8").tobytes())
    assert sha256.hexdigest() == "151f07e06c7a8f42880ae1f60204f526e44e6ae00fdc4d524bea53ee1ac643bc"
