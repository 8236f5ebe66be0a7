"""The architecture page says what the sources are."""

import importlib.util
import re
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import ROOT

PAGE = ROOT / "docs" / "architecture.md"


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("grimp")
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_drawing_is_what_the_script_draws(script):
    message = "imports have changed: run `python docs/architecture.py` and look at the drawing"
    assert script.FILE.read_text() == script.drawing(), message


def test_the_drawing_has_every_folder_and_no_arrow_up(script):
    root = ElementTree.parse(script.FILE).getroot()
    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for name in folders():
        assert f"{name.rpartition('/')[2]}/" in names
    assert 'class="up"' not in script.FILE.read_text()


def test_only_arrows_that_follow_from_others_are_left_out(script):
    arrows = {("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")}
    assert script.reduced(arrows) == {("a", "b"), ("b", "c"), ("a", "d")}


def folders() -> set[str]:
    """The folders of modules, and `models` as it lies in the sources."""
    packages = [
        *(ROOT / "bitsback").glob("*/__init__.py"),
        *(ROOT / "models").glob("*/__init__.py"),
    ]
    names = {package.parent.relative_to(ROOT).as_posix() for package in packages}
    return names - {"bitsback/models"} | {"models"}


def test_the_folders_listed_are_those_that_exist():
    listed = re.findall(r"`((?:bitsback|models)(?:/\w+)?)/`", PAGE.read_text())
    assert set(listed) - {"bitsback"} == folders()


def test_no_folder_has_more_than_twelve_modules():
    for name in folders() - {"models"}:
        modules = [path for path in (ROOT / name).glob("*.py") if path.stem != "__init__"]
        assert len(modules) <= 12, name
