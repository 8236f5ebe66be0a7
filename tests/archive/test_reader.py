"""Files in chunks: any range of images from the chunks that hold it, and from no others."""

import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bitsback
from bitsback.archive import reader, writer
from bitsback.chunks.plan import Settings
from bitsback.format.header import pack_header
from bitsback.images.image_set import from_array
from bitsback.sources.read import read_images


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    from conftest import SMALL, random_model

    from bitsback.models import store

    folder = tmp_path_factory.mktemp("model")
    store.save(folder, SMALL, *random_model(SMALL))
    return store.load(str(folder), "cpu")


@pytest.fixture(scope="module")
def images():
    return (np.random.default_rng(0).random((40, 8, 8)) < 0.3).astype(np.uint8)


def opened(data, loaded):
    return reader.Reader(io.BytesIO(data), lambda *_: loaded)


@pytest.fixture(scope="module")
def file(images, loaded):
    """A chained file of chunks of 9, with a payload."""
    packed = writer.compress_set(
        from_array(images),
        loaded,
        payload=b"p" * 900,
        chunk=9,
        settings=Settings(always_chain=True),
    )
    assert packed.report.chained_images > 0
    return packed.data


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 20),
    st.integers(1, 25),
    st.sampled_from([(), (3,), (1,)]),
    st.sampled_from(["uint8", "bool"]),
    st.integers(0, 2**32),
    st.data(),
)
def test_what_is_compressed_in_chunks_is_decompressed(
    loaded, count, chunk, channels, dtype, seed, data
):
    if channels == (3,):
        count, channels = min(count, 1), ()
    shape = (count, 6, 9, *channels)
    array = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    packed = bitsback.compress(array, loaded, b"beside", chunk=chunk, seed=seed)
    back = bitsback.decompress(packed, loaded)
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert bitsback.payload_of(packed, loaded) == b"beside"
    with opened(packed, loaded) as found:
        assert len(found) == count
        where = data.draw(st.slices(count))
        assert np.array_equal(found[where], array[where])
        number = data.draw(st.integers(-count, count - 1))
        assert np.array_equal(found[number], array[number])
        assert found[number].dtype == array.dtype


def test_only_the_chunks_that_are_asked_for_are_decoded(file, loaded, images, monkeypatch):
    asked = []
    real = reader.DecodeTask.run
    monkeypatch.setattr(
        reader.DecodeTask, "run", lambda task, *rest: asked.append(task.number) or real(task, *rest)
    )
    with opened(file, loaded) as found:
        assert np.array_equal(found[18:27], images[18:27])
        assert asked == [2]
        assert np.array_equal(found[20], images[20])
        assert asked == [2]
        assert np.array_equal(found[26:28], images[26:28])
        assert asked == [2, 3]
        assert found[5:5].shape == (0, 8, 8)


def test_the_chunk_that_held_the_payload_is_decoded_once(loaded, images, monkeypatch):
    asked, seen = [], []
    real = reader.DecodeTask.run
    monkeypatch.setattr(
        reader.DecodeTask, "run", lambda task, *rest: asked.append(task.number) or real(task, *rest)
    )
    for chunk, numbers in ((None, [0]), (15, [0, 1, 2])):
        asked.clear()
        with opened(bitsback.compress(images, loaded, b"note", chunk=chunk), loaded) as found:
            assert found.payload == b"note"
            parts = list(found.restored(lambda *done: seen.append(done)))
        assert np.array_equal(np.concatenate([part.pixels for part in parts])[..., 0], images)
        assert asked == numbers
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_a_reader_is_a_sequence(file, loaded, images):
    with opened(file, loaded) as found:
        assert np.array_equal(np.stack(list(found)), images)
        for outside in (40, -41):
            with pytest.raises(IndexError):
                found[outside]


@pytest.mark.parametrize("bad", [0, 2, 4])
def test_a_damaged_chunk_loses_only_its_own_images(file, loaded, images, bad):
    with opened(file, loaded) as found:
        begin = found.header.offsets[bad] + 80
    altered = bytearray(file)
    altered[begin] ^= 4
    whole = np.ones(40, bool)
    whole[9 * bad : 9 * bad + 9] = False
    with opened(bytes(altered), loaded) as found:
        damage = []
        parts = [
            np.stack(part.pixels)[..., 0]
            for part in found.salvaged(damage)
            if not isinstance(part, reader.Lost)
        ]
        assert np.array_equal(np.concatenate(parts), images[whole])
        assert [(each.chunk, each.first) for each in damage] == [(bad, 9 * bad)]
        with pytest.raises(
            bitsback.ChecksumError, match=f"chunk {bad}, images {9 * bad} to .*message was altered"
        ):
            list(found.restored())
        assert np.array_equal(found[10:17], images[10:17])
    with pytest.raises(bitsback.ChecksumError):
        bitsback.decompress(bytes(altered), loaded)


def test_the_whole_chunks_of_a_truncated_file_can_be_read(file, loaded, images):
    with opened(file[:-10], loaded) as found:
        assert np.array_equal(found[:36], images[:36])
        with pytest.raises(bitsback.FormatError, match="10 bytes are missing"):
            found[36]
    with pytest.raises(bitsback.FormatError, match="truncated"):
        bitsback.decompress(file[:-10], loaded)
    with pytest.raises(bitsback.FormatError, match="after its end"):
        bitsback.decompress(file + b"more", loaded)


def test_chunks_in_another_order_are_damaged(images, loaded):
    twice = np.concatenate([images[:20]] * 2)
    data = writer.compress_set(
        from_array(twice), loaded, payload=b"", chunk=20, settings=Settings(always_chain=True)
    ).data
    with opened(data, loaded) as found:
        header, (first, second) = found.header, found.header.offsets
    swapped = dataclasses.replace(header, chunks=header.chunks[::-1])
    with pytest.raises(bitsback.FormatError, match="chunk 0"):
        bitsback.decompress(pack_header(swapped) + data[second:] + data[first:second], loaded)


def test_images_of_different_sizes_come_one_by_one(tmp_path, loaded):
    random = np.random.default_rng(0)
    images = [random.integers(0, 2, (5 + n, 9)).astype(bool) for n in range(4)]
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    # Images so small may be smaller as the PNG files that they are, as the bits of a time fall.
    chained = Settings(always_chain=True)
    data = writer.compress_set(read_images([tmp_path]), loaded, chunk=2, settings=chained).data
    with opened(data, loaded) as found:
        for number, pixels in enumerate(images):
            assert np.array_equal(found[number], pixels[:, :, None])
        for where in (slice(0, 2), slice(0, 3), slice(1, 3)):
            with pytest.raises(bitsback.InputError, match="one by one"):
                found[where]
    with pytest.raises(bitsback.InputError, match="one by one"):
        bitsback.decompress(data, loaded)


def test_open_reads_a_path_and_says_what_is_wrong_with_it(tmp_path, file, loaded, images):
    (tmp_path / "x.bb").write_bytes(file)
    with bitsback.open(tmp_path / "x.bb", loaded) as found:
        assert np.array_equal(found[-3:], images[-3:])
    with pytest.raises(bitsback.InputError, match="cannot be read"):
        bitsback.open(tmp_path / "none.bb")
    (tmp_path / "foreign").write_bytes(b"GIF89a")
    with pytest.raises(bitsback.FormatError, match="not a bitsback file"):
        bitsback.open(tmp_path / "foreign")


class Seen:
    """A progress that keeps what it is told, in order."""

    def __init__(self):
        self.told, self.phases = [], []

    def __call__(self, done, total):
        self.told.append((done, total))

    def phase(self, name):
        self.phases.append(name)


@pytest.mark.parametrize("chunk", [9, None])
@pytest.mark.parametrize("check", ["last", "all"])
def test_progress_counts_values_and_bytes_and_names_phases(images, loaded, chunk, check):
    coded, decoded, one = Seen(), Seen(), Seen()
    data = writer.compress_set(
        from_array(images), loaded, Settings(check=check), chunk=chunk, progress=coded
    ).data
    with opened(data, loaded) as found:
        list(found.restored(decoded))
        sizes = [entry.size for entry in found.header.chunks]
    with opened(data, loaded) as found:
        found.chunk(0, one)
    assert coded.told[-1] == (images.size, images.size)
    assert decoded.told[-1] == (sum(sizes), sum(sizes))
    assert one.told[-1][1] == len(data)
    for seen in (coded, decoded, one):
        assert seen.told == sorted(seen.told)
        assert len({total for _, total in seen.told}) == 1
        assert len(seen.told) > 1
    assert coded.phases[0] == "encoding"
    assert {"sampling", "encoding", "writing"} <= {*coded.phases}
    assert ("checking" in coded.phases) == (check == "all")
    assert {*decoded.phases} == {"decoding"}


def test_plain_functions_are_told_the_progress_too(images, loaded):
    told = []
    writer.compress_set(from_array(images), loaded, progress=lambda *n: told.append(n))
    assert told[-1] == (images.size, images.size)


def test_a_classical_code_is_on_the_way_from_its_first_trial_on(loaded):
    blank, seen = np.zeros((200, 8, 8), np.uint8), Seen()
    writer.compress_set(from_array(blank), loaded, progress=seen)
    assert "trying classical codes" in seen.phases
    assert 0 < seen.told[0][0] < blank.size
    assert seen.told == sorted(seen.told)
    assert len({*seen.told}) > 2


def test_reading_files_tells_bytes(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_bytes(bytes(100 * (number + 1)))
    seen = Seen()
    read_images([tmp_path], progress=seen)
    assert seen.phases == ["reading"]
    assert seen.told == [(0, 600), (100, 600), (300, 600)]
