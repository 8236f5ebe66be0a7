"""Exit codes of `rate` and `bench`: 0 only where something was measured, and matches."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
from conftest import run

from bitsback import api
from bitsback.benchmarks import files as benches
from bitsback.benchmarks.sets import ablation
from bitsback.coding.rates import RateReport
from bitsback.coding.reports.tally import Tally


@pytest.fixture
def words(build_model, tmp_path):
    build_model()
    images = (np.random.default_rng(0).random((250, 8, 8)) < 0.2).astype(np.uint8)
    np.save(tmp_path / "in.npy", images)
    return tmp_path / "in.npy", "--model", tmp_path / "model"


def broken(monkeypatch):
    """All reports tell a leak of a percent."""
    check = RateReport.check

    def leaking(self):
        found = check(self)
        parts = [dataclasses.replace(p, bits=1.01 * p.bits + 1) for p in found.parts]
        return dataclasses.replace(found, parts=tuple(parts))

    monkeypatch.setattr(RateReport, "check", leaking)


def test_rates_that_match_are_0_and_others_1(words, monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "rate", *words)
    assert code == 0
    assert "net and KL-based rate match in all parts" in out
    broken(monkeypatch)
    code, out, _ = run(monkeypatch, capsys, "rate", *words)
    assert code == 1
    assert "DO NOT MATCH" in out


def test_what_was_not_measured_is_no_match(words, monkeypatch, capsys):
    known = {"images": 1, "dims": 64, "chained_dims": 0, "payload_bits": 0, "first_bits": 512.0}
    nothing = Tally().report(filler_bits=0, header_bits=99, head_bits=0.0, **known)
    monkeypatch.setattr(api, "rate", lambda *given, **options: nothing)
    code, out, _ = run(monkeypatch, capsys, "rate", *words)
    assert code == 1
    assert "not measured: the chain coded nothing" in out
    assert " match" not in out
    code, out, _ = run(monkeypatch, capsys, "rate", *words, "--json")
    assert (code, json.loads(out)["match"]) == (1, False)


@pytest.mark.parametrize(("match", "code"), [(True, 0), (None, 0), (False, 1)])
def test_a_bench_whose_rates_differ_is_1(match, code, words, monkeypatch, capsys):
    monkeypatch.setattr(benches, "peers_of", lambda images: [])
    bench = benches.run
    monkeypatch.setattr(
        benches, "run", lambda *given: dataclasses.replace(bench(*given), match=match)
    )
    found, out, _ = run(monkeypatch, capsys, "bench", *words, "--json")
    assert (found, json.loads(out)["match"]) == (code, match)


def test_an_ablation_is_of_the_sets_of_a_folder(words, monkeypatch, capsys, tmp_path):
    # An untrained model codes all images, though a classical code is smaller.
    monkeypatch.setattr(ablation, "Settings", partial(ablation.Settings, always_chain=True))
    images, *model = words
    (tmp_path / "sets").mkdir()
    np.savez(tmp_path / "sets" / "omniglot.npz", test_binary=np.load(images))
    given = "bench", tmp_path / "sets", *model, "--ablation", "--limit", 90
    code, out, err = run(monkeypatch, capsys, *given)
    assert code == 0
    assert "| Omniglot test_binary | 90 " in out
    assert " any order " in out
    for absent in ("MNIST", "CIFAR-10", "Kodak", "McMaster", "Set14"):
        assert f"{absent}: absent: there is no {tmp_path / 'sets'}" in out
    assert "at most 90 images of each set" in out
    assert "bitsback: Omniglot test_binary, any order: 1." in err
    code, out, err = run(monkeypatch, capsys, *given, "--json", "-q")
    found = json.loads(out)
    assert (code, err, len(found["without"])) == (0, "", 5)
    first, second, *_, last = [row["switch"] for row in found["rows"]]
    assert (first, second, last) == ("none", "any order", "all")
    broken(monkeypatch)
    code, out, _ = run(monkeypatch, capsys, *given)
    assert code == 1
    assert "DO NOT MATCH" in out


def test_an_ablation_is_of_the_input_where_that_holds_no_such_sets(words, monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "bench", *words, "--ablation")
    assert code == 0
    assert "| in.npy " in out
    assert "absent" not in out
    assert "all images of each set" in out


def test_an_ablation_of_nothing_is_refused(words, monkeypatch, capsys, tmp_path):
    (tmp_path / "sets").mkdir()
    np.savez(tmp_path / "sets" / "mnist.npz", train=np.zeros((3, 8, 8), np.uint8))
    code, _, err = run(
        monkeypatch, capsys, "bench", tmp_path / "sets", *words[1:], "--ablation", "-q"
    )
    assert code == 2
    assert "mnist.npz has no array test" in err
