"""The notebook and the README's figure run, on real images."""

import importlib.util
import re
import xml.etree.ElementTree as ElementTree

import nbformat
import pytest
from conftest import DATA, ROOT
from nbclient import NotebookClient

from bitsback.lossy import choice
from bitsback.models import store

NOTEBOOKS = ROOT / "notebooks"

pytestmark = pytest.mark.skipif(
    "omniglot" not in store.names(), reason="the omniglot weights are not in this checkout"
)


def executed(name: str) -> tuple[list, str]:
    """The outputs of a notebook's code, which all ran, and what they printed."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(
        notebook,
        timeout=900,  # for a cell that hangs
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    ).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    return outputs, printed


def images_of(outputs: list) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("source", ["scikit-image", "Omniglot"])
def test_the_notebook_runs_and_its_check_passes(source, monkeypatch):
    if source == "scikit-image":
        monkeypatch.delenv("BITSBACK_DATA", raising=False)
    elif not (DATA / "omniglot.npz").is_file():
        pytest.skip(f"omniglot.npz is not in {DATA}: set BITSBACK_DATA to the folder that holds it")
    else:
        monkeypatch.setenv("BITSBACK_DATA", str(DATA))
    monkeypatch.setenv("BITSBACK_COUNT", "160")
    outputs, printed = executed("rate_verification.ipynb")
    assert f"160 images ({source}" in printed or f"{source}'s images" in printed
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
    spec = importlib.util.spec_from_file_location("how_it_works", NOTEBOOKS / "how_it_works.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
    spec = importlib.util.spec_from_file_location("float_vae", NOTEBOOKS / "float_vae.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
