"""The coder bench verifies every coder it times, and prints them side by side; speeds are free."""

import dataclasses
import json
import sys
import types

import numpy as np
import pytest

from bitsback.ans import codecs
from bitsback.ans.craystack import to_craystack
from bitsback.benchmarks import coder as coder_bench
from bitsback.errors import BitsbackError
from bitsback.tables import tables

WORKS = ("Gaussian, prior", "Gaussian, posterior", "table of 256")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(coder_bench, "SYMBOLS", 700)
    monkeypatch.setattr(coder_bench, "HEADS", (3, 64))
    monkeypatch.setattr(coder_bench, "REPEATS", 2)
    monkeypatch.setattr(coder_bench, "BATCH_REPEATS", 1)


@pytest.fixture
def constriction():
    return pytest.importorskip("constriction")


@pytest.fixture
def craystack(monkeypatch):
    """A stand-in for craystack with the one codec that the bench takes of it."""

    def categorical(probabilities, precision):
        freqs = np.rint(probabilities * (1 << precision)).astype(np.int64)
        cumulative = np.concatenate([np.zeros((len(freqs), 1), np.int64), freqs.cumsum(1)], 1)
        return to_craystack(codecs.categorical(cumulative, np.arange(len(freqs)), precision))

    module = types.ModuleType("craystack")
    module.__spec__ = types.SimpleNamespace()
    module.Categorical = categorical
    monkeypatch.setitem(sys.modules, "craystack", module)


@pytest.fixture
def no_craystack(monkeypatch):
    monkeypatch.setattr(coder_bench, "_craystack", lambda work: pytest.fail("not to be asked"))
    found = coder_bench.importlib.util.find_spec
    monkeypatch.setattr(
        coder_bench.importlib.util,
        "find_spec",
        lambda name: None if name == "craystack" else found(name),
    )


def test_all_coders_stand_side_by_side(constriction, craystack):
    rows = coder_bench.measure(700, (3, 64), 2)
    assert [(row.work, row.coder, row.heads) for row in rows] == [
        (work, *coder)
        for work in WORKS
        for coder in (("constriction", 1), ("bitsback", 3), ("bitsback", 64), ("craystack", 1024))
    ]
    for row in rows:
        peer = next(other for other in rows if other.work == row.work)
        assert row.push > 0
        assert row.pop > 0
        assert row.push_ratio == row.push / peer.push
        assert row.pop_ratio == row.pop / peer.pop


def test_json_has_every_row(constriction, no_craystack, small, capsys):
    assert coder_bench.main(["--json", "--model", "omniglot"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = found["coders"]
    assert [row["work"] for row in rows] == [work for work in WORKS for _ in range(3)]
    assert {row["coder"] for row in rows} == {"constriction", "bitsback"}
    assert all(row["push_ratio"] > 0 and row["pop_ratio"] > 0 for row in rows)
    assert [(batch["model"], batch["action"]) for batch in found["batches"]] == [
        ("omniglot", "encode"),
        ("omniglot", "decode"),
    ]


def test_the_table_has_the_ratios(constriction, no_craystack, small, capsys):
    assert coder_bench.main(["--model", "omniglot"]) == 0
    printed = capsys.readouterr().out
    assert "encode" in printed
    assert "decode" in printed
    assert printed.count("bitsback") == 6
    assert printed.count("constriction") == 4  # three rows, and the line that says what ratios are


def test_the_symbols_have_the_distributions_that_constriction_is_told():
    for work in coder_bench.works(20_000)[:2]:
        means, deviations = work.parameters
        z = (work.symbols - means) / deviations
        assert abs(z.mean()) < 0.05
        # rounding to the grid adds 1/12 of a step's square
        assert np.mean(z**2 - 1 / 12 / deviations**2) == pytest.approx(1, abs=0.05)
        freqs = tables.TOTAL * np.exp(-(((work.symbols - means) / deviations) ** 2) / 2)
        freqs /= deviations * np.sqrt(2 * np.pi)
        own = work.table[work.rows, work.symbols + 1] - work.table[work.rows, work.symbols]
        assert np.mean(np.log2(freqs / own)) == pytest.approx(0, abs=0.1)


def test_a_coder_that_loses_a_symbol_is_found(constriction, monkeypatch):
    honest = coder_bench._bitsback

    def forgetful(work, heads):
        return dataclasses.replace(honest(work, heads), pop=lambda message: work.symbols + 1)

    monkeypatch.setattr(coder_bench, "_bitsback", forgetful)
    with pytest.raises(BitsbackError, match="bitsback did not give back"):
        coder_bench.measure(100, (3,), 1)


def test_without_constriction_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(coder_bench.importlib.util, "find_spec", lambda name: None)
    assert coder_bench.main([]) == 1
    assert "bitsback[bench]" in capsys.readouterr().err


def test_other_arguments_are_refused(capsys):
    assert coder_bench.main(["--fast"]) == 2
    assert "usage" in capsys.readouterr().err
