"""The shipped models for lossy files, on images that none of them was trained on."""

import numpy as np
import pytest
import torch
from conftest import real_data
from skimage import data

from bitsback.lossy import choice, coder, files, regions
from bitsback.models import store

BETAS = [name for name in store.names() if name.startswith("photo-beta") or name == "photo-two"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return real_data("cifar10.npz", "heldout")[:48]


@pytest.mark.parametrize("name", BETAS)
def test_bits_grow_and_errors_fall_with_the_steps(name, images):
    loaded = store.load(name)
    coded = coder.analyse(images, loaded)
    sizes, errors = [], []
    for steps in range(1, regions.steps_of(loaded) + 1):
        made = coder.write(coded, images.shape[1:], loaded, steps, bare=True)
        sizes.append(len(made.data))
        back = coder.decode(made.data, loaded, 0.0).astype(float)
        errors.append(np.square(back - images).mean())
    assert all(np.diff(sizes) > 0)
    assert errors[-1] < 0.8 * errors[0]
    falls = np.diff(errors) < 0
    assert falls.mean() > 0.7


@pytest.mark.parametrize("name", BETAS)
def test_every_file_costs_its_kl_within_two_percent_and_eight_bytes(name, images):
    loaded = store.load(name)
    coded = coder.analyse(images, loaded)
    for one in coded:
        for steps in range(1, regions.steps_of(loaded) + 1):
            made = coder.write([one], images.shape[1:], loaded, steps)
            assert made.matches


@pytest.mark.parametrize("name", BETAS)
def test_a_photograph_of_any_size_is_stored(name):
    loaded, image = store.load(name), data.chelsea()[None]
    made = coder.encode(image, loaded, 3)
    assert 8 * len(made.data) <= 1.02 * made.promised_bits + 64
    for variance in (0.0, 1.0):
        back = coder.decode(made.data, loaded, variance)
        assert back.shape == image.shape
        assert np.abs(back.astype(float) - image).mean() < 25


@pytest.mark.skipif(not BETAS, reason="no model for lossy files ships")
def test_threads_batches_and_arithmetics_give_the_same_latents():
    image = data.chelsea()[None, 100:132, 200:248]
    several = np.repeat(image, 5, 0)
    files_of, shown, threads = set(), set(), torch.get_num_threads()
    try:
        for engine, count in (("torch", 1), ("torch", 2), ("numpy", 1)):
            torch.set_num_threads(count)
            loaded = store.load("photo-beta1", "cpu", engine)
            files_of.add(coder.encode(image, loaded, 3).data)
            (found,) = coder.decode(next(iter(files_of)), loaded, 1.0, 5)
            shown.add(found.tobytes())
            bare = coder.encode(several, loaded, 3, bare=True).data
            together = coder.decode(bare, loaded, 1.0, 5)
            shown |= {each.tobytes() for each in together}
    finally:
        torch.set_num_threads(threads)
    assert len(files_of) == len(shown) == 1


@pytest.mark.skipif(not BETAS, reason="no model for lossy files ships")
def test_a_rate_picks_model_and_steps(images):
    for rate in (0.1, 0.2, 0.4):
        loaded = store.load(files.default_model(rate))
        made = files.encode(images, loaded, None, rate, high=False, bare=True)
        assert 0.3 * rate < made.bits_per_dim <= rate


@pytest.mark.skipif(not BETAS, reason="no model for lossy files ships")
def test_a_gray_images_rate_is_of_its_one_channel():
    # Its model codes three: a third of the bits for each.
    assert files.default_model(0.3, channels=1) == files.default_model(0.1)
    made = files.encode(
        data.camera()[None, ..., None], store.load("photo-two"), 8, None, True, False
    )
    assert made.matches  # next to nothing is in the higher layer


@pytest.mark.skipif(not BETAS, reason="no model for lossy files ships")
def test_the_table_has_every_model_and_step():
    table = choice.points()
    found = {(point.model, point.steps) for point in table}
    assert found == {
        (name, t + 1) for name in BETAS for t in range(regions.steps_of(store.load(name)))
    }


def test_first_bits_tell_all_weights_apart_that_ever_shipped():
    from bitsback.lossy.container import model_bits

    bits = [model_bits(sha256) for _, sha256 in store.shipped()]
    assert len(set(bits)) == len(bits)
