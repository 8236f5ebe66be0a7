"""Sdist and wheel build from a checkout, install into an empty environment, and code there."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

import bitsback

LARGEST = 40 * 2**20
PROGRAM = """
import sys
sys.path.append({outer!r})  # what bitsback depends on
import numpy as np
import bitsback
assert bitsback.__file__.startswith({home!r}), bitsback.__file__
images = (np.random.default_rng(0).random((12, 28, 28)) < 0.1).astype(np.uint8)
data = bitsback.compress(images, "omniglot")
assert np.array_equal(bitsback.decompress(data), images)
from bitsback.models import store
print(*store.names())
"""


def run(*words, cwd=None) -> str:
    done = subprocess.run([*map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(kind: str, source: Path, output: Path) -> Path:
    """An sdist or a wheel, by the build backend that `pyproject.toml` names."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(output)!r}))"
    return output / run(sys.executable, "-c", code, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """What a checkout has of the package, with the link from bitsback/models to models."""
    source = tmp_path_factory.mktemp("checkout") / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("bitsback", "models"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=unwanted)
    assert (source / "bitsback" / "models").is_symlink()
    return source


@pytest.fixture(scope="module")
def built(source, tmp_path_factory) -> tuple[Path, Path]:
    """The sdist of a checkout, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    sdist = build("sdist", source, folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return sdist, build("wheel", unpacked, folder)


def test_both_are_small_enough_and_hold_the_weights(built):
    sdist, wheel = built
    assert wheel.stat().st_size < LARGEST
    assert sdist.stat().st_size < LARGEST
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {path.parent.name for path in (ROOT / "models/weights").glob("*/model.safetensors")}
    for name in shipped:
        for file in ("config.json", "model.safetensors", "README.md", "log.json"):
            assert f"bitsback/models/weights/{name}/{file}" in names
    for path in (ROOT / "models/weights/earlier").glob("*/*"):
        assert f"bitsback/models/weights/earlier/{path.parent.name}/{path.name}" in names
    for path in [*(ROOT / "models/configs").glob("*"), *(ROOT / "models/logs").glob("*")]:
        assert f"bitsback/models/{path.parent.name}/{path.name}" in names
    for folder, inside in (("bitsback", "bitsback"), ("models", "bitsback/models")):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"{inside}/{path.relative_to(ROOT / folder).as_posix()}" in names
    assert "bitsback/py.typed" in names


def test_both_hold_the_models_once(built, source, tmp_path):
    sdist, wheel = built
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    paths = [member.name.partition("/")[2] for member in members]
    assert "bitsback/models/store.py" in paths
    assert len(paths) == len(set(paths))
    assert not [path for path in paths if path.startswith("models/")]
    straight = build("wheel", source, tmp_path)  # from the checkout, which has the link
    for path in (wheel, straight):
        names = zipfile.ZipFile(path).namelist()
        assert len(names) == len(set(names))
        assert not [name for name in names if name.startswith("models/")]
    assert set(zipfile.ZipFile(straight).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_the_version_stands_once(built):
    assert built[0].name == f"bitsback-{bitsback.__version__}.tar.gz"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == bitsback.__version__
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(name for name in headings if name != "Unreleased") == bitsback.__version__


def installed(wheel: Path, folder: Path) -> Path:
    """The Python of a new environment that has this wheel and nothing else."""
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    return python


def test_an_editable_install_finds_the_models(source, tmp_path):
    wheel = build("editable", source, tmp_path)
    (path_file,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".pth"))
    # A path, which type checkers follow, not a hook of the import system.
    assert zipfile.ZipFile(wheel).read(path_file).decode().strip() == str(source)
    python = installed(wheel, tmp_path)
    outer = sysconfig.get_paths()["purelib"]
    printed = run(python, "-I", "-c", PROGRAM.format(outer=outer, home=str(source)), cwd=tmp_path)
    assert "omniglot" in printed.split()


def test_the_wheel_works_in_an_empty_environment(built, tmp_path):
    python = installed(built[1], tmp_path)
    outer, home = sysconfig.get_paths()["purelib"], str(tmp_path / "venv")
    printed = run(python, "-I", "-c", PROGRAM.format(outer=outer, home=home), cwd=tmp_path)
    assert "omniglot" in printed.split()
    assert (tmp_path / "venv" / "bin" / "bitsback").is_file()
    code = (
        "from importlib.metadata import entry_points as e;"
        "print(*(p.value for g in ('zarr.codecs', 'numcodecs.codecs') for p in e(group=g)))"
    )
    assert run(python, "-c", code).split() == [
        "bitsback.zarr:BitsbackCodec",
        "bitsback.zarr:BitsbackNumcodec",
    ]
