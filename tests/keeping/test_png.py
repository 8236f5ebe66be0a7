"""PNG files of any settings come back byte for byte; what is damaged is told, never guessed."""

import io
import zlib

import numpy as np
import odd_kinds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from bitsback.errors import FormatError
from bitsback.images.outcomes import Outcome
from bitsback.keeping import deflate, png, png_rows
from bitsback.keeping.coded import NotKept

COLOURS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = {(colour, depth): CHANNELS[colour] for colour in COLOURS for depth in COLOURS[colour]}


def palette_of(kind: tuple[int, int]) -> bytes:
    """A palette as long as may be, where there must be one."""
    colour, depth = kind
    return odd_kinds.chunk(b"PLTE", bytes(range(256))[: 2**depth] * 3) if colour == 3 else b""


@settings(max_examples=200)
@given(
    rows=hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 8))),
    data=st.data(),
)
def test_filtered_rows_come_back(rows, data):
    height, width, step = rows.shape
    filters = data.draw(hnp.arrays(np.uint8, height, elements=st.integers(0, 4)))
    coded = png_rows.filtered(rows.reshape(height, -1), filters, step)
    assert coded[:: width * step + 1] == filters.tobytes()
    back = png_rows.unfiltered(coded, height, width, step)
    np.testing.assert_array_equal(back, rows.reshape(height, -1))


@given(hnp.arrays(np.uint8, (5, 4, 3)), st.integers(0, 4))
def test_filters_are_those_of_the_specification(image, kind):
    """Pillow reads what they make."""
    filters = np.full(5, kind, np.uint8)
    stream = zlib.compress(png_rows.filtered(image.reshape(5, -1), filters, 3))
    whole = odd_kinds.by_zlib(image, 2)
    data = whole[:33] + odd_kinds.chunk(b"IDAT", stream) + odd_kinds.chunk(b"IEND", b"")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), image)


@settings(max_examples=100)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    sides=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    level=st.integers(1, 9),
    memory=st.sampled_from([8, 9]),
    strategy=st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED]),
    sizes=st.sampled_from([1, 50, 1 << 20]),
    behind=st.sampled_from([b"", b"x"]),
    interlaced=st.sampled_from([0, 1]),
)
def test_a_png_of_zlib_comes_back(kind, sides, level, memory, strategy, sizes, behind, interlaced):
    colour, depth = kind
    samples = odd_kinds.smooth(*sides, KINDS[kind], highest=2**depth - 1)
    data = odd_kinds.by_zlib(
        samples, colour, depth, level=level, memory=memory, strategy=strategy, sizes=sizes,
        behind=behind, before=palette_of(kind), interlaced=interlaced,
    )  # fmt: skip
    coded = png.code(data, deflate.Search())
    assert coded.outcome is Outcome.EXACT
    np.testing.assert_array_equal(coded.levels, samples)
    recipe = coded.records[0][1]
    assert png.write(coded.levels, coded.mode, recipe) == (data, True)
    assert png.code(data, None, coded.hint and deflate.Settings(*coded.hint)).records == (
        coded.records
    )


@settings(max_examples=60)
@given(
    kind=st.sampled_from([kind for kind in sorted(KINDS) if kind[1] < 16]),
    sides=st.tuples(st.integers(1, 19), st.integers(1, 19)),
)
def test_passes_are_those_of_the_specification(kind, sides):
    """Pillow reads what they make."""
    colour, depth = kind
    samples = odd_kinds.smooth(*sides, KINDS[kind], highest=2**depth - 1)
    data = odd_kinds.by_zlib(samples, colour, depth, before=palette_of(kind), interlaced=1)
    with Image.open(io.BytesIO(data)) as image:
        seen = np.array(image, np.uint8).reshape(samples.shape)
    scale = 255 // (2**depth - 1) if colour == 0 and depth in (2, 4) else 1
    np.testing.assert_array_equal(seen, samples * scale)


def test_pixels_with_a_wrong_checksum_are_not_mended():
    data = bytearray(odd_kinds.by_no_zlib())
    data[data.index(b"IEND") - 5] ^= 1  # the last byte of IDAT's
    with pytest.raises(NotKept, match="damaged"):
        png.code(bytes(data), deflate.Search())


def test_another_zlib_is_noticed(monkeypatch):
    data = odd_kinds.by_zlib(odd_kinds.smooth(20, 20, 3), 2, level=9)
    coded = png.code(data, deflate.Search())
    monkeypatch.setattr(deflate, "compress", lambda raw, settings: zlib.compress(raw, 1))
    back, is_exact = png.write(coded.levels, coded.mode, coded.records[0][1])
    assert not is_exact
    assert back != data
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(back))), coded.levels)


def test_what_one_file_had_is_tried_first_on_the_next(monkeypatch):
    search = deflate.Search()
    one, two = (odd_kinds.by_zlib(odd_kinds.smooth(40, 40 + n, 3), 2, level=4) for n in (0, 1))
    png.code(one, search)
    assert search.last is not None
    monkeypatch.setattr(deflate, "_plausible", None)  # is not asked
    assert png.code(two, search).outcome is Outcome.EXACT


def test_a_search_that_fails_twice_is_given_up(monkeypatch):
    search, asked = deflate.Search(), []
    real = deflate._plausible
    monkeypatch.setattr(deflate, "_plausible", lambda stream: asked.append(1) or real(stream))
    for _ in range(4):
        assert png.code(odd_kinds.by_no_zlib(), search).outcome is Outcome.SAMPLES
    assert len(asked) == 2


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_recipe_is_a_format_error_or_the_same_samples(data):
    samples = odd_kinds.smooth(6, 7, 3)
    coded = png.code(odd_kinds.by_zlib(samples, 2, sizes=40), deflate.Search())
    recipe = bytearray(coded.records[0][1])
    place = data.draw(st.integers(0, len(recipe) - 1))
    recipe[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(recipe))))
    try:
        png.write(coded.levels, coded.mode, bytes(recipe[:cut]))
    except FormatError:
        return


@given(st.binary(max_size=80))
def test_junk_behind_a_signature_is_not_kept(data):
    with pytest.raises(NotKept):
        png.code(png.SIGNATURE + data, deflate.Search())


def test_a_stream_of_any_bytes_is_small_or_made_fast():
    photograph = odd_kinds.smooth(200, 200, 3).tobytes()
    drawing = bytes(range(0, 256, 7)) * 2000
    for data in (photograph, drawing, b"", b"x"):
        stream = deflate.compress(data, deflate.fitting(data))
        assert deflate.inflate(stream, len(data)) == (data, b"")
        assert len(stream) <= 1.03 * len(zlib.compress(data, 9))
    assert deflate.fitting(photograph).level < deflate.fitting(drawing).level
