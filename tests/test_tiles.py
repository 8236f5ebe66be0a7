"""Cutting into tiles and joining them are inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.errors import FormatError, InputError
from bitsback.tiles import count, cut, join


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=4),
    channels=st.sampled_from([1, 3]),
    tile=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 1000),
)
def test_join_reverses_cut(sizes, channels, tile, seed):
    rng = np.random.default_rng(seed)
    pictures = [rng.integers(0, 256, (*size, channels), np.uint8) for size in sizes]
    shapes = [picture.shape for picture in pictures]
    tiles = cut(pictures, tile)
    assert tiles.shape == (count(shapes, tile), *tile, channels)
    for picture, back in zip(pictures, join(tiles, shapes), strict=True):
        np.testing.assert_array_equal(back, picture)


def test_tiles_are_row_major_and_padded_by_their_edge():
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    tiles = cut([picture, picture[:1, :1] + 100], (2, 3))
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
