"""Uncompressed files come back byte for byte, whatever their headers say; so do other TIFFs."""

import io
import struct

import numpy as np
import odd_kinds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from bitsback.errors import FormatError
from bitsback.images.outcomes import Outcome
from bitsback.keeping import raw, rule
from bitsback.keeping.coded import NotKept
from bitsback.keeping.rule import Rule

NAMES = [name for name in odd_kinds.KINDS if name.startswith(("tiff", "bmp", "pnm", "npy"))]


def comes_back(data: bytes) -> bool:
    """Whether a file is coded, and then comes back."""
    try:
        coded = Rule().examine(data)
    except NotKept:
        return False
    back, as_promised = rule.write(coded.levels, coded.mode, coded.records)
    assert as_promised
    assert back == data or coded.outcome is Outcome.SAMPLES
    return True


@pytest.mark.parametrize("name", NAMES)
def test_odd_kinds_come_back_or_are_not_kept(name):
    comes_back(odd_kinds.KINDS[name]())


@settings(max_examples=400)
@given(st.sampled_from(NAMES), st.integers(0, 200), st.binary(min_size=1, max_size=4))
def test_forged_headers_lose_nothing(name, place, junk):
    data = odd_kinds.KINDS[name]()
    comes_back(data[:place] + junk + data[place + len(junk) :])


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    st.sampled_from(["BMP", "PPM", "TIFF"]),
)
def test_levels_are_those_that_pillow_sees(image, kind):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    coded = raw.code(file.getvalue())
    assert coded.mode == "RGB"
    np.testing.assert_array_equal(coded.levels, image)
    assert comes_back(file.getvalue())


def test_padding_that_is_not_zero_is_not_dropped():
    data = bytearray(odd_kinds.KINDS["bmp/RGB, padded rows.bmp"]())
    (offset,) = struct.unpack_from("<I", data, 10)
    data[offset + 47 * 3] = 7
    coded = raw.code(bytes(data))
    assert raw.write(coded.levels, coded.mode, coded.records[0][1])[0] != data


@settings(max_examples=300)
@given(st.sampled_from(["tiff/planes.tif", "bmp/one bit.bmp"]), st.data())
def test_a_damaged_recipe_is_a_format_error_or_other_bytes(name, data):
    coded = raw.code(odd_kinds.KINDS[name]())
    recipe = bytearray(coded.records[0][1])
    recipe[data.draw(st.integers(0, 12))] = data.draw(st.integers(0, 255))
    try:
        raw.write(coded.levels, coded.mode, bytes(recipe))
    except FormatError:
        return
