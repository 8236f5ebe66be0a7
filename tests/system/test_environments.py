"""A file has the same bytes whatever is set around it: each process runs many settings."""

import json
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest
from PIL import Image

SCRIPT = """
import contextlib, hashlib, json, sys
import numpy as np, torch
from bitsback import load_model
from bitsback.archive import writer
from bitsback.chunks.plan import Settings
from bitsback.images.image_set import from_array

rows, columns = np.mgrid[:32, :32]
random = np.random.default_rng(0)
waves = [128 + 80 * np.sin(rows / a + columns / b) for a, b in random.uniform(2, 9, (60, 2))]
x = np.stack(waves).reshape(20, 3, 32, 32).transpose(0, 2, 3, 1)
x = (x + random.integers(-9, 10, x.shape)).astype(np.uint8)

@contextlib.contextmanager
def without_onednn(nnpack):
    torch.backends.mkldnn.enabled = False
    before = torch.backends.nnpack.set_flags(nnpack)
    try:
        yield
    finally:
        torch.backends.nnpack.set_flags(*before)
        torch.backends.mkldnn.enabled = True

@contextlib.contextmanager
def threads(count):
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(1)

@contextlib.contextmanager
def default(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)

settings = {
    "plain": contextlib.nullcontext(),
    "threads 2": threads(2),
    "threads 3": threads(3),
    "inference": torch.inference_mode(),
    "float64": default(torch.float64),
    "float16": default(torch.float16),
    "autocast bfloat16": torch.autocast("cpu", torch.bfloat16),
    "autocast float16": torch.autocast("cpu", torch.float16),
}
if hasattr(torch.backends, "nnpack"):
    settings |= {f"NNPACK {on}": without_onednn(on) for on in (True, False)}
shared, found = load_model("photo-fast", "cpu"), {}
for name in sys.argv[1:] or settings:
    with settings[name]:
        # Some are set before a model is loaded, some later.
        model = load_model("photo-fast", "cpu") if name in ("inference", "float16") else shared
        data = writer.compress_set(from_array(x), model, Settings(16, always_chain=True)).data
        found[name] = hashlib.sha256(data).hexdigest()
print(json.dumps(found))
"""


def digests(*settings, **environment):
    """SHA-256 of a file by the setting under which a process wrote it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *settings],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def plain():
    return digests()


def test_the_bytes_are_the_same_under_every_setting_of_torch(plain):
    assert len(plain) >= 8
    assert set(plain.values()) == {plain["plain"]}


@pytest.mark.parametrize(
    "environment",
    [
        {"ONEDNN_MAX_CPU_ISA": "SSE41", "BITSBACK_KERNELS": "0"},
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
    ],
    ids=lambda environment: " ".join(environment),
)
def test_the_bytes_are_the_same_in_every_environment(environment, plain):
    assert set(digests("plain", **environment).values()) == {plain["plain"]}


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
UTF8_LOCALE = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}


def run(*words, **environment):
    """A command that must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "bitsback.cli", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def contents(folder):
    """Each file's bytes, or a link's target, by its name."""
    found = {}
    for parent, folders, names in os.walk(os.fsencode(folder)):
        for path in (os.path.join(parent, name) for name in (*names, *folders)):
            if os.path.islink(path):
                found[os.path.relpath(path, os.fsencode(folder))] = os.readlink(path)
            elif os.path.isfile(path):
                found[os.path.relpath(path, os.fsencode(folder))] = pathlib.Path(
                    os.fsdecode(path)
                ).read_bytes()
    return found


def test_names_beyond_ascii_are_the_same_in_every_locale(tmp_path):
    """A folder and a tar: files, folders, links, and a name that is no UTF-8."""
    root = os.fsencode(tmp_path)
    os.makedirs(os.path.join(root, "in/zoé".encode()))
    for name in (b"z.txt", "é.txt".encode(), b"in\xff.txt", "zoé/\U0001f600.txt".encode()):
        with open(os.path.join(root, b"in", name), "xb") as file:
            file.write(name)
    Image.new("1", (28, 28)).save(tmp_path / "in/é.png")
    os.symlink("zoé".encode(), os.path.join(root, "in/lié".encode()))
    with tarfile.open(tmp_path / "in.tar", "w", encoding="utf-8") as out:
        out.add(os.path.join(os.fsdecode(root), "in"), "in")
    for source in ("in", "in.tar"):
        files = []
        for number, locale in enumerate((C_LOCALE, UTF8_LOCALE)):
            archive = str(tmp_path / f"{source}{number}.bb")
            run("compress", str(tmp_path / source), "-o", archive, "--model", "mnist", **locale)
            files.append(pathlib.Path(archive).read_bytes())
        assert files[0] == files[1]
        for number, locale in enumerate((C_LOCALE, UTF8_LOCALE)):
            back = tmp_path / f"back{number}{source[2:]}"
            run("decompress", str(tmp_path / f"{source}0.bb"), "-o", str(back), **locale)
            if back.is_file():
                assert back.read_bytes() == (tmp_path / source).read_bytes()
            else:
                assert contents(back) == contents(tmp_path / source)
