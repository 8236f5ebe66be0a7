"""A dry run's prediction is near what compressing then gives, and writes nothing."""

import sys

import numpy as np
import pytest
from PIL import Image

from bitsback.archive import writer
from bitsback.archive.samples.estimate import estimate
from bitsback.chunks.plan import Settings
from bitsback.cli import main
from bitsback.images.image_set import from_array, picked
from bitsback.keeping.rule import Policy
from bitsback.sources import read


def drawings(count: int) -> np.ndarray:
    """Binary images that get busier with their number."""
    random = np.random.default_rng(0)
    ink = np.linspace(0.05, 0.4, count)[:, None, None]
    return (random.random((count, 16, 16)) < ink).astype(np.uint8)


@pytest.mark.parametrize("chunk", [None, 60, 250])
def test_the_size_is_near_the_one_that_follows(build_model, monkeypatch, chunk):
    monkeypatch.setattr("bitsback.archive.samples.estimate.SAMPLE_VALUES", 256 * 200)
    images = from_array(drawings(1000))
    for chained in (True, False):  # or by a classical code, which is smaller here
        loaded = build_model()
        found = estimate(images, loaded, Settings(always_chain=chained), chunk=chunk)
        assert (found.images, found.sampled) == (1000, 200)
        real = writer.compress_set(
            images, loaded, settings=Settings(always_chain=chained), chunk=chunk
        )
        assert found.size == pytest.approx(len(real.data), rel=0.06)
        assert not chained or 0 < found.error < 0.05 * found.size
        assert found.seconds > 0


def test_a_small_set_is_compressed_whole(build_model):
    images, loaded = from_array(drawings(12)), build_model()
    found = estimate(images, loaded, Settings())
    assert found.sampled == 12
    real = len(writer.compress_set(images, loaded).data)
    assert found.size == pytest.approx(real, rel=0.05)


def test_what_lies_beside_the_images_counts(build_model, tmp_path, monkeypatch):
    monkeypatch.setattr("bitsback.archive.samples.estimate.SAMPLE_VALUES", 64 * 20)
    random = np.random.default_rng(0)
    for number in range(60):
        levels = random.integers(0, 1 << 16, (8, 8)).astype(np.uint16)
        Image.fromarray(levels).save(tmp_path / f"{number:02}.png")
    names = sorted(tmp_path.glob("*.png"))
    images = read.read_images(names)
    loaded = build_model(likelihood="logistic", mixtures=2)
    seen = []
    found = estimate(images, loaded, Settings(), progress=lambda *done: seen.append(done))
    assert found.sampled == 20
    assert seen[-1] == (20 * 64, 20 * 64)
    real = len(writer.compress_set(images, loaded).data)
    assert found.size == pytest.approx(real, rel=0.05)


def test_names_of_files_count(build_model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number, drawing in enumerate(drawings(40)):
        Image.fromarray(drawing * 255 > 0).save(folder / f"{number:03d}.png")
    images = read.read_images([folder], Policy(times=False))
    some = picked(images, [3, 17])
    assert some.manifest.names == ("003.png", "017.png")
    assert np.array_equal(some.pixels[1], images.pixels[17])
    assert picked(images, range(40)) is images
    loaded = build_model()
    real = len(writer.compress_set(images, loaded).data)
    assert estimate(images, loaded, Settings()).size == pytest.approx(real, rel=0.1)


def test_a_dry_run_tells_and_writes_nothing(build_model, tmp_path, monkeypatch, capsys):
    build_model()
    np.save(tmp_path / "x.npy", drawings(60))
    words = ["compress", tmp_path / "x.npy", "-o", tmp_path / "x.bb", "--model", tmp_path / "model"]
    monkeypatch.setattr(sys, "argv", ["bitsback", *map(str, words), "--dry-run"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert not exit_.value.code
    told = capsys.readouterr().out
    assert told.startswith("about ")
    assert "60 of 60 images" in told
    assert not (tmp_path / "x.bb").exists()


def test_the_middles_of_large_images_are_enough(build_model, tmp_path, monkeypatch):
    monkeypatch.setattr("bitsback.archive.samples.estimate.SAMPLE_VALUES", 20_000)
    random = np.random.default_rng(0)
    for number in range(18):
        colour = random.integers(0, 64, (90, 70, 3), np.uint8)
        Image.fromarray(colour).save(tmp_path / f"{number:02}.png")
    Image.fromarray(random.integers(0, 64, (8, 300), np.uint8)).save(tmp_path / "gray.png")
    images = read.read_images([tmp_path])
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2)
    coded, plain = [], writer.compress_set

    def counted(images, *words, **options):
        coded.append(sum(image.size for image in images.pixels))
        return plain(images, *words, **options)

    monkeypatch.setattr(writer, "compress_set", counted)
    found = estimate(images, loaded, Settings())
    assert (found.images, found.sampled) == (19, 16)
    assert 10_000 < coded[0] <= 20_000
    real = len(writer.compress_set(images, loaded).data)
    assert found.size == pytest.approx(real, rel=0.06)
