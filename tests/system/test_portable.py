"""A file decodes whatever engine, thread count or process wrote it."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bitsback import load_model
from bitsback.archive.reader import Reader
from bitsback.coding import sampling
from bitsback.models import store

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
sys.argv = ["bitsback", *sys.argv[1:]]
from bitsback.cli import main
main()
"""


def bitsback(*words, threads=1, torch=True):
    """The command line in a process of its own, with or without torch."""
    start = (
        [sys.executable, "-m", "bitsback.cli"] if torch else [sys.executable, "-c", WITHOUT_TORCH]
    )
    return subprocess.run(
        [*start, *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
    )


def chained(data):
    """How many tiles of a file went through its model."""
    reader = Reader(io.BytesIO(data), lambda name, _: load_model(name))
    heads = [reader.head(number) for number in range(len(reader.header.chunks))]
    return sum(s.count - s.classical for head in heads for s in head.segments)


@pytest.fixture
def images(tmp_path):
    """Samples of the model that codes them, and initial bits: no classical code is smaller."""
    array = sampling.sample(load_model("omniglot", "cpu"), 12, seed=1)
    np.save(tmp_path / "in.npy", array)
    (tmp_path / "payload").write_bytes(np.random.default_rng(0).bytes(4000))
    return array


@pytest.mark.parametrize(("wrote", "reads"), [(1, 2), (2, 1)])
def test_a_file_decodes_at_another_thread_count(images, tmp_path, wrote, reads):
    model = ("--model", "omniglot", "--batch", 1, "--payload", tmp_path / "payload")
    files = []
    for threads in (wrote, reads):
        file = tmp_path / f"{threads}.bb"
        made = bitsback("compress", tmp_path / "in.npy", "-o", file, *model, threads=threads)
        assert made.returncode == 0, made.stderr
        files.append(file.read_bytes())
    assert files[0] == files[1]
    assert chained(files[0]) > 0
    back = tmp_path / "back.npy"
    done = bitsback("decompress", tmp_path / f"{wrote}.bb", "-o", back, threads=reads)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(back), images)


def test_a_file_written_with_torch_decodes_without_it_and_the_other_way_round(images, tmp_path):
    model = ("--model", "omniglot", "--batch", 1, "--payload", tmp_path / "payload")
    slow = ("--engine", "numpy")
    made = bitsback("compress", tmp_path / "in.npy", "-o", tmp_path / "a.bb", *model)
    assert made.returncode == 0, made.stderr
    made = bitsback(
        "compress", tmp_path / "in.npy", "-o", tmp_path / "b.bb", *model, *slow, torch=False
    )
    assert made.returncode == 0, made.stderr
    data = (tmp_path / "a.bb").read_bytes()
    assert data == (tmp_path / "b.bb").read_bytes()
    assert chained(data) > 0
    back = tmp_path / "back.npy"
    done = bitsback("decompress", tmp_path / "a.bb", "-o", back, *slow, torch=False)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(back), images)


def test_without_torch_the_engine_is_numpy(images, tmp_path):
    words = ("compress", tmp_path / "in.npy", "--model", "omniglot")
    done = bitsback(*words, "-o", tmp_path / "x.bb", "-v", torch=False)
    assert done.returncode == 0, done.stderr
    assert "engine numpy" in done.stderr
    done = bitsback(*words, "-o", tmp_path / "y.bb", "-v")
    assert "engine torch" in done.stderr
    assert (tmp_path / "x.bb").read_bytes() == (tmp_path / "y.bb").read_bytes()
    for command in ("verify", "info"):
        assert bitsback(command, tmp_path / "x.bb", torch=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "compress in.npy -o x.bb --model omniglot --engine torch",
            "pip install 'bitsback[torch]'",
        ),
        ("compress in.npy -o x.bb --model omniglot --engine abacus", "unknown engine 'abacus'"),
        ("compress in.npy -o x.bb --model omniglot --device cuda", "computes on the CPU"),
        ("train note.toml --data in.npy -o run", "pip install 'bitsback[torch]'"),
    ],
)
def test_without_torch_the_remedy_is_named(words, sentence, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = bitsback(*words.split(), torch=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert not (tmp_path / "x.bb").exists()


def test_without_torch_its_adapter_names_the_remedy():
    code = "import sys; sys.modules['torch'] = None; import bitsback.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'bitsback[torch]'" in done.stderr.splitlines()[-1]


RATES = """
import contextlib, io, json, sys
engine, *names = sys.argv[1:]
if engine == "numpy":
    sys.modules["torch"] = None
from bitsback.cli import main
reports = {}
for name in names:
    sys.argv = ["bitsback", "rate", f"{name}.npy", "--model", name, "--engine", engine, "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit as end:
            assert not end.code, name
    reports[name] = json.loads(out.getvalue())
print(json.dumps(reports))
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """What `rate --json` prints of two images of noise with each shipped model, by engine.

    One process per engine, since starting it costs more than most of the models do.
    """
    folder = tmp_path_factory.mktemp("rates")
    for name in store.names():
        config = store.read(store.folder_of(name))[0].config
        shape = (2, config.tile, config.tile) + ((3,) if config.channels == 3 else ())
        high = 2 if config.likelihood == "bernoulli" else 256
        noise = np.random.default_rng(1).integers(0, high, shape).astype(np.uint8)
        np.save(folder / f"{name}.npy", noise)
    found = {}
    for engine in ("torch", "numpy"):
        done = subprocess.run(
            [sys.executable, "-c", RATES, engine, *store.names()],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found[engine] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", store.names())
def test_shipped_models_code_the_same_bytes_without_torch(name, reports):
    assert reports["torch"][name]["images"] == 2
    assert reports["torch"][name] == reports["numpy"][name]
