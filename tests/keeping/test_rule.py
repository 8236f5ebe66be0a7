"""The rule: nothing is coded that was not proven, and nothing takes more than it did."""

import io

import numpy as np
import odd_kinds
import pytest
from PIL import Image

import bitsback
from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.chunks.plan import Settings
from bitsback.errors import InputError
from bitsback.images.outcomes import Outcome
from bitsback.keeping import deflate, png, proof, raw, rule
from bitsback.keeping.coded import NotKept
from bitsback.keeping.rule import Policy, Rule
from bitsback.sources.read import read_images
from bitsback.sources.writers import write_images


@pytest.fixture
def colour(build_model):
    return build_model(channels=3, likelihood="logistic", mixtures=2)


def test_a_recipe_that_gives_other_bytes_is_not_believed(monkeypatch):
    data = odd_kinds.KINDS["tiff/RGB.tif"]()
    assert Rule().examine(data).outcome is Outcome.EXACT
    monkeypatch.setattr(raw, "write", lambda *_: (data + b"x", True))
    with pytest.raises(NotKept, match="does not come back"):
        Rule().examine(data)


def test_samples_that_differ_are_not_believed(monkeypatch):
    data = odd_kinds.by_no_zlib()
    assert Rule().examine(data).outcome is Outcome.SAMPLES
    other = odd_kinds.by_zlib(255 - odd_kinds.smooth(odd_kinds.SIDE, odd_kinds.SIDE, 3), 2)
    monkeypatch.setattr(png, "write", lambda *_, **__: (other, True))
    with pytest.raises(NotKept, match="does not come back from its pixels"):
        Rule().examine(data)


def test_a_file_that_is_only_compared_is_not_made_small(monkeypatch):
    data = odd_kinds.by_no_zlib()
    coded = Rule(Policy("samples")).examine(data)
    written, _ = rule.write(coded.levels, coded.mode, coded.records)
    monkeypatch.setattr(deflate, "fitting", lambda _: pytest.fail("a small stream was sought"))
    assert Rule(Policy("samples")).examine(data).outcome is Outcome.SAMPLES
    compared, _ = rule.write(coded.levels, coded.mode, coded.records, compared=True)
    proof.check_same(compared, written)
    assert len(compared) > coded.levels.size > len(written)


@pytest.mark.parametrize("depth", [8, 16])
def test_metadata_and_every_sample_are_compared(depth):
    levels = odd_kinds.smooth(9, 8, 3, highest=2**depth - 1)
    data = odd_kinds.by_zlib(levels, 2, depth)
    proof.check_same(data, odd_kinds.by_zlib(levels, 2, depth, level=1))
    changed = levels.copy()
    changed[5, 5, 1] ^= 1  # the lowest bit of one sample
    with pytest.raises(NotKept, match="pixels"):
        proof.check_same(data, odd_kinds.by_zlib(changed, 2, depth))
    text = odd_kinds.chunk(b"tEXt", b"a\0b")
    with pytest.raises(NotKept, match="metadata"):
        proof.check_same(data, odd_kinds.by_zlib(levels, 2, depth, before=text))


def test_a_fault_of_ours_stops_no_set(monkeypatch):
    monkeypatch.setattr(raw, "code", lambda data: 1 // 0)
    with pytest.raises(NotKept, match="could not be examined"):
        Rule().examine(b"P5 1 1 255 x")


def test_what_repeats_travels_as_it_is():
    tile = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)
    data = odd_kinds.by_zlib(np.tile(tile, (16, 16, 1)), 2, level=9, filters="0")
    with pytest.raises(NotKept, match="takes more as pixels"):
        Rule().examine(data)


def test_a_jpeg_takes_no_more_than_it_did(tmp_path, colour):
    data = odd_kinds.jpeg()
    (tmp_path / "a.jpg").write_bytes(data)
    assert len(compress_set(read_images([tmp_path / "a.jpg"]), colour).data) < len(data) + 120


def test_a_set_larger_than_a_block_has_several_chunks(tmp_path, colour):
    (tmp_path / "in").mkdir()
    random = np.random.default_rng(1)
    sizes = {"a.jpg": 5 << 20, "b.jpg": 5 << 20, "c.jpg": 1000, "e.jpg": 9 << 20, "f.txt": 10}
    for name, size in sizes.items():
        (tmp_path / "in" / name).write_bytes(b"\xff\xd8\xff" + random.bytes(size))
    (tmp_path / "in" / "d.png").write_bytes(odd_kinds.by_zlib(odd_kinds.smooth(9, 9, 3), 2))
    data = compress_set(
        read_images([tmp_path / "in"]), colour, settings=Settings(always_chain=True)
    ).data
    with Reader(io.BytesIO(data), lambda *_: colour) as reader:
        assert [entry.images for entry in reader.header.chunks] == [0, 1, 0]
        assert len(reader) == 1
        np.testing.assert_array_equal(reader[0], odd_kinds.smooth(9, 9, 3))
        write_images(reader.restored(), len(reader), tmp_path / "out")
    for path in (tmp_path / "in").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_another_zlib_is_told_of_when_a_file_is_written(tmp_path, colour, monkeypatch):
    (tmp_path / "a.png").write_bytes(odd_kinds.by_zlib(odd_kinds.smooth(9, 9, 3), 2))
    data = compress_set(
        read_images([tmp_path / "a.png"]), colour, settings=Settings(always_chain=True)
    ).data
    real = deflate.compress
    monkeypatch.setattr(deflate, "compress", lambda raw, _: real(raw, deflate.Settings(1, 8, 0, 9)))
    warned = pytest.warns(UserWarning, match=r"a\.png has the same samples in other bytes")
    with Reader(io.BytesIO(data), lambda *_: colour) as reader, warned:
        write_images(reader.restored(), 1, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), odd_kinds.smooth(9, 9, 3))


def test_a_file_is_written_in_another_format_only_if_that_is_exact(tmp_path, colour):
    for name, array in (("a", odd_kinds.smooth(9, 9, 3)), ("b", odd_kinds.deep(3))):
        data = odd_kinds.tiff(array, photometric="rgb")
        (tmp_path / f"{name}.tif").write_bytes(data)
    for name in "ab":
        images = read_images([tmp_path / f"{name}.tif"])
        packed = compress_set(images, colour, settings=Settings(always_chain=True)).data
        with Reader(io.BytesIO(packed), lambda *_: colour) as reader:
            if name == "a":
                write_images(reader.restored(), 1, tmp_path / "a.png")
                continue
            with pytest.raises(InputError, match=r"name the output \*\.tif"):
                write_images(reader.restored(), 1, tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), odd_kinds.smooth(9, 9, 3))
    assert not (tmp_path / "b.png").exists()


def test_sets_without_images_are_no_arrays(tmp_path, colour):
    (tmp_path / "a.jpg").write_bytes(odd_kinds.jpeg())
    data = bitsback.compress(tmp_path / "a.jpg", colour)
    with pytest.raises(InputError, match="no image is coded"):
        bitsback.decompress(data, colour)
    with Reader(io.BytesIO(data), lambda *_: colour) as reader:
        assert len(reader) == 0
        assert list(reader) == []
        with pytest.raises(InputError, match="no image is coded"):
            reader.images(0, 1)
    coded = bitsback.compress(tmp_path / "a.jpg", colour, recode_lossy=True)
    assert bitsback.decompress(coded, colour).shape == (1, odd_kinds.SIDE, odd_kinds.SIDE, 3)
    assert bitsback.rate(tmp_path / "a.jpg", colour).images == 1
    with pytest.raises(InputError, match="keep is one of auto, samples, files"):
        bitsback.compress(tmp_path / "a.jpg", colour, keep="all")


def test_the_ways_to_keep_differ():
    data = odd_kinds.by_no_zlib()
    with pytest.raises(NotKept, match="byte for byte"):
        Rule(Policy("files")).examine(data)
    exact = odd_kinds.by_zlib(odd_kinds.smooth(9, 9, 3), 2)
    assert Rule(Policy("samples")).examine(exact).outcome is Outcome.SAMPLES
    assert rule.WAYS == ("auto", "samples", "files")
