"""Each classical method gives back the tiles, and damage never passes as another error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.errors import FormatError
from bitsback.images import classical
from bitsback.images.classical import METHODS, Method, decode, encode


@st.composite
def stacks(draw):
    binary = draw(st.booleans())
    n, height, width = draw(st.tuples(st.integers(1, 7), st.integers(1, 12), st.integers(1, 12)))
    channels = 1 if binary else draw(st.sampled_from([1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    shape = (n, height, width, channels)
    extents = None
    if draw(st.booleans()):
        sides = st.tuples(st.integers(1, height), st.integers(1, width))
        extents = tuple(draw(st.lists(sides, min_size=n, max_size=n)))
    levels = 2 if binary else draw(st.sampled_from([2, 256]))
    kind = draw(st.sampled_from(["noise", "constant", "ramp"]))
    if kind == "noise":
        tiles = rng.integers(0, levels, shape, np.uint8)
    elif kind == "constant":
        tiles = np.full(shape, levels - 1, np.uint8)
    else:
        tiles = (np.indices(shape).sum(0) // 2 % levels).astype(np.uint8)
    for tile, (rows, columns) in zip(tiles, extents or (), strict=extents is not None):
        tile[:] = np.pad(
            tile[:rows, :columns],
            ((0, height - rows), (0, width - columns), (0, 0)),
            mode="edge",
        )
    return tiles, binary, extents


@settings(max_examples=100, deadline=None)
@given(stacks())
def test_the_smallest_of_all_methods_is_taken_and_every_one_decodes(stack):
    tiles, binary, extents = stack
    coded = [classical._encode(method, tiles, binary, extents) for method in METHODS]
    made = [data for data in coded if data is not None]
    assert len(made) == (5 if binary else 4) + (0 if extents is None else 2)
    smallest = encode(tiles, binary, extents)
    assert smallest == min(made, key=len)
    sizes = [(tile.shape[0], tile.shape[1]) for tile in tiles] if extents is None else extents
    values = sum(tiles.shape[3] * rows * columns for rows, columns in sizes)
    assert len(smallest) <= 1 + -(-values // 8 if binary else -values)
    for data in made:
        back = decode(data, tiles.shape, binary, extents)
        assert back.dtype == np.uint8
        np.testing.assert_array_equal(back, tiles)


def test_binary_noise_costs_a_bit_a_pixel_and_a_constant_next_to_nothing():
    noise = np.random.default_rng(0).integers(0, 2, (4, 28, 28, 1), np.uint8)
    assert len(encode(noise, True)) == 1 + 4 * 28 * 28 // 8
    assert len(encode(np.full((100, 28, 28, 3), 77, np.uint8), False)) < 200


def test_sides_beyond_webp_fall_back_to_plain_methods():
    tiles = np.zeros((1, 2, 20000, 1), np.uint8)
    assert classical._encode(Method.WEBP, tiles, False) is None
    np.testing.assert_array_equal(decode(encode(tiles, False), tiles.shape, False), tiles)


@pytest.mark.parametrize("method", [m for m in METHODS if m is not Method.RAW])
def test_a_stream_of_larger_tiles_is_refused(method):
    large = np.zeros((9, 40, 40, 1), np.uint8)
    data = classical._encode(method, large, True, [(40, 39)] * 9)
    with pytest.raises(FormatError):
        decode(data, (1, 40, 40, 1), True, [(40, 39)])


def test_whole_tiles_have_nothing_to_leave_out():
    data = classical._encode(Method.RAW_INSIDE, np.ones((1, 2, 2, 1), np.uint8), False, [(2, 1)])
    with pytest.raises(FormatError, match="does not fit"):
        decode(data, (1, 2, 2, 1), False)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(METHODS), st.data())
def test_damage_raises_nothing_but_format_errors(method, data):
    binary = method is Method.G4
    tiles = np.random.default_rng(3).integers(0, 2 if binary else 9, (3, 9, 9, 1), np.uint8)
    extents = [(9, 9), (5, 9), (9, 2)] if method in classical.INSIDE else None
    coded = bytearray(classical._encode(method, tiles, binary, extents))
    for _ in range(data.draw(st.integers(1, 3))):
        coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    del coded[data.draw(st.integers(len(coded) // 2, 2 * len(coded))) :]
    try:
        back = decode(bytes(coded), tiles.shape, binary, extents)
    except FormatError:
        return
    assert back.shape == tiles.shape
    assert not binary or back.max() <= 1


def test_an_unknown_method_is_refused():
    for data in (b"", b"\x09abc"):
        with pytest.raises(FormatError, match="method"):
            decode(data, (1, 2, 2, 1), False)


@pytest.mark.parametrize("binary", [False, True])
def test_methods_that_make_a_sample_larger_are_not_promising(binary):
    row = np.arange(64, dtype=np.uint8)
    smooth = (row[:, None] + 2 * row + 3 * np.arange(40)[:, None, None])[..., None]
    tiles = (smooth // 32 % 2 if binary else smooth // 4).astype(np.uint8)
    sizes = classical.quick_sizes(tiles[::10], binary, None)
    methods = classical.promising(sizes, tiles)
    assert {Method.RAW, Method.RAW_INSIDE} < set(methods) < set(METHODS)
    assert all(sizes[m] <= 1.08 * min(sizes.values()) for m in methods if m.name[:3] != "RAW")
    code = encode(tiles, binary, methods=methods)
    assert np.array_equal(decode(code, tiles.shape, binary), tiles)
    best = min(len(data) for m in METHODS if (data := classical._encode(m, tiles, binary)))
    assert len(code) <= 1.08 * best


def test_only_the_methods_that_are_given_are_tried():
    tiles = np.zeros((3, 8, 8, 1), np.uint8)
    told = []
    code = encode(tiles, False, None, lambda *given: told.append(given), (Method.RAW, Method.PNG))
    assert Method(code[0]) is Method.PNG
    assert told == [(1, 2), (2, 2)]


def test_a_quick_size_is_near_that_of_the_code():
    ramp = np.indices((2, 90, 90)).sum(0)[..., None] // 3
    tiles = (ramp + np.random.default_rng(0).integers(0, 3, ramp.shape)).astype(np.uint8)
    sizes = classical.quick_sizes(tiles, False, None)
    assert set(sizes) == {Method.RAW, Method.PNG, Method.WEBP, Method.XZ}
    for method, size in sizes.items():
        assert size == pytest.approx(len(classical._encode(method, tiles, False)), rel=0.05)


@pytest.mark.parametrize("repeated", [False, True])
def test_xz_is_promising_where_tiles_come_again(repeated):
    random, row = np.random.default_rng(0), np.arange(32)
    slopes = random.uniform(-3, 3, (80, 2, 1, 1))
    ramps = 128 + slopes[:, 0] * row[:, None] + slopes[:, 1] * row
    tiles = (ramps + random.integers(0, 4, ramps.shape)).astype(np.uint8)[..., None]
    if repeated:  # far apart, so that a sample has no two alike
        tiles[40:] = tiles[:40]
    methods = classical.promising(classical.quick_sizes(tiles[:8], False, None), tiles)
    assert (Method.XZ in methods) == repeated


def test_blank_tiles_that_come_again_say_nothing_about_the_others():
    tiles = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 1)).astype(np.uint8)
    tiles[::4] = 255
    sizes = {Method.RAW: 100, Method.WEBP: 10, Method.XZ: 50}
    assert Method.XZ not in classical.promising(sizes, tiles)
    tiles[1] = tiles[2]
    assert Method.XZ in classical.promising(sizes, tiles)


def test_xz_is_tried_with_the_padding_or_without_whichever_is_less():
    tiles = np.zeros((3, 8, 8, 1), np.uint8)
    plain = (Method.RAW, Method.RAW_INSIDE)
    for inside, chosen in ((99, Method.XZ_INSIDE), (100, Method.XZ), (101, Method.XZ)):
        sizes = {Method.RAW: 900, Method.XZ: 100, Method.XZ_INSIDE: inside, Method.RAW_INSIDE: 850}
        assert set(classical.promising(sizes, tiles)) == {*plain, chosen}
