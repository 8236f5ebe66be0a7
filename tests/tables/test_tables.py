import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from bitsback.tables import tables

probabilities = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-9, 1.0)), min_size=1, max_size=12
).filter(any)


def divergence(p, freqs, total):
    p = p / p.sum()
    used = p > 0
    return float((p[used] * np.log(p[used] * total / freqs[used])).sum())


def normal_masses(scale, fraction):
    edges = np.arange(-128, 129) - 0.5 - ((fraction + 0.5) / 32 - 0.5)
    cdf = special.ndtr(edges / scale)
    cdf[0], cdf[-1] = 0.0, 1.0
    return np.diff(cdf)


def test_the_tables_are_those_of_the_format():
    assert tables.digest() == tables.TABLES_SHA256


@settings(max_examples=150, deadline=None)
@given(probabilities, st.integers(4, 24))
def test_quantise_sums_exactly_and_keeps_the_support(values, precision):
    p = np.array(values)
    freqs = tables.quantise(p, precision)
    assert freqs.dtype == np.uint32
    assert freqs.sum(dtype=np.int64) == 1 << precision
    assert np.array_equal(freqs > 0, p > 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=4),
    st.integers(2, 5),
)
def test_quantise_is_optimal_among_all_frequencies(values, precision):
    p, total = np.array(values), 1 << precision
    best = min(
        divergence(p, np.array([*head, total - sum(head)]), total)
        for head in itertools.product(range(1, total), repeat=len(p) - 1)
        if sum(head) < total
    )
    assert divergence(p, tables.quantise(p, precision).astype(float), total) <= best + 1e-12


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 300), st.integers(9, 16))
def test_quantise_cannot_be_improved_by_moving_a_unit(seed, n, precision):
    p = np.random.default_rng(seed).gamma(0.1, size=n) + 1e-12
    freqs = tables.quantise(p, precision).astype(float)
    gain = p * np.log1p(1 / freqs)
    loss = np.where(freqs > 1, p * np.log1p(1 / np.maximum(freqs - 1, 1e-9)), np.inf)
    assert gain.max() <= loss.min() * (1 + 1e-12)


def test_quantise_treats_rows_separately():
    p = np.array([[[1.0, 3.0], [0.0, 2.0]], [[5.0, 5.0], [1e-9, 1.0]]])
    assert tables.quantise(p, 4).tolist() == [[[4, 12], [0, 16]], [[8, 8], [1, 15]]]


@pytest.mark.parametrize(
    "row", [[0.0, 0.0], [-0.1, 1.1], [np.nan, 1.0], [np.inf, 1.0], [1.0, 1.0, 1.0]]
)
def test_quantise_rejects_what_is_no_distribution_or_does_not_fit(row):
    with pytest.raises(ValueError, match=r"prob|possible"):
        tables.quantise(np.array(row), 1)


def test_prior_rows_hold_the_whole_window():
    cumulative = tables.prior_table().astype(np.int64)
    assert cumulative.shape == (145 * 32, 257)
    assert (cumulative[:, 0] == 0).all()
    assert (cumulative[:, -1] == 1 << 24).all()
    assert (np.diff(cumulative) >= 1).all()


def test_a_symbol_costs_no_more_under_the_prior_than_stated():
    freqs = np.diff(tables.prior_table().astype(np.int64))
    for w, fraction in itertools.product(range(-96, 49, 5), range(0, 32, 3)):
        mass = normal_masses(2.0 ** (w / 16), fraction)
        row = freqs[(w + 96) * 32 + fraction]
        assert (row > mass * (2**24 - 256) * (1 - 1e-9)).all()
        assert (row < mass * (2**24 - 256) + 2 + 1e-6).all()


def test_posterior_rows_hold_just_their_radius():
    freqs = np.diff(tables.posterior_table().astype(np.int64)).reshape(78, 32, 256)
    radius = tables.posterior_radius()
    scale = np.sqrt(np.maximum(2.0 ** (np.arange(-29, 49) / 8) - 1 / 12, 0.05**2))
    assert (freqs.sum(-1) == 1 << 24).all()
    assert np.array_equal(radius, np.ceil(6 * scale) + 1)
    inside = np.abs(np.arange(-128, 128)) <= radius[:, None, None]
    assert np.array_equal(freqs > 0, np.broadcast_to(inside, freqs.shape))
    assert (freqs >= 0).all()


def test_posterior_rows_have_the_mean_and_effective_width_they_are_named_for():
    freqs = np.diff(tables.posterior_table().astype(np.int64)).reshape(78, 32, 256)
    k = np.arange(-128, 128)
    # The dither is uniform over the cells: averaged over them, k - c has the effective variance.
    centre = ((np.arange(32) + 0.5) / 32 - 0.5)[:, None]
    for index, w in enumerate(range(-29, 49)):
        p = freqs[index] / 2.0**24
        variance = (p * (k - centre) ** 2).sum(-1).mean()
        effective = max(2.0 ** (w / 8), 0.05**2 + 1 / 12)
        assert variance == pytest.approx(effective, rel=1e-3)
        assert (p * (k - centre)).sum(-1).mean() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(("kind", "cdf"), [("gaussian", special.ndtr), ("logistic", special.expit)])
def test_component_rows_are_the_rounded_distribution_function(kind, cdf):
    table = tables.component_table(kind).astype(np.int64).reshape(73, 16, 512)
    assert (np.diff(table) >= 0).all()
    scale = 2.0 ** (np.arange(-24, 49) / 8)[:, None, None]
    location = (np.arange(16) / 16)[:, None]
    exact = cdf((np.arange(-256, 256) - 0.5 - location) / scale) * (2**16 - 1)
    assert np.abs(table - exact).max() <= 0.5 + 1e-9


def test_bernoulli_frequencies_are_the_rounded_sigmoid():
    table = tables.bernoulli_table().astype(np.int64)
    exact = special.expit(np.arange(-512, 513) / 32) * 2**24
    assert np.abs(table - np.clip(exact, 1, 2**24 - 1)).max() <= 0.5 + 1e-6
    assert (table + table[::-1] == 2**24).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_find_is_the_interval_that_holds_the_number(seed, prior):
    table = tables.prior_table() if prior else tables.posterior_table()
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(table), (3, 5))
    # near an edge of the row as well as anywhere
    edges = table[rows, rng.integers(0, 257, rows.shape)].astype(np.int64)
    near = np.clip(edges + rng.integers(-1, 2, rows.shape), 0, (1 << 24) - 1)
    for cf in (near, rng.integers(0, 1 << 24, rows.shape)):
        column = tables.find(table, rows, cf)
        assert (table[rows, column] <= cf).all()
        assert (cf < table[rows, column + 1]).all()


def test_tables_cannot_be_changed():
    for table in (tables.prior_table(), tables.posterior_table(), tables.bernoulli_table()):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 0
