"""The examples in the public interface's docstrings give what they show."""

import doctest
import importlib

import pytest

import bitsback
from bitsback.models import store

MODULES = ("bitsback.api", "bitsback.testing", "bitsback.ans.codecs", "bitsback.ans.message")
FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
EXAMPLES = {
    test.name: test
    for name in MODULES
    for test in doctest.DocTestFinder().find(importlib.import_module(name))
    if test.examples
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_docstrings_examples_give_what_they_show(name, tmp_path, monkeypatch):
    if name.startswith(("bitsback.api", "bitsback.testing")) and "omniglot" not in store.names():
        pytest.skip("the omniglot weights are not in this checkout")
    monkeypatch.chdir(tmp_path)
    failed = doctest.DocTestRunner(optionflags=FLAGS).run(EXAMPLES[name], clear_globs=False)
    assert failed.failed == 0


def test_every_public_function_has_an_example():
    public = {name for name in bitsback.__all__ if not isinstance(getattr(bitsback, name), type)}
    assert {f"{getattr(bitsback, name).__module__}.{name}" for name in public} <= EXAMPLES.keys()
