"""No message of the product advises a step that loses something of the user's."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOSSY_STEP = re.compile(
    r"\b(convert(?! back)|reduce|remove|delete|cast|resize|rescale|crop|drop (?!of)|flatten|"
    r"quanti[sz]e|truncate|discard|posteri[sz]e|astype|save (it|each|them) as)\b",
    re.IGNORECASE,
)


def messages(source: str) -> Iterator[str]:
    """The texts in calls: all but docstrings, and keys of dictionaries."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            parts = [*node.args, *(word.value for word in node.keywords)]
            texts = [each for part in parts for each in ast.walk(part)]
            yield " ".join(
                each.value
                for each in texts
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def test_no_message_advises_a_lossy_step():
    paths = [*(ROOT / "bitsback").rglob("*.py"), *(ROOT / "models").rglob("*.py")]
    assert len(paths) > 100
    found = {
        (path.relative_to(ROOT).as_posix(), text)
        for path in paths
        for text in messages(path.read_text())
        if len(text.split()) > 2 and LOSSY_STEP.search(text)
    }
    assert found == set()


@pytest.mark.parametrize(
    "advice",
    [
        "has transparent pixels of 16 bits; convert it to 8 bits first",
        "has bytes after its end: remove them first",
        "holds several images; save each as a file of its own",
        "images are uint8: give a.astype(np.uint8)",
    ],
)
def test_advice_of_a_lossy_step_is_found(advice):
    (text,) = messages(f"raise_(f'{advice} {{name}}')")
    assert LOSSY_STEP.search(text)
