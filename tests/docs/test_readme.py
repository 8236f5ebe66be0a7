"""The README's examples run, one after another: its Python and its commands."""

import re
import shlex

import numpy as np
import pytest
from conftest import ROOT, run

from bitsback.models import store


def test_the_readme_examples_run(tmp_path, monkeypatch):
    if "omniglot" not in store.names():
        pytest.skip("the omniglot weights are not in this checkout")
    text = (ROOT / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 1
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "README.md", "exec"), names)


def test_the_readmes_commands_run_and_end_as_it_says(tmp_path, monkeypatch, capsys):
    if "mnist" not in store.names():
        pytest.skip("the mnist weights are not in this checkout")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    levels = np.linspace(0, 255, 28).astype(np.uint8)
    digits = np.stack([np.minimum.outer(np.roll(levels, i), levels) for i in range(30)])
    np.save("digits.npy", digits)
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^    \$ bitsback (.*)\n    (.*)", text, re.MULTILINE)
    names = [words.split()[0] for words, _ in commands]
    assert names == ["compress", "verify", "rate", "decompress"]
    for words, shown in commands:
        code, out, err = run(monkeypatch, capsys, *shlex.split(words, comments=True))
        assert code == 0, err
        # The first line as the README has it, but for its numbers.
        wanted = [w for w in shown.split() if not re.search(r"\d", w)]
        assert not set(wanted) - set((out + err).split()), (shown, out, err)
    assert np.array_equal(np.load("back.npy"), digits)
