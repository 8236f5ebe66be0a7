"""The README's Python example runs."""

from pathlib import Path

import pytest
from bitsback.models import store


def test_the_readme_example_runs():
    if "omniglot" not in store.names():
        pytest.skip("the omniglot weights are not in this checkout")
    text = (Path(__file__).parent.parent / "README.md").read_text()
    example = text.split("```python\n")[1].split("```")[0]
    exec(compile(example, "README.md", "exec"), {})
