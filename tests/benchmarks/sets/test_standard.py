"""The standard sets are found in a folder, and what is not there is named."""

import numpy as np
import pytest
from PIL import Image

from bitsback.benchmarks.sets.standard import SETS, parted
from bitsback.errors import InputError
from bitsback.models import shipped

BY_NAME = {each.name: each for each in SETS}


def test_sets_are_there_or_lacking(tmp_path):
    np.savez(tmp_path / "mnist.npz", test=np.zeros((2, 28, 28), np.uint8))
    (tmp_path / "kodak").mkdir()
    there, lacking = parted(tmp_path)
    assert [each.name for each in there] == ["MNIST", "Kodak"]
    assert [each.name for each in lacking] == ["Omniglot", "CIFAR-10", "McMaster", "Set14"]


def test_every_set_has_models_that_ship():
    for each in SETS:
        assert set(each.models) <= set(shipped.uses())


def test_the_first_array_that_is_there_is_taken(tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "cifar10.npz", train=levels[:1], test=levels)
    title, images = BY_NAME["CIFAR-10"].read(tmp_path)
    assert title == "CIFAR-10 test"
    assert np.array_equal(images.pixels, levels)
    np.savez(tmp_path / "cifar10.npz", test=levels, heldout=levels[2:])
    title, images = BY_NAME["CIFAR-10"].read(tmp_path, limit=2)
    assert title == "CIFAR-10 heldout"
    assert np.array_equal(images.pixels, levels[2:4])


def test_an_npz_of_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "cifar10.npz", train=np.zeros((1, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"cifar10.npz has no array heldout or test"):
        BY_NAME["CIFAR-10"].read(tmp_path)


def test_of_a_folder_only_the_first_files_are_read(tmp_path):
    (tmp_path / "set14").mkdir()
    for number, name in enumerate("abc"):
        Image.new("L", (8, 8), number).save(tmp_path / "set14" / f"{name}.png")
    (tmp_path / "set14" / "d.png").write_bytes(b"not read")
    title, images = BY_NAME["Set14"].read(tmp_path, limit=2)
    assert title == "Set14"
    assert [int(image.max()) for image in images.pixels] == [0, 1]
