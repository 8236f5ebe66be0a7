"""Convolutions by NumPy's matrix products give what int64 gives, whatever the products are."""

from unittest import mock

import numpy as np
import pytest
from conftest import SMALL, random_model
from hypothesis import given
from hypothesis import strategies as st

from bitsback.models import store
from bitsback.models.draw.reference import BlasOps, ReferenceOps
from bitsback.models.exact import blas, reference
from bitsback.models.known_answer import known_answer


def drawn(seed, most=500, batch=3, channels=5, out=7, size=3, height=6, width=9):
    random = np.random.default_rng(seed)
    x = random.integers(-most, most, (batch, channels, height, width), endpoint=True)
    return x, random.integers(-300, 301, (out, channels, size, size))


@given(
    seed=st.integers(0, 99),
    most=st.sampled_from([0, 1, 500, 2**20, 2**35, 2**45]),
    batch=st.integers(1, 4),
    channels=st.integers(1, 6),
    out=st.integers(1, 6),
    size=st.sampled_from([1, 3, 5]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    band=st.sampled_from([1, 300, 1 << 18]),
)
def test_it_gives_what_int64_gives(seed, band, **shape):
    x, weight = drawn(seed, **shape)
    kernel = blas.Kernel(weight)
    with mock.patch.object(blas, "_BAND", band):  # that an image is cut into bands of rows
        found = blas.convolve(x, kernel)
        products = [blas._product(x, kernel, carrier) for carrier, _ in blas._CARRIERS]
    wanted = reference.convolve(x, weight)
    assert np.array_equal(found, wanted)
    for (_, limit), product in zip(blas._CARRIERS, products, strict=True):
        if int(np.abs(x).max()) * kernel.bound <= limit:
            assert np.array_equal(product, wanted)


@pytest.mark.parametrize(
    ("most", "expected"), [(500, [np.float32]), (2**20, [np.float64]), (2**45, [])]
)
def test_the_floats_are_those_that_hold_the_sums(most, expected, monkeypatch):
    x, weight = drawn(0, most)
    taken, product = [], blas._product

    def noted(x, kernel, carrier):
        taken.append(carrier)
        return product(x, kernel, carrier)

    monkeypatch.setattr(blas, "_product", noted)
    blas.convolve(x, blas.Kernel(weight))
    assert taken == expected


def test_the_bound_is_that_of_the_worst_input():
    _, weight = drawn(0, channels=2, size=3)
    kernel = blas.Kernel(weight)
    worst = np.abs(weight).sum((1, 2, 3)).argmax()
    x = np.sign(weight[worst])[None]
    assert blas.convolve(x, kernel)[0, worst, 1, 1] == kernel.bound


@pytest.mark.parametrize("wrong", [1, 2**20])
@pytest.mark.parametrize("image", [0, -1])
def test_a_product_that_is_wrong_is_found_and_int64_takes_over(wrong, image, monkeypatch):
    x, weight = drawn(1)
    wanted, product, taken = reference.convolve(x, weight), blas._product, []

    def altered(x, kernel, carrier):
        taken.append(carrier)
        y = product(x, kernel, carrier)
        y[image, 3, 2, 5] += wrong
        return y

    monkeypatch.setattr(blas, "_product", altered)
    assert np.array_equal(blas.convolve(x, blas.Kernel(weight)), wanted)
    assert taken == [np.float32, np.float64]


@pytest.mark.parametrize("layers", [1, 2])
def test_the_network_gives_the_known_answer_of_the_reference(layers):
    config = SMALL if layers == 1 else store.read(store.folder_of("photo-two"))[0].config
    tensors, _ = random_model(config, seed=3)
    wanted = known_answer(config, ReferenceOps(config, tensors))
    assert known_answer(config, BlasOps(config, tensors)) == wanted


def test_a_model_whose_answer_differs_is_not_used(tmp_path, monkeypatch):
    tensors, widths = random_model(SMALL)
    store.save(tmp_path / "model", SMALL, tensors, widths)
    monkeypatch.setattr(BlasOps, "add_canvas", lambda self, canvas, update: canvas + update + 1)
    with pytest.raises(store.ModelError, match="NumPy does not compute the model exactly"):
        store.load(str(tmp_path / "model"), engine="numpy")
