"""Components beyond the table: their rows are those that a larger table would have."""

import numpy as np
import pytest
from conftest import code_length
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from bitsback.ans.message import Message
from bitsback.tables import components, tables
from bitsback.tables.pixels import Mixture

kinds = pytest.mark.parametrize("kind", ["gaussian", "logistic"])
CDF = {"gaussian": special.ndtr, "logistic": special.expit}


@kinds
def test_rows_of_what_the_table_holds_are_the_tables(kind):
    means, scales = (v.ravel() for v in np.meshgrid(np.arange(0, 4081, 37), np.arange(-24, 49, 3)))
    table = tables.component_table(kind)
    at = (scales + 24) * 16 + means % 16
    columns = 256 - means[:, None] // 16 + np.arange(256)
    np.testing.assert_array_equal(components.rows(kind, means, scales), table[at[:, None], columns])
    assert not components.beyond(means, scales).any()


def one(kind, mean, log_scale, **options):
    """256 pixels under one component; mean in levels."""
    means = np.full((1, 1, 1, 1, 256), round(16 * mean), np.int64)
    scales = np.full_like(means, log_scale)
    return Mixture(kind, means[:, :, 0] * 0, means, scales, means[:, :, :0], **options)


EVERY = np.arange(256, dtype=np.uint8).reshape(1, 1, 1, 256)


def masses(codec):
    return (
        2.0
        ** -np.array(
            [code_length(codec.only(EVERY[:, 0] == v), EVERY[..., v : v + 1]) for v in range(256)]
        )[:, 0]
    )


@kinds
@pytest.mark.parametrize("mean", [-3000.0, -300.0, -20.0, 100.0, 256.0, 280.0, 4000.0])
@pytest.mark.parametrize("log_scale", [-40, 0, 30, 60, 90])
def test_levels_have_the_mass_of_the_distribution(kind, mean, log_scale):
    found = masses(one(kind, mean, log_scale))
    cdf = CDF[kind]((np.arange(257) - 0.5 - mean) / 2.0 ** (log_scale / 8))
    cdf[0], cdf[-1] = 0, 1
    assert found.sum() == pytest.approx(1.0, rel=1e-9)
    assert np.abs(found - np.diff(cdf)).max() < 3e-5


@kinds
def test_what_lies_beyond_costs_what_the_distribution_says_and_not_what_clipping_makes_of_it(kind):
    x = np.full((1, 1, 1, 256), 255, np.uint8)
    free, clipped = (one(kind, 300, 24, clips=clips) for clips in (False, True))
    assert code_length(free, x)[0] < 0.1 * code_length(clipped, x)[0]
    assert free.beyond(x) == (0, 256, 0.0)
    assert clipped.beyond(x)[0] == 256
    assert clipped.beyond(x)[2] == pytest.approx(
        code_length(clipped, x)[0] - code_length(free, x)[0], rel=0.02
    )


@given(
    st.sampled_from(["gaussian", "logistic"]),
    st.integers(-(2**62), 2**62),
    st.integers(-(2**40), 2**40),
    st.integers(0, 255),
)
def test_whatever_a_model_says_is_coded(kind, mean, log_scale, level):
    means = np.full((1, 1, 1, 1, 3), mean, np.int64)
    codec = Mixture(kind, means[:, :, 0] * 0, means, means * 0 + log_scale, means[:, :, :0])
    message, x = Message.random(2, 99, 0), np.full((1, 1, 1, 3), level, np.uint8)
    before = message.copy()
    codec.push(message, x)
    np.testing.assert_array_equal(codec.pop(message), x)
    assert message == before
