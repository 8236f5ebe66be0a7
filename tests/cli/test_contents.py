"""`bitsback ls` and `bitsback get`: files of a set by name, from few of its chunks."""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from PIL import Image

import bitsback
from bitsback.archive import members
from bitsback.archive.reader import open_path

NAMES = [f"{folder}/{number}.png" for folder in ("a", "a-b", "b") for number in range(4)]


@pytest.fixture
def packed(build_model, tmp_path, monkeypatch, capsys):
    """A folder of images and two other files, compressed in chunks of two images."""
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2)
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in NAMES:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 24, 3), np.uint8)).save(path)
        os.utime(path, ns=(0, 10**18 + len(path.read_bytes())))
    (tmp_path / "in" / "notes").write_bytes(b"not an image")
    (tmp_path / "in" / "b" / "labels.csv").write_bytes(b"0,1\n")
    words = ("in", "-o", "x.bb", "--model", "model", "--chunk", 2, "--always-chain")
    assert run(monkeypatch, capsys, "compress", *words)[0] == 0
    return loaded


def test_files_are_listed_in_order(packed, monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "ls", "x.bb", "--model", "model")
    assert (code, out.split("\n")) == (0, [*sorted([*NAMES, "notes", "b/labels.csv"]), ""])
    code, out, _ = run(monkeypatch, capsys, "ls", "x.bb", "--model", "model", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["notes"]["size"] == 12
    image = rows["a/1.png"]
    assert (image["mode"], image["height"], image["width"], image["size"]) == ("RGB", 16, 24, None)
    code, out, _ = run(monkeypatch, capsys, "ls", "x.bb", "--model", "model", "-l")
    assert code == 0
    assert "12 bytes" in out
    assert "RGB 24 x 16" in out


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["a/2.png"], ["a/2.png"]),
        (["b"], [name for name in NAMES if name.startswith("b/")] + ["b/labels.csv"]),
        (["a/", "notes"], [name for name in NAMES if name.startswith("a/")] + ["notes"]),
        (["b/labels.csv", "a-b/0.png", "a-b"], [*NAMES[4:8], "b/labels.csv"]),
    ],
)
def test_files_and_folders_come_back_alone(packed, asked, expected, tmp_path, monkeypatch, capsys):
    words = ("get", "x.bb", *asked, "-o", "out", "--model", "model")
    code, out, err = run(monkeypatch, capsys, *words)
    assert (code, out) == (0, "")
    assert err.endswith(" s\n")
    found = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in found) == sorted(expected)
    for path in found:
        source = tmp_path / "in" / path.relative_to(tmp_path / "out")
        assert path.read_bytes() == source.read_bytes()
        restored = path.stat().st_mtime_ns == source.stat().st_mtime_ns
        assert restored or "no modes and times" in err


def test_few_chunks_are_decoded_for_a_file(packed, monkeypatch):
    decoded = []
    with open_path("x.bb", lambda *_: packed) as reader:
        known = reader.chunk

        def chunk(number, progress=None):
            decoded.append(number)
            return known(number, progress)

        monkeypatch.setattr(reader, "chunk", chunk)
        (found,) = members.find(reader, ["b/3.png"], print)
        assert found.content == Path("in/b/3.png").read_bytes()
        assert len(reader.header.chunks) == 6
    assert len(set(decoded)) < 5


def test_what_is_not_there_is_named_and_nothing_is_written(packed, tmp_path, monkeypatch, capsys):
    words = ("get", "x.bb", "a/1.png", "c", "-o", "out", "--model", "model")
    code, _, err = run(monkeypatch, capsys, *words)
    assert (code, err) == (2, "bitsback: the file holds no 'c'\n")
    assert not (tmp_path / "out").exists()


def test_arrays_have_no_names(packed, monkeypatch, capsys):
    np.save("x.npy", np.zeros((3, 8, 8, 3), np.uint8))
    assert run(monkeypatch, capsys, "compress", "x.npy", "-o", "y.bb", "--model", "model")[0] == 0
    for words in (("ls", "y.bb"), ("get", "y.bb", "0", "-o", "out")):
        code, _, err = run(monkeypatch, capsys, *words, "--model", "model")
        assert code == 2
        assert "decompress it" in err


def test_members_of_a_tar_have_their_modes_and_times(packed, tmp_path, monkeypatch, capsys):
    with tarfile.open("x.tar", "w") as file:
        for name in reversed(NAMES[:5]):
            info = file.gettarinfo(f"in/{name}", f"./{name}")
            info.mtime, info.mode = 1_000_000_000, 0o640
            with open(f"in/{name}", "rb") as content:
                file.addfile(info, content)
    words = ("x.tar", "-o", "t.bb", "--model", "model", "--chunk", 2)
    assert run(monkeypatch, capsys, "compress", *words)[0] == 0
    words = ("get", "t.bb", "a", "-o", "out", "--model", "model", "-q")
    code, _, err = run(monkeypatch, capsys, *words)
    assert (code, err) == (0, "")
    for name in NAMES[:4]:
        path = tmp_path / "out" / name
        assert path.read_bytes() == (tmp_path / "in" / name).read_bytes()
        assert path.stat().st_mtime == 1_000_000_000
        assert path.stat().st_mode & 0o777 == 0o640
    assert not (tmp_path / "out" / NAMES[4]).exists()


def test_one_file_goes_to_standard_output(packed, tmp_path):
    start = [sys.executable, "-m", "bitsback.cli", "get", "x.bb", "-o", "-", "--model", "model"]
    done = subprocess.run([*start, "a/0.png"], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "in" / "a" / "0.png").read_bytes()
    done = subprocess.run([*start, "a"], capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")


def test_the_version_is_told(monkeypatch, capsys):
    assert run(monkeypatch, capsys, "--version")[:2] == (0, f"bitsback {bitsback.__version__}\n")


@pytest.mark.parametrize(("first", "count"), [(0, 3), (5, 4), (11, 100)])
def test_a_page_shows_images_from_their_chunks(packed, first, count, monkeypatch, capsys):
    words = ("x.bb", "-o", "x.html", "--model", "model", "--first", first, "-n", count)
    code, _, err = run(monkeypatch, capsys, "view", *words, "--size", 16)
    assert code == 0, err
    page = Path("x.html").read_text()
    names = re.findall(r"<figcaption>([^,<]*)", page)
    assert page.count("data:image/png") == sum(name.endswith(".png") for name in names) > 0
    assert len(names) <= count
    assert set(names) <= {*NAMES, "notes (no image)", "b/labels.csv (no image)"}
    assert names[0] == sorted(NAMES)[first]


def test_a_page_shows_arrays_of_any_kind(packed, monkeypatch, capsys):
    random = np.random.default_rng(0)
    for dtype, shape in ((np.uint8, (3, 9, 8, 5)), (np.uint16, (3, 9, 8)), (bool, (3, 9, 8))):
        np.save("a.npy", random.integers(0, 2, shape).astype(dtype) * dtype(1))
        code, _, err = run(
            monkeypatch, capsys, "compress", "a.npy", "-o", "y.bb", "--model", "model", "--force"
        )
        assert code == 0, err
        words = ("view", "y.bb", "-o", "y.html", "--model", "model", "--force")
        assert run(monkeypatch, capsys, *words)[0] == 0
        assert Path("y.html").read_text().count("data:image/png") >= 3
    code, _, err = run(monkeypatch, capsys, *words, "--first", 99)
    assert (code, "there is no number 99" in err) == (2, True)
