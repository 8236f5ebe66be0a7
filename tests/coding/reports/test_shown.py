"""A report in words, as a table, as HTML and as a figure: the same numbers, with labels."""

import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from float_vae import FloatVae, images, port

import bitsback
from bitsback.coding.reports import rows

VAE, IMAGES = FloatVae(), images(40)


@pytest.fixture(scope="module")
def report():
    return bitsback.rate(IMAGES, port(VAE))


@pytest.fixture(scope="module")
def compared():
    return bitsback.rate(IMAGES, port(VAE), expected=VAE.expected_bits(IMAGES))


@pytest.fixture(scope="module")
def nothing():
    """A file without a chain."""
    return bitsback.compress(np.zeros((30, 8, 8), np.uint8), port(VAE)).report


def test_the_repr_is_short_and_has_the_verdict(report, nothing):
    assert re.fullmatch(
        r"<RateReport: 40 images, file \d\.\d{4} bits/dim; chain of \d\d tiles, net \d\.\d{4}, "
        r"KL \d\.\d{4}: match>",
        repr(report),
    )
    assert repr(nothing).endswith("not measured>")


def test_rows_add_up_to_the_chain_and_the_file(report, compared):
    for each in (report, compared):
        *parts, chain = rows.chain_rows(each)
        assert [row.part for row in parts] == ["step 1", "step 1, layer 2", "pixels"]
        assert sum(row.net_bits for row in parts) == pytest.approx(chain.net_bits)
        assert sum(row.kl_bits for row in parts) == pytest.approx(chain.kl_bits)
        whole = rows.file_rows(each)
        size = whole.pop("file")
        assert sum(whole.values()) == pytest.approx(size)
        assert f"{each.chained_images} tiles" in rows.chain_title(each)
        assert "40 images" in rows.file_title(each)
    assert [row.gaussian_kl_bits is None for row in rows.chain_rows(report)] == [
        False,
        False,
        True,
        True,
    ]
    assert all(row.expected_bits is None for row in rows.chain_rows(report))
    assert all(row.expected_bits > 0 for row in rows.chain_rows(compared))
    assert set(rows.shown_legend(compared)) - set(rows.shown_legend(report)) == {
        "expected",
        "z expected",
    }


def test_a_constant_width_has_no_gaussian_kl(build_model):
    loaded = build_model(posterior="constant")
    *steps, _, _ = rows.chain_rows(bitsback.rate(IMAGES, loaded))
    assert all(row.gaussian_kl_bits is None for row in steps)
    assert all(row.kl_bits > 0 for row in steps)


def test_a_frame_has_a_row_for_each_part(compared, nothing):
    pytest.importorskip("pandas")
    frame = compared.to_frame()
    assert list(frame.index) == ["step 1", "step 1, layer 2", "pixels", "chain"]
    assert frame.loc["chain", "net_bits"] == compared.net_bits
    latents = frame.loc[["step 1", "step 1, layer 2"]]
    assert np.allclose(latents["pushed_bits"] - latents["popped_bits"], latents["net_bits"])
    assert frame["passed"].all()
    assert frame["expected_bits"].notna().all()
    assert nothing.to_frame().loc["chain", "net_bits"] == 0


def test_html_has_the_tables_the_legend_and_the_check(compared, report, nothing):
    for each in (compared, report, nothing):
        fragment = each._repr_html_()
        ElementTree.fromstring(f"<div>{fragment}</div>")
        for line in str(each.check()).splitlines():
            assert line.replace("<", "&lt;").replace(">", "&gt;") in fragment
        assert rows.file_title(each) in fragment
        assert "once in 100,000 times" in fragment  # the family-wise level
    assert "<th>popped under q</th><th>pushed under p</th><th>net</th>" in report._repr_html_()
    assert "<th>z expected</th>" in compared._repr_html_()
    assert "expected" not in report._repr_html_()
    assert 'class="fails"' not in report._repr_html_()


def test_a_part_that_fails_stands_out():
    bad = bitsback.rate(IMAGES, port(VAE, "variance"), expected=VAE.expected_bits(IMAGES))
    assert 'class="fails"' in bad._repr_html_()
    assert "DO NOT MATCH" in repr(bad)


def test_the_figure_shows_the_file_the_chain_and_the_walk_in_its_band(compared, nothing):
    pytest.importorskip("matplotlib")
    file, chain, walk = compared.plot().axes
    assert sum(bar.get_width() for bar in file.patches) == pytest.approx(compared.file_bits)
    assert len(chain.patches) == 2 * 3
    (line,) = walk.lines
    check = compared.check()
    assert line.get_xdata()[-1] == compared.chained_images
    assert line.get_ydata()[-1] == pytest.approx(check.chain.difference_bits, abs=1e-6)
    top = walk.collections[0].get_paths()[0].vertices[:, 1].max()
    allowed = check.limit * check.chain.standard_error_bits + check.chain.bound_bits
    assert top == pytest.approx(allowed)
    assert np.abs(line.get_ydata()).max() < top
    assert len(nothing.plot().axes) == 3


def test_a_page_stands_alone_and_has_the_figure(report):
    pytest.importorskip("matplotlib")
    page = report.to_html()
    assert page.startswith("<!DOCTYPE html>")
    assert report._repr_html_() in page
    assert "<svg" in page
    assert "net minus KL along the chain" in page


def test_without_the_libraries_one_sentence_names_the_extra(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(bitsback.InputError, match=r"pip install 'bitsback\[figures\]'"):
        report.plot()
    with pytest.raises(bitsback.InputError, match=r"pip install 'bitsback\[frames\]'"):
        report.to_frame()
    assert "Without the figure: figures need matplotlib" in report.to_html()
