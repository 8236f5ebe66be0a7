"""TIFFs in pieces come back byte for byte, or with the same samples and tags."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bitsback.errors import FormatError
from bitsback.images.outcomes import Outcome
from bitsback.keeping import deflate, rule
from bitsback.keeping.coded import NotKept
from bitsback.keeping.rule import Policy, Rule
from bitsback.keeping.tiff import code as tiff
from bitsback.keeping.tiff import streams

odd_kinds = pytest.importorskip("odd_kinds")
tifffile = pytest.importorskip("tifffile")

LAYOUTS = [
    {},
    {"rowsperstrip": 7},
    {"tile": (16, 32)},
    {"planarconfig": "separate", "rowsperstrip": 5},
    {"planarconfig": "separate", "tile": (32, 16)},
]


def made(channels: int, highest: int, compression: str, layout: dict, **options) -> np.ndarray:
    levels = odd_kinds.smooth(40, 37, channels, highest=highest)
    kinds = {1: "minisblack", 2: "minisblack", 3: "rgb", 4: "rgb"}
    planar = "planarconfig" in layout
    array = levels.transpose(2, 0, 1) if planar else levels
    array = array[0] if channels == 1 and planar else array[..., 0] if channels == 1 else array
    layout = {key: layout[key] for key in layout if channels > 1 or key != "planarconfig"}
    if channels == 2 and "planarconfig" not in layout:
        layout = layout | {"planarconfig": "contig"}
    data = odd_kinds.tiff(
        array, photometric=kinds[channels], compression=compression, **layout, **options
    )
    return data, levels


def pillow_reads(data: bytes) -> bool:
    try:
        np.asarray(Image.open(io.BytesIO(data)))
    except OSError:
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 4),
    highest=st.sampled_from([255, 65535]),
    compression=st.sampled_from([None, "lzw", "zlib", "packbits"]),
    layout=st.sampled_from(LAYOUTS),
    predictor=st.booleans(),
    order=st.sampled_from("<>"),
)
def test_tiffs_in_pieces_come_back(channels, highest, compression, layout, predictor, order):
    predictor = predictor and compression in ("lzw", "zlib")
    data, levels = made(
        channels, highest, compression, layout, predictor=predictor, byteorder=order
    )
    if tiff.code(data, deflate.Search()).outcome is Outcome.SAMPLES and not pillow_reads(data):
        with pytest.raises(NotKept, match="no independent reader"):
            Rule().examine(data)
        return
    coded = Rule().examine(data)
    np.testing.assert_array_equal(coded.levels, levels)
    back, exact = rule.write(coded.levels, coded.mode, coded.records)
    assert exact
    if coded.outcome is Outcome.EXACT:
        assert back == data
    np.testing.assert_array_equal(
        tifffile.imread(io.BytesIO(back)), tifffile.imread(io.BytesIO(data))
    )
    hint = coded.hint
    assert Rule().again(data, coded.outcome, hint).records == coded.records


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_what_libtiff_writes_comes_back_byte_for_byte(compression, mode):
    levels = odd_kinds.smooth(300, 250, 3) if mode == "RGB" else odd_kinds.smooth(300, 250)
    image = Image.fromarray(levels if mode != "1" else levels > 120, None if mode != "P" else "P")
    if mode == "P":
        image.putpalette([n * 37 % 256 for n in range(768)])
    data = odd_kinds.saved("TIFF", image, compression=compression)
    coded = tiff.code(data, deflate.Search())
    assert (coded.mode, coded.outcome) == (mode, Outcome.EXACT)
    assert rule.write(coded.levels, coded.mode, coded.records) == (data, True)


def test_samples_are_enough_if_asked_for():
    data, levels = made(3, 255, "zlib", {"rowsperstrip": 7}, compressionargs={"level": 3})
    coded = Rule(Policy("samples")).examine(data)
    assert coded.outcome is Outcome.SAMPLES
    back, _ = rule.write(coded.levels, coded.mode, coded.records)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(back)), levels)


@pytest.mark.parametrize("level", [0, 1])
def test_a_library_that_makes_other_bytes_is_told_of_and_leaves_a_sound_file(monkeypatch, level):
    data, levels = made(3, 255, "zlib", {"rowsperstrip": 7})
    coded = Rule().examine(data)
    assert coded.outcome is Outcome.EXACT
    real = deflate.compress
    other = deflate.Settings(level, 8, 0, 15)
    monkeypatch.setattr(deflate, "compress", lambda raw, _: real(raw, other))
    back, exact = rule.write(coded.levels, coded.mode, coded.records)
    assert not exact
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(back)), levels)
    tiff.check_same(data, back)


def test_every_sample_and_tag_is_compared():
    data, _ = made(3, 65535, "zlib", {"rowsperstrip": 7})
    coded = Rule().examine(data)
    changed = coded.levels.copy()
    changed[5, 5, 1] ^= 1  # the lowest bit of one sample
    other, _ = rule.write(changed, coded.mode, coded.records)
    with pytest.raises(NotKept, match="pixels"):
        tiff.check_same(data, other)
    described, _ = made(3, 65535, "zlib", {"rowsperstrip": 7}, software="another")
    with pytest.raises(NotKept, match="metadata"):
        tiff.check_same(data, described)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_recipe_is_a_format_error_or_told_of(data):
    whole, _ = made(3, 255, "lzw", {"tile": (16, 32)})
    coded = Rule().examine(whole)
    recipe = bytearray(coded.records[0][1])
    place = data.draw(st.integers(0, len(recipe) - 1))
    recipe[place] ^= data.draw(st.integers(1, 255))
    try:
        back, exact = tiff.write(coded.levels, coded.mode, bytes(recipe))
    except FormatError:
        return
    assert not exact or back == whole or recipe[:4] == bytes(4)


def test_junk_in_pieces_is_not_unpacked():
    for compression in (streams.LZW, streams.PACK_BITS, streams.DEFLATE):
        packed = streams.pack(bytes(range(200)), compression, 10, 20)
        assert streams.unpack(packed, compression, 10, 20) == bytes(range(200))
        assert streams.unpack(packed[: len(packed) // 2], compression, 10, 20) is None
        assert streams.unpack(b"", compression, 10, 20) is None
