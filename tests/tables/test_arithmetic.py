import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitsback.tables import arithmetic

bounded = settings(max_examples=200, deadline=None)


def relative_error(found, exact):
    return float(abs(mpmath.mpf(float(found)) / exact - 1))


@bounded
@given(st.floats(-700.0, 700.0))
@example(0.0)
@example(-1e-300)
@example(709.7)
def test_exp_is_accurate(x):
    with mpmath.workdps(40):
        assert relative_error(arithmetic.exp(x), mpmath.exp(mpmath.mpf(x))) < 1e-15


def test_exp_under_and_overflows_quietly():
    assert list(arithmetic.exp(np.array([-np.inf, -800.0, 800.0, np.inf]))) == [
        0.0,
        0.0,
        np.inf,
        np.inf,
    ]


@bounded
@given(st.floats(1e-300, 1.0))
@example(1.0)
def test_log1p_is_accurate(x):
    with mpmath.workdps(40):
        exact = mpmath.log1p(mpmath.mpf(x))
        assert relative_error(arithmetic.log1p(x), exact) < 1e-15


@bounded
@given(st.integers(-16000, 16000), st.sampled_from([1, 8, 16]))
def test_exp2_steps_is_accurate(n, steps):
    n = n * steps // 16
    found = arithmetic.exp2_steps(np.array([n]), steps)[0]
    with mpmath.workdps(40):
        assert relative_error(found, mpmath.mpf(2) ** (mpmath.mpf(n) / steps)) < 1e-15
    if n % steps == 0:
        assert found == 2.0 ** (n // steps)


@bounded
@given(st.floats(-37.0, 37.0))
@example(3.0)
@example(-3.0)
@example(float(np.nextafter(-3.0, 0.0)))
@example(0.0)
def test_normal_cdf_is_accurate_in_both_tails(x):
    with mpmath.workdps(40):
        exact = mpmath.erfc(-mpmath.mpf(x) / mpmath.sqrt(2)) / 2
        assert relative_error(arithmetic.normal_cdf(np.array([x]))[0], exact) < 1e-12


@bounded
@given(st.floats(-700.0, 700.0))
def test_logistic_cdf_is_accurate_in_both_tails(x):
    with mpmath.workdps(40):
        exact = 1 / (1 + mpmath.exp(-mpmath.mpf(x)))
        assert relative_error(arithmetic.logistic_cdf(x), exact) < 1e-14


@pytest.mark.parametrize("cdf", [arithmetic.normal_cdf, arithmetic.logistic_cdf])
def test_distribution_functions_end_at_0_and_1(cdf):
    assert list(cdf(np.array([-1000.0, 0.0, 1000.0]))) == [0.0, 0.5, 1.0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_a_value_does_not_depend_on_its_neighbours_or_layout(seed, n):
    x = np.random.default_rng(seed).uniform(-40.0, 40.0, (n, 3))
    for function in (arithmetic.exp, arithmetic.normal_cdf, arithmetic.logistic_cdf):
        whole = function(x)
        singly = np.array([[function(np.array([v]))[0] for v in row] for row in x])
        assert np.array_equal(whole, singly)
        assert np.array_equal(whole, function(np.asfortranarray(x)))
