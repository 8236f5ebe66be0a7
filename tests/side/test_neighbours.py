import dataclasses

import numpy as np
import pytest
from conftest import SMALL
from hypothesis import given
from hypothesis import strategies as st

from bitsback.coding.model import ALL_PIXELS
from bitsback.models.draw.passes.order import passes
from bitsback.side.neighbours import MOST, counts, neighbours

ORDERS = {
    "one pass": ALL_PIXELS,
    "rows": tuple((slice(row, None, 3), slice(None)) for row in range(3)),
} | {
    f"{n} passes": tuple(
        each.where
        for each in passes(
            dataclasses.replace(
                SMALL, channels=3, likelihood="logistic", mixtures=2, passes=n, tile=16
            )
        )
    )
    for n in (4, 7, 10)
}
orders = st.sampled_from(sorted(ORDERS))


def numbered(order, height, width):
    """The number of each pixel's pass, (1, 1, H, W)."""
    image = np.zeros((1, 1, height, width), np.uint8)
    for number, where in enumerate(order):
        image[:, :, *where] = number
    return image


@given(orders, st.integers(1, 33), st.integers(1, 33))
def test_neighbours_are_of_earlier_passes(name, height, width):
    order = ORDERS[name]
    image = numbered(order, height, width)
    for number, (where, count) in enumerate(zip(order, counts(order, height, width), strict=True)):
        near = neighbours(image, order, number)
        assert near.shape == (1, count, 1, *image[0, 0, *where].shape)
        assert count <= MOST
        assert (near < number).all()


@given(orders, st.integers(8, 33), st.integers(8, 33), st.integers(0, 99))
def test_later_passes_are_not_read(name, height, width, seed):
    order = ORDERS[name]
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (2, 3, height, width)).astype(np.uint8)
    for number in range(len(order)):
        blank = image.copy()
        for where in order[number:]:
            blank[:, :, *where] = rng.integers(0, 256)
        expected = neighbours(image, order, number)
        assert np.array_equal(neighbours(blank, order, number), expected)


def test_the_nearest_come_first():
    order = ORDERS["10 passes"]
    y, x = np.mgrid[:64, :64].astype(np.uint8)
    near = neighbours(np.stack([y, x])[None], order, 9).astype(int)
    own = np.stack([y, x])[:, *order[9]].astype(int)
    inside = (slice(8, -8),) * 2
    away = ((near[0] - own) ** 2).sum(1)[:, *inside]
    assert (np.diff(away, axis=0) >= 0).all()
    assert away[:, 0, 0].tolist() == [1] * 4 + [2] * 4 + [5] * 8


def test_beyond_the_edge_the_pattern_goes_on_inward():
    image = numbered(ORDERS["4 passes"], 8, 8)
    image[0, 0] += 10 * np.arange(8, dtype=np.uint8)[:, None]
    last = neighbours(image, ORDERS["4 passes"], 3)[0, :4, 0]
    # The pixels of the last pass in the lowest row have the row above in place of one below.
    assert set((last[:, -1, 1] // 10).tolist()) == {6, 7}


def test_a_single_pass_has_none():
    assert counts(ALL_PIXELS, 32, 32) == (0,)


def test_a_pattern_too_large_to_search_has_none():
    order = tuple((slice(row, None, 65), slice(None)) for row in range(65))
    assert set(counts(order, 130, 4)) == {0}


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_small_images_lack_what_has_no_row(size):
    order = ORDERS["10 passes"]
    assert counts(order, size, size)[1] <= counts(order, 64, 64)[1]
