"""Compressed folders as others' readers see them: fsspec's file system, and Pillow's frames."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import bitsback
from bitsback import pillow

fsspec = pytest.importorskip("fsspec")
RANDOM = np.random.default_rng(0)


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A folder of images of several modes and a note, compressed by a shipped model."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in" / "sub"
    folder.mkdir(parents=True)
    for number, shape in enumerate([(16, 20, 3), (9, 8), (16, 16, 4)]):
        pixels = RANDOM.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    palette = Image.fromarray(RANDOM.integers(0, 9, (8, 9), np.uint8), "L").convert("P")
    palette.save(tmp_path / "in" / "z.png")
    Path("in/note.txt").write_text("hello")
    from bitsback.archive import writer
    from bitsback.chunks.plan import Settings
    from bitsback.keeping.rule import way
    from bitsback.sources.read import read_images

    images = read_images([Path("in")], way("samples", False, True))
    model = bitsback.load_model("photo-fast", "cpu")
    settings = Settings(always_chain=True)
    data = writer.compress_set(images, model, chunk=2, settings=settings).data
    Path("a.bb").write_bytes(data)


@pytest.fixture
def system():
    from bitsback.fsspec import BitsbackFileSystem

    return BitsbackFileSystem()


def test_files_are_found_listed_and_read(packed, system):
    assert sorted(system.ls("a.bb", detail=False)) == ["a.bb/note.txt", "a.bb/sub", "a.bb/z.png"]
    kinds = {each["name"]: each["type"] for each in system.ls("bb://a.bb")}
    assert kinds["a.bb/sub"] == "directory"
    assert system.find("a.bb") == [
        "a.bb/note.txt",
        *(f"a.bb/sub/{n}.png" for n in range(3)),
        "a.bb/z.png",
    ]
    assert system.cat("a.bb/note.txt") == b"hello"
    assert system.info("a.bb/note.txt")["size"] == 5
    with system.open("a.bb/sub/1.png") as file:
        assert np.array_equal(np.asarray(Image.open(file)), np.asarray(Image.open("in/sub/1.png")))
    assert system.exists("a.bb/sub")
    for path in ("a.bb/none", "b.bb/x", "a.bb/sub/1"):
        assert not system.exists(path)
        with pytest.raises(FileNotFoundError):
            system.open(path)
    with pytest.raises(IsADirectoryError):
        system.open("a.bb/sub")
    with pytest.raises(NotImplementedError):
        system.open("a.bb/note.txt", "wb")


def test_pillow_has_the_images_as_frames(packed):
    with Image.open("a.bb") as image:
        assert isinstance(image, pillow.BitsbackImageFile)
        assert image.n_frames == 4
        for number, name in enumerate(["sub/0.png", "sub/1.png", "sub/2.png", "z.png"]):
            image.seek(number)
            assert image.tell() == number
            with Image.open(Path("in") / name) as wanted:
                assert image.mode == wanted.mode
                assert np.array_equal(np.asarray(image), np.asarray(wanted))
                assert image.convert("RGB").tobytes() == wanted.convert("RGB").tobytes()
        with pytest.raises(EOFError):
            image.seek(4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_pillow_shows_arrays(dtype, tmp_path):
    images = RANDOM.integers(0, 2, (3, 9, 8)).astype(dtype) * dtype(1)
    path = tmp_path / "x.bb"
    path.write_bytes(bitsback.compress(images, "photo-fast"))
    with Image.open(path) as image:
        image.seek(2)
        assert np.array_equal(np.asarray(image) > 0, images[2] > 0)


def test_pillow_does_not_open_what_has_no_images(tmp_path):
    path = tmp_path / "x.bb"
    path.write_bytes(bitsback.compress(np.zeros((1, 9, 8), np.uint8), "photo-fast")[:40])
    with pytest.raises(UnidentifiedImageError):
        Image.open(path)
