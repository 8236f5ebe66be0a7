"""The documentation's examples run, and its site builds."""

import html
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from conftest import ROOT

from bitsback.models import store

PAGES = sorted((ROOT / "docs").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


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


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, built as `make docs` builds it."""
    for needed in ("mkdocs", "mkdocstrings", "nbconvert", "latex2mathml"):
        pytest.importorskip(needed)
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_builds_without_a_warning(site):
    for page in PAGES:
        place = "" if page.stem == "index" else page.stem
        text = (site / place / "index.html").read_text()
        assert len(text) > 5000
    api = (site / "api" / "index.html").read_text()
    assert 'id="bitsback.compress"' in api
    # What a function returns is one sentence, however many lines its docstring has for it.
    text = " ".join(re.sub("<[^>]*>", "", api).split())
    assert "the share of the values that went through the model, and report says" in text
    assert "A GPU for 30 minutes" in (site / "training" / "index.html").read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_page_with_its_outputs(site, path):
    page = site / "notebooks" / path.stem.replace("_", "-") / "index.html"
    text = html.unescape(re.sub("<[^>]*>", "", page.read_text()))
    outputs = [
        output
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    printed = [output.text for output in outputs if output.output_type == "stream"]
    assert printed
    assert all(line in text for output in printed for line in output.splitlines())
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    shown = re.findall('<img alt="([^"]+)" src="([^"]+)"', page.read_text())
    assert len(shown) == len(figures)
    assert all((page.parent / source).resolve().is_file() for _, source in shown)


def test_every_formula_is_set(site):
    """Without a script: what no browser shows by itself is in no page."""
    for page in site.rglob("index.html"):
        text = page.read_text()
        assert "arithmatex" not in text
        assert "\\(" not in text
    text = (site / "how-it-works" / "index.html").read_text()
    source = re.sub("`[^`]*`", "", (ROOT / "docs" / "how-it-works.md").read_text())
    blocks = source.count("$$") // 2
    assert text.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"') == blocks
    assert text.count("<math ") == blocks + source.replace("$$", "").count("$") // 2 > 50


@pytest.mark.parametrize(
    ("words", "section"),
    [
        ("--json", "command-line/#json"),
        ("--json", "commands/#bitsback-compress"),
        ("salvage", "command-line/#salvage-of-damaged-files"),
        ("exit code", "command-line/#exit-codes"),
        ("Gaussian KL", "glossary/#gaussian-kl"),
    ],
)
def test_what_a_user_looks_for_is_a_section_of_the_search(site, words, section):
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {entry["location"]: entry for entry in index["docs"]}
    entry = found[section]
    assert words.lower() in (entry["title"] + entry["text"]).lower()
    # A page that is wanted less often must not come first.
    assert entry["boost"] > max(
        found[page].get("boost", 1) for page in ("api/", "release-notes/", "benchmarks/")
    )
    if section.startswith("command-line"):
        assert words.strip("-").lower() in entry["title"].lower()


def test_a_search_for_an_option_is_one_for_its_word(site):
    """The theme's search would exclude what follows a dash."""
    assert 'src="assets/search.js"' in (site / "index.html").read_text().replace("./", "")
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    script = """
        globalThis.Worker = class { postMessage(message) { console.log(message.data); } };
        require(process.argv[1]);
        for (const data of process.argv.slice(2)) new Worker().postMessage({ type: 2, data });
        new Worker().postMessage({ type: 0, data: "--kept" });
    """
    typed = ["--json", "exit -q now", "bits-back", "model --check all", "-chunk"]
    done = subprocess.run(
        [node, "-e", script, site / "assets" / "search.js", *typed],
        capture_output=True,
        text=True,
        check=True,
    )
    sent = ["json", "exit q now", "bits-back", "model check all", "-chunk", "--kept"]
    assert done.stdout.split("\n")[:-1] == sent


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@host.org:a/bitsback.git", "https://host.org/a/bitsback"),
        ("ssh://git@host.org/a/bitsback.git", "https://host.org/a/bitsback"),
        ("https://host.org/a/bitsback", "https://host.org/a/bitsback"),
        ("https://user:secret@host.org/a/bitsback.git", "https://host.org/a/bitsback"),
        ("/home/a/bitsback", ""),
        ("file:///home/a/bitsback", ""),
        ("", ""),
    ],
)
def test_the_link_to_the_repository_is_its_page_and_has_no_secret(remote, address):
    pytest.importorskip("mkdocs")
    assert hook("repository").web_address(remote) == address


def test_a_formula_that_cannot_be_set_is_an_error():
    pytest.importorskip("latex2mathml")
    mathematics = hook("mathematics")
    assert "<mfrac>" in mathematics.formula(r"\frac{1}{2}")
    with pytest.raises(ValueError, match=r"cannot be set: .unknown"):
        mathematics.formula(r"\unknown{x}")
    with pytest.raises(ValueError, match="cannot be set"):
        mathematics.formula(r"a & b")


def test_the_site_asks_nothing_of_a_network(site):
    """Pages load scripts, styles, fonts and pictures from the site alone."""
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|iframe|source)[^>]* src=.?([^ \">]+)", page.read_text()
        ) + re.findall(
            r"<link[^>]* rel=.?(?:stylesheet|preconnect|preload).?[^>]*href=.?([^ \">]+)",
            page.read_text(),
        )
        assert loaded
        assert not [place for place in loaded if "//" in place]


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_every_command_with_its_options():
    pytest.importorskip("mkdocs")
    page = hook("commands").commands()
    for name in ("compress", "get", "lossy encode", "train"):
        assert f"## bitsback {name}\n" in page
    assert "| `-o`, `--output` | the file to write; -: standard output | required |" in page
    assert "TOML with [model] and [training]" in page
