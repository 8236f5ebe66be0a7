"""The shipped models give back any data, and reach their KL-based rate on real data."""

import functools

import numpy as np
import pytest
from conftest import real_data

import bitsback
from bitsback.archive import writer
from bitsback.chunks.plan import Settings
from bitsback.coding import sampling
from bitsback.images.image_set import from_array
from bitsback.models import store

NAMES = store.names()


@functools.cache
def loaded(name):
    return bitsback.load_model(name, "cpu")


def shape_of(name, count):
    model = loaded(name)
    return (count, model.tiles[0], model.tiles[0]) + ((3,) if model.channels == 3 else ())


def through_the_model(name, images, batch=None, payload=b"", alone=False):
    """Compress through the model even where a classical code is smaller, and decompress.

    Args:
        alone: whether side information may not help it.
    """
    settings = Settings(batch, always_chain=True, predictor=not alone, recalibration=not alone)
    packed = writer.compress_set(from_array(images), loaded(name), settings, payload=payload)
    assert packed.report.chained_images > 0
    assert np.array_equal(bitsback.decompress(packed.data, loaded(name)), images)
    return packed


def test_three_models_are_shipped_each_of_at_most_16_mb():
    assert set(NAMES) >= {"omniglot", "mnist", "photo"}
    for name in NAMES:
        assert (store.WEIGHTS / name / "model.safetensors").stat().st_size <= 16 * 2**20


@pytest.mark.parametrize("kind", ["noise", "zeros", "ones", "checkers"])
@pytest.mark.parametrize("name", NAMES)
def test_foreign_data_come_back(name, kind):
    high = 1 if loaded(name).binary else 255
    shape = shape_of(name, 3)
    if kind == "noise":
        images = np.random.default_rng(0).integers(0, high + 1, shape).astype(np.uint8)
    elif kind == "checkers":
        images = np.indices(shape)[1:3].sum(0).astype(np.uint8) % 2 * np.uint8(high)
    else:
        images = np.full(shape, high if kind == "ones" else 0, np.uint8)
    through_the_model(name, images)


def test_inverted_and_exchanged_data_sets_come_back():
    omniglot = real_data("omniglot.npz", "test_binary")[:6]
    digits = real_data("mnist.npz", "test")[:6]
    lungs = real_data("pneumoniamnist.npz", "test_images")[:6]
    for images in (1 - omniglot, (digits > 127).astype(np.uint8)):
        through_the_model("omniglot", images)
    for images in (255 - digits, lungs, omniglot * np.uint8(255)):
        through_the_model("mnist", images)
        through_the_model("photo", images)


def test_omniglot_is_coded_at_its_kl_based_rate():
    images = real_data("omniglot.npz", "test_binary")[:800]
    report = through_the_model("omniglot", images, batch=8).report
    check = report.check()
    assert check.passed, check
    assert abs(report.net_bits / report.kl_bits - 1) < 0.02
    assert report.bits_per_dim(report.net_bits) < 0.2


@pytest.mark.parametrize(
    ("name", "file", "array", "most"),
    [("mnist", "mnist.npz", "test", 2.2), ("photo", "cifar10.npz", "heldout", 6.0)],
)
def test_gray_and_colour_are_coded_at_their_kl_based_rate(name, file, array, most):
    images = real_data(file, array)[:60]
    report = through_the_model(name, images).report
    assert report.check().passed, report.check()
    assert report.bits_per_dim(report.net_bits) < most


def test_another_batch_is_part_of_the_format():
    images = np.random.default_rng(1).random(shape_of("omniglot", 20)) < 0.1
    images = images.astype(np.uint8)
    files = {through_the_model("omniglot", images, batch=n).data for n in (1, 3, 20)}
    assert len(files) == 3


def test_flipping_any_bit_of_a_chained_file_is_noticed():
    images = (np.random.default_rng(2).random(shape_of("omniglot", 4)) < 0.1).astype(np.uint8)
    data = through_the_model("omniglot", images, batch=2).data
    random = np.random.default_rng(3)
    for place in random.choice(len(data), 60, replace=False):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(random.integers(8))
        with pytest.raises((bitsback.FormatError, bitsback.ModelError)):
            bitsback.decompress(bytes(damaged), loaded("omniglot"))


def test_every_truncation_is_noticed():
    images = (np.random.default_rng(2).random(shape_of("omniglot", 4)) < 0.1).astype(np.uint8)
    data = through_the_model("omniglot", images, batch=2).data
    for size in [*range(0, len(data) - 1, len(data) // 40), len(data) - 1]:
        with pytest.raises((bitsback.FormatError, bitsback.ModelError)):
            bitsback.decompress(data[:size], loaded("omniglot"))


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_images_that_the_model_codes_cheaply(name):
    model = loaded(name)
    images = sampling.sample(model, 12, seed=3)
    assert images.shape[:3] == (12, model.tiles[0], model.tiles[0])
    high = 1 if model.binary else 255
    noise = np.random.default_rng(0).integers(0, high + 1, images.shape).astype(np.uint8)
    payload = np.random.default_rng(1).bytes(60_000)
    cost = {
        kind: through_the_model(name, x, payload=payload, alone=True).report.net_bits
        for kind, x in (("samples", images), ("noise", noise))
    }
    assert cost["samples"] < 0.8 * cost["noise"]


def test_a_set_that_a_classical_code_makes_smaller_is_stored_so():
    # Smooth, and larger than what the initial bits take, so that the chain is possible too.
    ramp = np.add.outer(np.arange(512), np.arange(512)) // 4
    images = np.stack([ramp, ramp[::-1], ramp.T], -1)[None].astype(np.uint8)
    chained = through_the_model("photo", images)
    packed = writer.compress_set(from_array(images), loaded("photo"))
    assert packed.report.chained_images == 0
    assert len(packed.data) < len(chained.data)
