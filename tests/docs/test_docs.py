"""The documentation's examples run, and its site builds."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from bitsback.models import store

PAGES = sorted((ROOT / "docs").glob("*.md"))


def examples(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda p: p.name)
def test_a_pages_examples_run_one_after_another(page, tmp_path, monkeypatch):
    if "omniglot" not in store.names():
        pytest.skip("the omniglot weights are not in this checkout")
    for needed in {"pipelines.md": ["zarr"], "clusters.md": ["ray", "zarr"]}.get(page.name, []):
        pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "example"}
    for example in examples(page):
        exec(compile(example, page.name, "exec"), names)


def test_a_model_of_ones_own_takes_about_forty_lines():
    first = examples(ROOT / "docs" / "your-own-model.md")[0]
    code = [
        line for line in first.splitlines() if line.strip() and not line.strip().startswith("#")
    ]
    assert len(code) <= 45


@pytest.mark.parametrize(
    ("page", "number"), [("torch-vae", 1), ("hierarchical-vae", 1), ("portable", 1)]
)
def test_a_port_takes_fifteen_lines(page, number):
    """From the imports to the first file that has come back, without assertions and lists."""
    block = examples(ROOT / "docs" / f"{page}.md")[number]
    end = block.index("assert np.array_equal(bitsback.decompress")
    code = [line for line in block[:end].splitlines() if line.strip()]
    own = [line for line in code if not re.match(r"(assert|print|report|images|cost) ?", line)]
    assert "adapt(" in block
    assert len(own) <= 15, own


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        place = "" if page.stem == "index" else page.stem
        text = (tmp_path / place / "index.html").read_text()
        assert len(text) > 5000
    assert 'id="bitsback.compress"' in (tmp_path / "api" / "index.html").read_text()
    assert "A GPU for 30 minutes" in (tmp_path / "training" / "index.html").read_text()


def test_the_reference_has_every_command_with_its_options():
    pytest.importorskip("mkdocs")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    page = hooks.commands()
    for name in ("compress", "get", "lossy encode", "train"):
        assert f"## bitsback {name}\n" in page
    assert "| `-o`, `--output` | the file to write; -: standard output | required |" in page
    assert "TOML with [model] and [training]" in page
