"""Several processes give the bytes and the images of one, also when some of them die."""

import dataclasses
import io
import itertools
import os
import signal
import sys

import numpy as np
import pytest

import bitsback
from bitsback.archive import writer
from bitsback.archive.executor import EncodeTask
from bitsback.archive.processes import ProcessExecutor
from bitsback.archive.reader import Reader
from bitsback.archive.workers import Recipe
from bitsback.chunks.plan import Settings
from bitsback.cli import main
from bitsback.errors import BitsbackError, FormatError, InputError, ModelError
from bitsback.images.image_set import from_array


def drawings(count=24) -> np.ndarray:
    return (np.random.default_rng(0).random((count, 8, 8)) < 0.2).astype(np.uint8)


@pytest.fixture
def folder(build_model, tmp_path):
    build_model()
    return tmp_path / "model"


def recipe(folder, engine="numpy") -> Recipe:  # the engine that starts fast
    return Recipe(str(folder), bitsback.load_model(folder).sha256, "cpu", engine)


def alone(folder, images) -> bytes:
    return bitsback.compress(images, folder, b"note", seed=3, chunk=5)


def together(folder, images, executor) -> bytes:
    file, loaded, settings = io.BytesIO(), bitsback.load_model(folder), Settings(seed=3)
    writer.compress_to(
        file,
        from_array(images),
        loaded,
        settings,
        payload=b"note",
        chunk=5,
        executor=executor,
    )
    return file.getvalue()


class Instead:
    """An executor that is given other tasks, of one kind, in the place of those for encoding."""

    def __init__(self, kind, executor):
        self.kind, self.executor = kind, executor

    def run(self, tasks, progress=None):
        return self.executor.run((self.kind(**vars(task)) for task in tasks), progress)


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_two_processes_write_and_read_the_file_of_one(folder, engine):
    images = drawings()
    executor = ProcessExecutor(recipe(folder, engine), 2)
    data = together(folder, images, executor)
    assert data == alone(folder, images)
    seen = []
    reader = Reader(io.BytesIO(data), lambda *_: bitsback.load_model(folder))
    parts = list(reader.restored(lambda *done: seen.append(done), executor))
    found = np.concatenate([np.stack(list(part.pixels))[..., 0] for part in parts])
    assert np.array_equal(found, images)
    done = list(itertools.accumulate(entry.size for entry in reader.header.chunks))
    assert seen == [(each, done[-1]) for each in done]
    assert len(done) == 5


@dataclasses.dataclass(frozen=True)
class DiesOnce(EncodeTask):
    """The first process that is given number 2 dies."""

    def run(self, loaded, progress=None):
        mark = os.environ["BITSBACK_MARK"]
        if self.number == 2 and not os.path.exists(mark):
            with open(mark, "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(loaded, progress)


class Dies(EncodeTask):
    def run(self, loaded, progress=None):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_replaced(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("BITSBACK_MARK", str(tmp_path / "mark"))
    images = drawings()
    data = together(folder, images, Instead(DiesOnce, ProcessExecutor(recipe(folder), 2)))
    assert (tmp_path / "mark").exists()
    assert data == alone(folder, images)


def test_processes_that_always_die_are_given_up(folder):
    executor = ProcessExecutor(recipe(folder), 2)
    with pytest.raises(BitsbackError, match="4 processes died"):
        together(folder, drawings(5), Instead(Dies, executor))


def test_damage_is_named_as_by_one_process(folder):
    data = bytearray(alone(folder, drawings()))
    data[-3] ^= 1
    reader = Reader(io.BytesIO(bytes(data)), lambda *_: bitsback.load_model(folder))
    executor = ProcessExecutor(recipe(folder), 2)
    with pytest.raises(FormatError, match="damaged in chunk 4, images 20 to 23"):
        list(reader.restored(executor=executor))


def test_a_process_that_finds_another_model_says_so(folder):
    executor = ProcessExecutor(dataclasses.replace(recipe(folder, "numpy"), sha256=b"otherone"), 2)
    with pytest.raises(ModelError, match="a worker needs model"):
        together(folder, drawings(5), executor)


def test_the_wrong_model_is_refused_before_any_process_begins(folder, tmp_path, build_model):
    data = alone(folder, drawings())
    other = build_model(maps=5)
    reader = Reader(io.BytesIO(data), lambda *_: other)

    class Failing:
        def run(self, tasks, progress=None):
            pytest.fail("a process began")

    with pytest.raises(ModelError):
        list(reader.restored(executor=Failing()))
    with pytest.raises(InputError, match="at least one"):
        ProcessExecutor(recipe(folder), jobs=0)


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


@dataclasses.dataclass(frozen=True)
class Asking:
    """What a process was told of threads."""

    def run(self, loaded, progress=None):
        return os.environ.get("OPENBLAS_NUM_THREADS")


@pytest.mark.parametrize("own", [None, "7"])
def test_the_processes_share_the_cores_for_numpy_too(own, folder, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if own is not None:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", own)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    executor = ProcessExecutor(recipe(folder), 2)
    assert list(executor.run([Asking()])) == [own or "3"]
    assert os.environ.get("OPENBLAS_NUM_THREADS") == own
