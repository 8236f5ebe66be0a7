"""`-v` and `-q`: what a command says beside its result, on standard error."""

import json
import logging

import numpy as np
import pytest
import typer
from conftest import run
from PIL import Image

import bitsback
from bitsback.cli.app import app


def commands(path, command):
    inner = getattr(command, "commands", {})
    return [each for name, one in inner.items() for each in commands((*path, name), one)] or [
        (path, command)
    ]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(one, id=" ".join(path))
        for path, one in commands((), typer.main.get_command(app))
    ],
)
def test_every_command_takes_these(command):
    names = {name for parameter in command.params for name in parameter.opts}
    assert {"-q", "--quiet", "-v", "--verbose", "--json"} <= names


@pytest.fixture
def folder(build_model, tmp_path, monkeypatch):
    build_model(channels=3, likelihood="logistic", mixtures=2)
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(4):
        pixels = random.integers(0, 256, (16, 24, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png")
    Image.fromarray(pixels).save(tmp_path / "in" / "z.jpg")
    return tmp_path


WORDS = ("compress", "in", "-o", "x.bb", "--model", "model", "--chunk", 2, "--force")


def lines(told):
    """What follows the times of verbose lines."""
    return [line.split(" s  ", 1)[1] for line in told.splitlines() if " s  " in line]


def test_files_model_and_chunks_have_lines(folder, monkeypatch, capsys):
    code, out, told = run(monkeypatch, capsys, *WORDS, "--always-chain", "-v", "--json")
    assert code == 0
    assert json.loads(out)["images"] == 4
    said = lines(told)
    assert "0.png: byte for byte, from its pixels and a recipe" in said
    assert "z.jpg: travels as it is, is a JPEG" in said
    (model,) = [line for line in said if line.startswith("model model: engine torch")]
    assert "parameters" in model
    assert any("float32" in line and "the known answer is right" in line for line in said)
    chunks = [line for line in said if line.startswith("chunk ")]
    assert [line.split(",")[0] for line in chunks] == [
        "chunk 0 of 2: images 0 to 1",
        "chunk 1 of 2: images 2 to 3",
    ]
    assert all("through the model" in line for line in chunks)


def test_a_chunk_says_why_it_is_in_a_classical_code(folder, monkeypatch, capsys):
    np.save("blank.npy", np.zeros((400, 16, 16, 3), np.uint8))
    words = ("compress", "blank.npy", "-o", "y.bb", "--model", "model", "-v")
    code, _, told = run(monkeypatch, capsys, *words)
    assert code == 0
    (chunk,) = [line for line in lines(told) if line.startswith("chunk ")]
    assert "in a classical code (" in chunk
    assert "bits/dim through the model" in chunk


@pytest.mark.parametrize(
    "words",
    [("verify", "x.bb"), ("decompress", "x.bb", "-o", "out"), ("ls", "x.bb")],
    ids=lambda words: words[0],
)
def test_decoding_has_a_line_for_each_chunk(words, folder, monkeypatch, capsys):
    assert run(monkeypatch, capsys, *WORDS)[0] == 0
    code, _, told = run(monkeypatch, capsys, *words, "--model", "model", "-v")
    assert code == 0
    said = lines(told)
    assert said[0].startswith("format version 8; chunks: 2; coded images: ")
    assert [line[:15] for line in said if line.startswith("chunk ")] == [
        "chunk 0 decoded",
        "chunk 1 decoded",
    ]


def test_without_it_there_are_no_such_lines(folder, monkeypatch, capsys):
    run(monkeypatch, capsys, *WORDS, "-v")
    code, _, told = run(monkeypatch, capsys, *WORDS)
    assert code == 0
    assert lines(told) == []
    assert told.splitlines()[-1].startswith("x.bb: ")


@pytest.mark.parametrize("words", [("-q", "-v"), ("--verbose", "--quiet"), ("-vq",)])
def test_both_at_once_are_refused(words, folder, monkeypatch, capsys):
    code, out, told = run(monkeypatch, capsys, *WORDS, *words)
    assert (code, out) == (2, "")
    assert "give --quiet or --verbose, not both" in told
    assert not (folder / "x.bb").exists()


def test_info_and_models_show_more(folder, monkeypatch, capsys):
    np.save("many.npy", np.zeros((30, 8, 8), np.uint8))
    words = ("compress", "many.npy", "-o", "m.bb", "--model", "model", "--chunk", 1)
    assert run(monkeypatch, capsys, *words)[0] == 0
    _, few, _ = run(monkeypatch, capsys, "info", "m.bb")
    _, many, _ = run(monkeypatch, capsys, "info", "m.bb", "-v")
    assert "and 10 more chunks: -v shows them all" in few
    assert "more chunks" not in many
    assert len(many.splitlines()) == len(few.splitlines()) + 9
    _, out, _ = run(monkeypatch, capsys, "models", "-v")
    assert "SHA-256" in out


def test_programs_get_the_same_lines_from_the_log(folder, caplog):
    with caplog.at_level(logging.INFO, "bitsback"):
        bitsback.compress(np.zeros((2, 8, 8), np.uint8), "omniglot")
    assert any(record.message.startswith("model omniglot:") for record in caplog.records)
    assert {record.name.split(".")[0] for record in caplog.records} == {"bitsback"}
