import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsback.side.least_squares import factored, normal_equations, system


def numbers(seed, size, count=60):
    rng = np.random.default_rng(seed)
    a = rng.integers(-4080, 4081, (size, count)) + rng.integers(-4080, 4081, count)
    b, w = rng.integers(-4080, 4081, count), rng.integers(0, 1 << 10, count)
    return a, b, w


@given(st.integers(0, 999), st.integers(1, 6))
def test_sums_are_those_of_whole_numbers(seed, size):
    a, b, w = numbers(seed, size)
    matrix, right = normal_equations(*(v.astype(np.float64) for v in (a, b, w)))
    exact = (a.astype(object) * w) @ a.T.astype(object), (a.astype(object) * w) @ b.astype(object)
    assert (matrix == exact[0].astype(np.float64)).all()
    assert (right == exact[1].astype(np.float64)).all()


@given(st.integers(0, 999), st.integers(1, 8))
def test_the_factors_give_the_matrix_back(seed, size):
    a, b, w = (v.astype(np.float64) for v in numbers(seed, size))
    matrix = normal_equations(a, b, w)[0] + np.eye(size) * 1e6
    lower, diagonal = factored(matrix)
    assert np.allclose(lower * diagonal @ lower.T, matrix, rtol=1e-9)
    assert (diagonal > 0).all()


@given(st.integers(0, 999), st.integers(1, 20))
def test_whole_solutions_are_found(seed, size):
    rng = np.random.default_rng(seed)
    a, _, w = numbers(seed, size)
    wanted = rng.integers(-255, 256, size)
    b = (wanted @ a).astype(np.float64)
    matrix, right = normal_equations(a.astype(np.float64), b / 128, w.astype(np.float64))
    found = system(matrix + np.eye(size), right).rounded(size, 128.0, 255)
    assert np.array_equal(found, wanted)


def test_the_others_make_up_for_what_is_rounded():
    """Of neighbours that are nearly the same only the sum of weights matters."""
    common = np.random.default_rng(0).integers(-4000, 4000, 500).astype(np.float64)
    a = np.stack([common, common + 1, common - 1])
    matrix, right = normal_equations(a, np.floor(common * 0.5), np.ones(500))
    matrix += np.eye(3) * 1e4
    found = system(matrix, right).rounded(3, 4.0, 255)
    plain = np.rint(np.linalg.solve(matrix, right) * 4)

    def error(w):
        return w @ matrix @ w / 16 - 2 * w @ right / 4

    assert found.sum() == 2
    assert plain.sum() == 3
    near = itertools.product(*(range(int(v) - 2, int(v) + 3) for v in plain))
    assert error(found) == pytest.approx(min(error(np.array(w)) for w in near), rel=1e-3)


def test_weights_stay_within_the_limit():
    found = system(np.eye(2), np.array([9.0, -9.0])).rounded(2, 128.0, 255)
    assert found.tolist() == [255, -255]


@given(st.integers(0, 999), st.integers(2, 8), st.data())
def test_the_first_unknowns_alone_are_the_leading_part(seed, size, data):
    count = data.draw(st.integers(1, size))
    a, b, w = (v.astype(np.float64) for v in numbers(seed, size))
    matrix, right = normal_equations(a, b, w)
    matrix += np.eye(size) * 1e6
    leading = system(matrix[:count, :count], right[:count])
    expected = leading.rounded(count, 128.0, 255)
    assert np.array_equal(system(matrix, right).rounded(count, 128.0, 255), expected)
