"""`check_model` passes what codes, and names what is wrong with what does not."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

import bitsback
from bitsback import grid
from bitsback.models import vae
from bitsback.protocol import LoadedModel
from bitsback.testing import check_model, image_arrays

IMAGES = (np.random.default_rng(0).random((40, 8, 8)) < 0.3).astype(np.uint8)
VAE = vae.fit(IMAGES, hidden=12, latents=3, updates=20)


def loaded(model, **changes):
    return dataclasses.replace(
        LoadedModel("vae", bytes(32), model, 1, True, (8,), batch=8, multiple=1), **changes
    )


def altered(**methods):
    """A VAE with methods in place of its own."""
    return type("Altered", (vae.Vae,), methods)(VAE.weights, 8, 8)


def test_a_model_that_codes_passes():
    report = check_model(loaded(VAE), IMAGES)
    assert report.passed, report
    assert "match" in str(report)
    assert report.rate.images == 40


def floats(self, index, state):
    p = vae.Vae.prior(self, index, state)
    return grid.Gaussian(p.mean.astype(np.float64), p.log_scale)


def forgetful(self, index, state):
    p = vae.Vae.prior(self, index, state)
    return grid.Gaussian(
        p.mean + np.random.default_rng().integers(-99, 99, p.mean.shape), p.log_scale
    )


def sharp(self, index, memory, state, p):
    q, memory = vae.Vae.posterior(self, index, memory, state, p)
    return grid.Gaussian(q.mean, q.log_scale - 4000), memory


def of_the_batch(self, index, memory, state, p):
    q, memory = vae.Vae.posterior(self, index, memory, state, p)
    return grid.Gaussian(q.mean + 16 * len(q.mean), q.log_scale), memory


def flat(self, index, memory, state, p):
    q, memory = vae.Vae.posterior(self, index, memory, state, p)
    return grid.Gaussian(q.mean[:, :, 0], q.log_scale[:, :, 0]), memory


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        ({"prior": floats}, "means are float64, not integers"),
        ({"prior": forgetful}, "means differ when it is asked again"),
        ({"posterior": sharp}, r"log-scales lie in .* not -512\.\.192"),
        ({"posterior": of_the_batch}, "differ in batches of 1 and 5"),
        ({"posterior": flat}, "have shape"),
    ],
)
def test_what_is_wrong_is_named(methods, reason):
    report = check_model(loaded(altered(**methods)), IMAGES)
    assert not report.passed
    with pytest.raises(AssertionError, match=reason):
        assert report.passed, str(report)


def test_images_of_another_size_are_refused():
    with pytest.raises(bitsback.InputError, match="8 x 8 pixels and 1 channel"):
        check_model(loaded(VAE), np.zeros((3, 9, 9), np.uint8))


@settings(max_examples=10)
@given(image_arrays(loaded(VAE)))
def test_drawn_images_are_coded(images):
    data = bitsback.compress(images, loaded(VAE), always_chain=True)
    assert np.array_equal(bitsback.decompress(data, loaded(VAE)), images)
