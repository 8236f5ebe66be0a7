"""What the pages name exists: paths, modules, commands and their options."""

import importlib.util
import pkgutil
import re
import shlex

import pytest
import typer
from conftest import ROOT

from bitsback.cli.app import app

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / "models" / name for name in ("README.md", "TRAINING.md")),
]
FOLDERS = "bitsback|models|tests|docs|notebooks"
every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def named(page, pattern: str) -> list[str]:
    return re.findall(pattern, page.read_text())


@every_page
def test_paths(page):
    for path in named(page, rf"(?<![\w/.])((?:{FOLDERS})/[\w./-]*[\w/])"):
        name = path.removesuffix("/NAME").replace("bitsback/models/", "models/")
        assert (ROOT / name).exists(), path


@every_page
def test_names_of_python(page):
    modules = named(page, r"-m (bitsback[\w.]*)")
    for module in modules:
        assert importlib.util.find_spec(module), module
    for name in named(page, r"`(bitsback(?:\.\w+)+)`") + named(page, r"(?m)^::: ([\w.]+)"):
        if name not in modules:
            pkgutil.resolve_name(name)
    for name, members in named(page, r"(?m)^::: ([\w.]+)\n +options: \{members: \[(.*)\]\}"):
        for member in filter(None, members.split(", ")):
            pkgutil.resolve_name(f"{name}:{member}")


def options_of(words: list[str]) -> set[str]:
    """All options of the command that these words begin with."""
    command = typer.main.get_command(app)
    for word in words:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands, words
        command = command.commands[word]
    return {name for parameter in command.params for name in parameter.opts}


@every_page
def test_commands_and_their_options(page):
    for line in named(page, r"(?m)^ +bitsback (\w.*)$") + named(page, r"`bitsback (\w[^`]*)`"):
        words = shlex.split(line.replace("`", ""), comments=True)
        words = [word.strip("[]") for word in words]
        options = options_of(words)
        for word in words:
            assert not re.match(r"--?[a-z]", word) or word in options, (line, word)
