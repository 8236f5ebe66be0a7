"""Names that a terminal, a table or an encoding would spoil."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import run
from PIL import Image

NAMES = [b"[red]x.png", b"a b.png", b"new\nline.png", "ü.png".encode(), b"\xff\xfe.png", b"\x1b[2J"]
SHOWN = ["[red]x.png", "a b.png", "new\\nline.png", "ü.png", "\\udcff\\udcfe.png", "\\x1b[2J"]


@pytest.fixture
def packed(build_model, tmp_path, monkeypatch, capsys):
    """A folder of such names, compressed."""
    build_model(channels=3, likelihood="logistic", mixtures=2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number, name in enumerate(NAMES):
        path = os.fsencode(tmp_path / "in") + b"/" + name
        with open(path, "wb") as file:
            Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(file, "PNG")
    code, _, told = run(
        monkeypatch, capsys, "compress", "in", "-o", "x.bb", "--model", "model", "-v"
    )
    assert code == 0
    return told


def test_lines_and_tables_show_them_whole_and_harmless(packed, monkeypatch, capsys):
    for name in SHOWN:
        assert f"s  {name}: byte for byte" in packed
    code, out, _ = run(monkeypatch, capsys, "ls", "-l", "x.bb", "--model", "model")
    assert code == 0
    assert sorted(row.split("│")[1].strip() for row in out.splitlines() if "RGB" in row) == sorted(
        SHOWN
    )


def test_a_pipe_gets_long_names_whole(build_model, tmp_path, monkeypatch, capsys):
    build_model(channels=3, likelihood="logistic", mixtures=2)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    name = 40 * "long " + ".png"
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / name)
    assert run(monkeypatch, capsys, "compress", "in", "-o", "x.bb", "--model", "model")[0] == 0
    _, out, _ = run(monkeypatch, capsys, "ls", "-l", "x.bb", "--model", "model")
    assert name in out


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_ls_gives_the_bytes(packed, encoding):
    def listed(*words):
        return subprocess.run(
            [sys.executable, "-m", "bitsback.cli", "ls", "x.bb", "--model", "model", *words],
            env=os.environ | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            check=True,
        ).stdout

    assert sorted(listed("--null").split(b"\0")) == sorted([*NAMES, b""])
    assert listed().replace(b"\n", b"\0") == listed("-0").replace(b"\n", b"\0")
    assert listed("-l").count(b"RGB") == len(NAMES)
    assert sorted(os.fsencode(row["name"]) for row in json.loads(listed("--json"))) == sorted(NAMES)


def test_null_is_for_names_alone(packed, monkeypatch, capsys):
    for other in ("-l", "--json"):
        code, out, told = run(monkeypatch, capsys, "ls", "x.bb", "-0", other)
        assert (code, out) == (2, "")
        assert "leave -l and --json out" in told


def test_get_view_and_verify_take_them(packed, tmp_path, monkeypatch, capsys):
    name = os.fsdecode(NAMES[4])
    words = ("--model", "model")
    assert run(monkeypatch, capsys, "get", "x.bb", name, "-o", "out", *words)[0] == 0
    assert os.listdir(os.fsencode(tmp_path / "out")) == [NAMES[4]]
    assert run(monkeypatch, capsys, "view", "x.bb", "-o", "x.html", *words)[0] == 0
    assert all(shown in (tmp_path / "x.html").read_text("utf-8") for shown in SHOWN)
    os.rename("x.bb", name)
    code, out, _ = run(monkeypatch, capsys, "verify", name, *words)
    assert (code, out) == (0, "\\udcff\\udcfe.png: OK, 6 images in 1 chunk\n")
