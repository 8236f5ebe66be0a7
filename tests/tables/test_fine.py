"""Fine grids: whatever is pushed is popped, and the KL on them is that of the Gaussians."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsback.ans.message import Message
from bitsback.tables import fine, latent_grid
from bitsback.tables.latent_grid import Gaussian
from bitsback.tables.tables import TOTAL


def row_of(mean: float, sigma: float, dither: int = 16) -> np.ndarray:
    """The row of one Gaussian, in units of the grid's width."""
    gaussian = Gaussian(np.array([round(mean * 256)]), np.array([round(64 * np.log2(sigma))]))
    return fine.rows(gaussian, np.array([dither]))


means = st.floats(-5000, 5000)
sigmas = st.floats(0.3, 500)
dithers = st.integers(0, 31)


@given(means, sigmas, means, sigmas, dithers, st.integers(0, 2**32))
def test_what_a_posterior_pops_can_be_pushed_under_both(m_q, s_q, m_p, s_p, d, seed):
    p = row_of(m_p / 100, s_p, d)
    limit = fine.limits(p)
    message = Message.random(4, 64, seed)
    before = message.copy()
    masks = np.random.Philox(seed).random_raw(4) & np.uint64(TOTAL - 1)
    posterior = fine.posterior_codec(row_of(m_q, s_q, d), limit, masks)
    k = posterior.pop(message)[1]
    assert abs(int(k[0])) <= limit[0] <= fine.LIMIT
    prior = fine.prior_codec(p, limit)
    after = message.copy()
    prior.push(message, k)
    assert np.array_equal(prior.pop(message)[1], k)
    assert message == after
    posterior.push(message, k)
    assert message == before


@pytest.mark.parametrize("sigma", [0.3, 1.0, 7.5, 64.0, 500.0])
def test_frequencies_of_a_window_are_positive_and_sum_to_one(sigma):
    row = row_of(3.3, sigma, 5)
    limit = fine.limits(row)
    for window, scales in (
        (fine.prior_window(row, limit), fine._scales()[0]),
        (fine.posterior_window(row, limit), fine._scales()[1]),
    ):
        k = np.arange(window[0][0] - 1, window[1][0] + 3)
        edges = fine._cumulative(row, scales[fine._width(row)], window, k)
        freqs = np.diff(edges)
        assert (edges[0], edges[-1]) == (0, TOTAL)
        assert (freqs[[0, -1]] == 0).all()
        assert (freqs[1:-1] > 0).all()


@pytest.mark.parametrize(("ratio", "shift"), [(0.01, 0.5), (0.1, 1.5), (0.5, -2.0), (1.0, 0.1)])
def test_kl_on_the_grid_is_that_of_the_gaussians(ratio, shift):
    width = max(ratio / 8, 1 / 512)
    count = 32
    d = np.arange(count)
    p = Gaussian(np.zeros(count, np.int64), np.full(count, round(-64 * np.log2(width))))
    q = Gaussian(
        np.full(count, round(256 * shift / width)),
        np.full(count, round(64 * np.log2(ratio / width))),
    )
    p_rows = fine.rows(p, d)
    kl, variance = fine.moments(fine.rows(q, d), fine.limits(p_rows), p_rows)
    wanted = latent_grid.continuous_kl_bits(q, p).mean()
    s = ratio / width
    more = -0.5 * np.log2(1 - 1 / (12 * s * s))  # the dither's variance is left out of q
    assert kl.mean() == pytest.approx(wanted + more, abs=0.002)
    assert variance > 0


def test_a_row_has_a_sigma_on_each_side_with_its_mass():
    row = row_of(0.0, 8.0)
    window = fine.prior_window(row, fine.limits(row))
    scale = fine._scales()[0][fine._width(row)]
    share = np.diff(fine._cumulative(row, scale, window, np.array([-8, 8]))) / TOTAL
    assert share[0] == pytest.approx(0.6827, abs=0.01)


def test_a_posterior_far_from_its_prior_is_said_to_be_clipped():
    limit = fine.limits(row_of(0.0, 8.0))
    assert limit[0] == 130
    assert not fine.is_clipped(row_of(100.0, 6.0), limit)[0]
    assert fine.is_clipped(row_of(120.0, 6.0), limit)[0]
    assert fine.is_clipped(row_of(-3000.0, 1.0), limit)[0]
