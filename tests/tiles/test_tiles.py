"""Cutting into tiles and joining them are inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.errors import FormatError, InputError
from bitsback.tiles.tiles import count, cut, join, values


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=4),
    channels=st.sampled_from([1, 3]),
    tile=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 1000),
)
def test_join_reverses_cut(sizes, channels, tile, seed):
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (*size, channels), np.uint8) for size in sizes]
    shapes = [image.shape for image in images]
    tiles = cut(images, tile)
    assert tiles.shape == (count(shapes, tile), *tile, channels)
    for image, back in zip(images, join(tiles, shapes), strict=True):
        np.testing.assert_array_equal(back, image)


def test_tiles_are_row_major_and_padded_by_their_edge():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    tiles = cut([image, image[:1, :1] + 100], (2, 3))
    assert tiles.shape == (5, 2, 3, 1)
    np.testing.assert_array_equal(tiles[0, :, :, 0], [[0, 1, 2], [4, 5, 6]])
    np.testing.assert_array_equal(tiles[1, :, :, 0], [[3, 3, 3], [7, 7, 7]])
    np.testing.assert_array_equal(tiles[2, :, :, 0], [[8, 9, 10], [8, 9, 10]])
    np.testing.assert_array_equal(tiles[3, :, :, 0], np.full((2, 3), 11))
    np.testing.assert_array_equal(tiles[4, :, :, 0], np.full((2, 3), 100))


def test_what_does_not_fit_is_refused():
    gray, rgb = np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(InputError):
        cut([], (2, 2))
    with pytest.raises(InputError):
        cut([gray, rgb], (2, 2))
    with pytest.raises(FormatError):
        join(cut([gray], (2, 2)), [(2, 3, 1)])
    with pytest.raises(FormatError):
        join(cut([gray], (2, 2)), [(2, 2, 3)])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([1, 3]),
)
def test_a_tiles_values_are_those_that_are_no_padding(sizes, tile, channels):
    shapes = [(*size, channels) for size in sizes]
    numbered = [np.arange(np.prod(shape[:2])).reshape(shape[:2]) for shape in shapes]
    wanted = []
    for numbers in numbered:
        for top in range(0, numbers.shape[0], tile[0]):
            for left in range(0, numbers.shape[1], tile[1]):
                wanted.append(numbers[top : top + tile[0], left : left + tile[1]].size * channels)
    assert values(shapes, tile).tolist() == wanted
    assert len(wanted) == count(shapes, tile)
