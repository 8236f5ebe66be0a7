"""The notebooks and the README's figure run, on real images, and their outputs are of today."""

import base64
import importlib.util
import io
import os
import re
import xml.etree.ElementTree as ElementTree
from types import ModuleType

import nbformat
import numpy as np
import pytest
from conftest import DATA, ROOT
from nbformat import NotebookNode
from PIL import Image

from bitsback.lossy import choice
from bitsback.models import store

NOTEBOOKS = ROOT / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
LONG = ("paper_figures", "rate_verification")

pytestmark = pytest.mark.skipif(
    "omniglot" not in store.names(), reason="the omniglot weights are not in this checkout"
)


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, NOTEBOOKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs_of(notebook: NotebookNode) -> tuple[list, str]:
    """The outputs of a notebook's code, which all ran, and what they printed."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    return outputs, printed


def executed(name: str) -> tuple[list, str]:
    return outputs_of(loaded("execute").executed(NOTEBOOKS / name))


def pictures(outputs: list) -> list[np.ndarray]:
    png = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in png]


def images_of(outputs: list) -> int:
    return len(pictures(outputs))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_outputs_in_the_repository_are_of_the_code_beside_them(path):
    notebook = nbformat.read(path, as_version=4)
    outputs, _ = outputs_of(notebook)
    assert outputs
    assert notebook.metadata.executed_code == loaded("execute").digest(notebook)
    assert all(output.get("name") != "stderr" for output in outputs)
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert all(sum(o.output_type == "stream" for o in each) <= 1 for each in cells)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_outputs_in_the_repository_are_those_of_today(path, monkeypatch):
    for needed in ("omniglot.npz", "cifar10.npz"):
        if not (DATA / needed).is_file():
            pytest.skip(f"{needed} is not in {DATA}: set BITSBACK_DATA to the folder that holds it")
    for library in ("zarr", "dask", "imagecodecs"):
        pytest.importorskip(library)
    if path.stem in LONG and not os.environ.get("BITSBACK_FULL"):
        pytest.skip("it takes minutes: set BITSBACK_FULL=1; fewer images run in any case")
    monkeypatch.setenv("BITSBACK_DATA", str(DATA))
    monkeypatch.delenv("BITSBACK_COUNT", raising=False)
    kept, kept_text = outputs_of(nbformat.read(path, as_version=4))
    now, text = executed(path.name)
    assert text == kept_text
    for one, other in zip(pictures(kept), pictures(now), strict=True):
        assert one.shape == other.shape
        assert np.abs(one.astype(int) - other).mean() < 1


def test_the_notebook_runs_and_its_check_passes(monkeypatch):
    monkeypatch.delenv("BITSBACK_DATA", raising=False)
    monkeypatch.setenv("BITSBACK_COUNT", "160")
    outputs, printed = executed("rate_verification.ipynb")
    assert "160 images (tiles of scikit-image's images)" in printed
    assert "rate check: pass" in printed
    assert "160 images decoded, every pixel the same" in printed
    assert images_of(outputs) == 3


@pytest.mark.skipif(
    not (store.WEIGHTS / choice.NAME).is_file(), reason="no model for lossy files ships"
)
def test_the_notebook_of_the_papers_figures_runs(monkeypatch):
    pytest.importorskip("imagecodecs")
    monkeypatch.delenv("BITSBACK_DATA", raising=False)
    monkeypatch.setenv("BITSBACK_COUNT", "12")
    outputs, printed = executed("paper_figures.ipynb")
    assert "12 images: scikit-image" in printed
    assert images_of(outputs) == 7
    assert printed.count("bits/dim in the file") == 8


@pytest.mark.parametrize(
    ("name", "needs", "wanted"),
    [
        ("quick_start", (), ["net and KL-based rate match", "xz -9 of them"]),
        ("your_own_model", (), ["32 latents", "net and KL match"]),
        ("archiving", ("zarr", "dask"), ["5 chunks; ink between", "bitsback"]),
    ],
)
def test_the_other_notebooks_run(name, needs, wanted, monkeypatch):
    for library in needs:
        pytest.importorskip(library)
    monkeypatch.delenv("BITSBACK_DATA", raising=False)
    monkeypatch.setenv("BITSBACK_COUNT", "150")
    _, printed = executed(f"{name}.ipynb")
    assert "150 images: tiles of scikit-image's page" in printed
    assert all(words in printed for words in wanted)
    assert "DO NOT MATCH" not in printed


def test_the_figure_is_drawn_from_a_run_of_the_coder(tmp_path):
    module = loaded("how_it_works")
    for name in ("a.svg", "b.svg"):
        module.main(tmp_path / name)
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = " ".join(" ".join(root.itertext()).split())
    for label in (
        "pop z under q",
        "push x",
        "push z under p",
        "net +",
        "KL-based +",
        "canvas after z",
    ):
        assert label in text
    assert (tmp_path / "a.svg").stat().st_size < 150_000
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_comparison_of_float_vaes_runs(capsys):
    pytest.importorskip("constriction")
    if not (DATA / "mnist.npz").is_file():
        pytest.skip(f"mnist.npz is not in {DATA}: set BITSBACK_DATA to the folder that holds it")
    module = loaded("float_vae")
    module.main(DATA / "mnist.npz", count=20, updates=150)
    printed = capsys.readouterr().out
    assert "net and KL-based rate match" in printed
    # After so few updates many pixels are at the floor of 2**-23, which codes are a little above.
    found = re.findall(r"step \d: net ([\d.]+) .*terms ([\d.]+) .*error ([\d.]+);", printed)
    assert len(found) == 3
    assert all(abs(float(net) - float(terms)) < 5 * float(error) for net, terms, error in found)
    rows = {line.split()[0]: line[20:].split() for line in printed.splitlines() if line}
    assert int(rows["bitsback"][0]) <= 15 < int(rows["constriction,"][0])
    for name in ("bitsback", "constriction,"):
        assert sum(map(float, rows[name][1:5])) == pytest.approx(float(rows[name][5]), abs=0.03)
    assert "craystack is not installed" in printed or int(rows["craystack"][0]) > 15
    share = float(re.search(r"in integers \(([+-][\d.]+)%", printed)[1])
    assert abs(share) < 0.5
