"""Several processes give the bytes and the images of one, also when some of them die."""

import functools
import io
import os
import signal
import sys

import numpy as np
import pytest

import bitsback
from bitsback.archive import processes, writer
from bitsback.archive.reader import Reader
from bitsback.chunks.encoder import Coding
from bitsback.cli import main
from bitsback.errors import BitsbackError, FormatError, InputError, ModelError
from bitsback.images.image_set import from_array


def drawings(count=24) -> np.ndarray:
    return (np.random.default_rng(0).random((count, 8, 8)) < 0.2).astype(np.uint8)


@pytest.fixture
def folder(build_model, tmp_path):
    build_model()
    return tmp_path / "model"


def recipe(folder, **changes) -> processes.Recipe:
    loaded = bitsback.load_model(folder)
    fields = {
        "model": str(folder),
        "device": "cpu",
        "engine": "torch",
        "micro_batch": None,
        "sha256": loaded.sha256,
        "batch": None,
        "seed": 3,
    }
    return processes.Recipe(**(fields | changes))


def alone(folder, images) -> bytes:
    return bitsback.compress(images, folder, b"note", seed=3, chunk=5)


def together(folder, images, encode) -> bytes:
    file, coding = io.BytesIO(), Coding(bitsback.load_model(folder), None, 3)
    writer.compress_to(file, from_array(images), coding, payload=b"note", chunk=5, encode=encode)
    return file.getvalue()


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_two_processes_write_and_read_the_file_of_one(folder, engine):
    images = drawings()
    plan = recipe(folder, engine=engine)
    data = together(folder, images, functools.partial(processes.encoded, recipe=plan, jobs=2))
    assert data == alone(folder, images)
    seen = []
    reader = Reader(io.BytesIO(data), lambda *_: bitsback.load_model(folder))
    decode = functools.partial(processes.decoded, recipe=plan, jobs=2)
    parts = list(reader.restored(lambda *done: seen.append(done), decode))
    found = np.concatenate([np.stack(list(part.pixels))[..., 0] for part in parts])
    assert np.array_equal(found, images)
    assert seen == [(n, 24) for n in (5, 10, 15, 20, 24)]


def _dies_once(task):
    """Encode a chunk; the first process that is given number 2 dies."""
    mark = os.environ["BITSBACK_MARK"]
    if task.number == 2 and not os.path.exists(mark):
        with open(mark, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return processes.encode(task)


def _dies(task):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_replaced(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("BITSBACK_MARK", str(tmp_path / "mark"))
    images, plan = drawings(), recipe(folder)
    data = together(folder, images, lambda tasks: processes._spread(_dies_once, tasks, plan, 2))
    assert (tmp_path / "mark").exists()
    assert data == alone(folder, images)


def test_processes_that_always_die_are_given_up(folder):
    plan = recipe(folder)
    with pytest.raises(BitsbackError, match="processes died"):
        together(folder, drawings(5), lambda tasks: processes._spread(_dies, tasks, plan, 2))


def test_damage_is_named_as_by_one_process(folder):
    data = bytearray(alone(folder, drawings()))
    data[-3] ^= 1
    reader = Reader(io.BytesIO(bytes(data)), lambda *_: bitsback.load_model(folder))
    decode = functools.partial(processes.decoded, recipe=recipe(folder), jobs=2)
    with pytest.raises(FormatError, match="damaged in chunk 4, images 20 to 23"):
        list(reader.restored(decode=decode))


def test_the_wrong_model_is_refused_before_any_process_begins(folder, tmp_path, build_model):
    data = alone(folder, drawings())
    other = build_model(maps=5)
    reader = Reader(io.BytesIO(data), lambda *_: other)
    with pytest.raises(ModelError):
        list(reader.restored(decode=lambda tasks: pytest.fail("a process began")))
    with pytest.raises(InputError, match="at least one"):
        list(processes.encoded([], recipe(folder), jobs=0))


def test_the_command_line_takes_jobs(folder, tmp_path, monkeypatch):
    images = drawings()
    np.save(tmp_path / "x.npy", images)
    words = ("--model", folder, "--jobs", 2)
    for command in (
        (
            "compress",
            tmp_path / "x.npy",
            "-o",
            tmp_path / "x.bb",
            "--chunk",
            5,
            "--seed",
            3,
            *words,
        ),
        ("decompress", tmp_path / "x.bb", "-o", tmp_path / "y.npy", *words),
    ):
        monkeypatch.setattr(sys, "argv", ["bitsback", *map(str, command)])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert not exit_.value.code
    assert np.array_equal(np.load(tmp_path / "y.npy"), images)
    assert (tmp_path / "x.bb").read_bytes() == bitsback.compress(images, folder, seed=3, chunk=5)
