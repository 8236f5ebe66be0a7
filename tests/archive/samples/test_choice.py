"""The model that is chosen for images whose user names none."""

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image

import bitsback
from bitsback.archive.samples import choice
from bitsback.images.image_set import from_array
from bitsback.models import shipped, store
from bitsback.sources.read import read_images

RANDOM = np.random.default_rng(0)


def strokes(count, top):
    """Blank images of 28x28 with a few lines."""
    images = np.zeros((count, 28, 28), np.uint8)
    for image in images:
        row, column = RANDOM.integers(4, 24, 2)
        image[row, 4:24] = image[4:24, column] = top
    return images


@pytest.mark.parametrize(
    ("images", "expected", "others"),
    [
        (strokes(5, 1), "omniglot", {"mnist", "photo"}),
        (strokes(5, 255), "mnist", {"photo"}),
        (strokes(1, 255), "mnist", {"photo"}),
        (RANDOM.integers(0, 256, (1, 65, 30), np.uint8), "photo", set()),
        (RANDOM.integers(0, 256, (2, 9, 9, 3), np.uint8), "photo", set()),
    ],
)
def test_the_kind_and_a_sample_choose(images, expected, others):
    loads = []

    def load(name):
        loads.append(name)
        return bitsback.load_model(name, "cpu")

    found = choice.choose(from_array(images), load)
    assert found.loaded.name == expected
    assert set(loads) == {expected} | others
    assert list(found.rates) == sorted(found.rates, key=found.rates.get)
    assert str(found).startswith(f"model {expected}")


def test_gray_images_of_several_sizes_with_alpha_are_sampled(tmp_path):
    for number, size in enumerate([(12, 40), (33, 9)]):
        pixels = np.dstack([RANDOM.integers(0, 256, size, np.uint8)] * 2)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    found = choice.choose(read_images([tmp_path]), lambda name: bitsback.load_model(name, "cpu"))
    assert set(found.rates) == {"mnist", "photo"}
    assert found.kind == "small gray images"


def test_compress_says_which_model_it_chose_and_why(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", strokes(30, 255))
    code, _, err = run(monkeypatch, capsys, "compress", "in.npy", "-o", "x.bb")
    assert code == 0
    assert err.startswith("bitsback: model mnist ")
    assert "(photo " in err
    assert run(monkeypatch, capsys, "decompress", "x.bb", "-o", "out.npy")[0] == 0
    assert np.array_equal(np.load("out.npy"), np.load("in.npy"))


def test_models_for_lossy_files_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", strokes(2, 255))
    words = ("compress", "in.npy", "-o", "x.bb", "--model", "photo-two")
    code, _, err = run(monkeypatch, capsys, *words)
    assert code == 2
    assert "is for lossy files" in err


def test_every_shipped_model_is_listed_with_the_figures_of_the_benchmarks(monkeypatch, capsys):
    uses = shipped.uses()
    assert sorted(uses) == store.names()
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for use in uses.values():
        if use.lossless:
            assert f"{use.bits_per_dim:.4f}" in page
            assert f"/ {use.images_per_second} images/s" in page
    code, out, _ = run(monkeypatch, capsys, "models")
    assert code == 0
    for name in uses:
        assert f" {name} " in out
