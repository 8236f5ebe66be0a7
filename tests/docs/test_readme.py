"""The README's Python examples run, one after another."""

import re

import pytest
from conftest import ROOT

from bitsback.models import store


def test_the_readme_examples_run(tmp_path, monkeypatch):
    if "omniglot" not in store.names():
        pytest.skip("the omniglot weights are not in this checkout")
    text = (ROOT / "README.md").read_text()
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    names: dict[str, object] = {}
    for example in examples:
        exec(compile(example, "README.md", "exec"), names)
