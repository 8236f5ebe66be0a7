"""Lossless WebP files come back byte for byte, or with the same pixels and chunks."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bitsback.errors import FormatError
from bitsback.images.outcomes import Outcome
from bitsback.keeping import rule, webp
from bitsback.keeping.coded import NotKept
from bitsback.keeping.rule import Rule

odd_kinds = pytest.importorskip("odd_kinds")


@settings(max_examples=25, deadline=None)
@given(
    channels=st.sampled_from([3, 4]),
    sides=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    quality=st.sampled_from([0, 75, 80, 100]),
    method=st.sampled_from([0, 4, 6]),
    profile=st.booleans(),
    behind=st.sampled_from([b"", b"more"]),
)
def test_lossless_webp_comes_back(channels, sides, quality, method, profile, behind):
    levels = odd_kinds.smooth(*sides, channels)
    options = {"icc_profile": bytes(101), "exif": odd_kinds.exif()} if profile else {}
    data = behind_of(levels, behind, quality=quality, method=method, **options)
    coded = Rule().examine(data)
    np.testing.assert_array_equal(coded.levels, levels)
    back, exact = rule.write(coded.levels, coded.mode, coded.records)
    assert exact
    assert (back == data) or coded.outcome is Outcome.SAMPLES
    webp.check_same(data, back)
    assert Rule().again(data, coded.outcome, coded.hint).records == coded.records


def behind_of(levels: np.ndarray, behind: bytes, **options) -> bytes:
    return odd_kinds.saved("WEBP", levels, lossless=True, exact=True, **options) + behind


def test_the_default_of_pillow_comes_back_byte_for_byte():
    data = behind_of(odd_kinds.smooth(30, 40, 3), b"")
    coded = Rule().examine(data)
    assert coded.outcome is Outcome.EXACT
    changed = coded.levels.copy()
    changed[5, 5, 1] ^= 1
    other, exact = rule.write(changed, coded.mode, coded.records)
    assert not exact
    with pytest.raises(NotKept, match="pixels"):
        webp.check_same(data, other)
    described = behind_of(odd_kinds.smooth(30, 40, 3), b"", exif=odd_kinds.exif())
    with pytest.raises(NotKept, match="metadata"):
        webp.check_same(data, described)


def test_another_libwebp_leaves_a_sound_file(monkeypatch):
    levels = odd_kinds.smooth(30, 40, 3)
    data = behind_of(levels, b"", exif=odd_kinds.exif())
    coded = Rule().examine(data)
    real = Image.Image.save
    monkeypatch.setattr(
        Image.Image, "save", lambda *words, **options: real(*words, **options | {"quality": 0})
    )
    back, exact = rule.write(coded.levels, coded.mode, coded.records)
    assert not exact
    with Image.open(io.BytesIO(back)) as image:
        np.testing.assert_array_equal(np.asarray(image), levels)
        assert image.info["exif"]


def test_a_recipe_beside_strange_pixels_is_a_format_error():
    coded = Rule().examine(behind_of(odd_kinds.smooth(9, 8, 3), b""))
    recipe = coded.records[0][1]
    for levels, mode in (
        (np.zeros((1, 20000, 3), np.uint8), "RGB"),
        (np.zeros((3, 3, 1), np.uint8), "L"),
        (np.zeros((3, 3, 3), np.uint16), "RGB;16"),
    ):
        with pytest.raises(FormatError, match="not of these pixels"):
            webp.write(levels, mode, recipe)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_recipe_is_a_format_error_or_told_of(data):
    whole = behind_of(odd_kinds.smooth(9, 8, 3), b"")
    coded = Rule().examine(whole)
    recipe = bytearray(coded.records[0][1])
    recipe[data.draw(st.integers(0, len(recipe) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        back, exact = webp.write(coded.levels, coded.mode, bytes(recipe))
    except FormatError:
        return
    assert not exact or back == whole or recipe[:4] == bytes(4)
