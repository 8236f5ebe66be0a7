"""A reader that threads and forked processes share, and indices that promise too much."""

import dataclasses
import io
import os
import threading
import time

import numpy as np
import pytest

from bitsback import compress, decompress
from bitsback.archive.reader import Reader, open_path
from bitsback.errors import ChecksumError, FormatError, ModelError
from bitsback.format.header import ChunkEntry, Header, pack_header, read_header

IMAGES = np.random.default_rng(0).integers(0, 2, (24, 8, 8)).astype(np.uint8)


@pytest.fixture
def file(build_model, tmp_path):
    """A path, and its model."""
    model = build_model()
    path = tmp_path / "x.bb"
    path.write_bytes(compress(IMAGES, model, chunk=1))
    return path, model


class Slow(io.BytesIO):
    """A file of other people's, in which another thread has time to seek before this one reads."""

    def seek(self, *where):
        place = super().seek(*where)
        time.sleep(1e-4)
        return place


@pytest.mark.parametrize("of_the_system", [True, False])
def test_threads_share_a_reader(file, of_the_system):
    path, model = file
    problems = []
    source = path.open("rb") if of_the_system else Slow(path.read_bytes())
    with Reader(source, lambda *_: model) as reader:

        def work(seed):
            for number in np.random.default_rng(seed).permutation(len(IMAGES)):
                try:
                    assert np.array_equal(reader[int(number)], IMAGES[number])
                except Exception as error:
                    problems.append(error)

        threads = [threading.Thread(target=work, args=[seed]) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not problems


def test_a_forked_process_moves_nothing(file):
    path, model = file
    with open_path(path, lambda *_: model) as reader:
        whole = reader._bytes(3)
        for _ in range(20):
            child = os.fork()
            if not child:
                ok = all(reader._bytes(n) for n in range(len(IMAGES)))
                os._exit(0 if ok else 1)
            for _ in range(50):
                assert reader._bytes(3) == whole
            assert os.waitpid(child, 0)[1] == 0


def test_where_chunks_lie_is_computed_once_even_for_a_hundred_thousand():
    entry = ChunkEntry(3, 7)
    header = Header("photo", bytes(8), bytes(4), 0, (entry,) * 100_000)
    assert header.offsets is header.offsets
    assert header.firsts is header.firsts
    data = pack_header(header)
    back = read_header(io.BytesIO(data), len(data))
    assert back == header
    assert (back.offsets[-1], back.firsts[-1]) == (len(data) + 7 * 99_999, 3 * 99_999)


def forged(data, change):
    """A file whose index is another, with a right checksum."""
    header = read_header(io.BytesIO(data), len(data))
    return (
        pack_header(dataclasses.replace(header, chunks=change(header.chunks))) + data[header.size :]
    )


@pytest.mark.parametrize("images", [2**32 - 1, 10**6])
def test_an_index_that_promises_images_which_no_chunk_has_fills_no_memory(images, file):
    path, model = file
    data = forged(path.read_bytes(), lambda c: (*c[:-1], dataclasses.replace(c[-1], images=images)))
    with pytest.raises(FormatError, match="fewer tiles than its index"):
        decompress(data, model)
    reader = Reader(io.BytesIO(data), lambda *_: model)
    assert len(reader) == len(IMAGES) - 1 + images
    assert np.array_equal(reader[0], IMAGES[0])
    with pytest.raises(FormatError, match="damaged in chunk 23"):
        reader[-1]
    with pytest.raises(IndexError):
        reader[len(reader)]


def test_what_is_salvaged_is_not_filled_up_with_a_forged_number_of_lost_images(file):
    path, model = file

    def forge(chunks):
        return (*chunks[:-1], dataclasses.replace(chunks[-1], images=2**32 - 1))

    data = forged(path.read_bytes(), forge)
    reader, damage = Reader(io.BytesIO(data), lambda *_: model), []
    with pytest.raises(FormatError, match="promises 4294967295 images in chunk 23"):
        list(reader.salvaged(damage))
    assert [each.chunk for each in damage] == [23]


def test_many_empty_chunks_are_told_quickly():
    header = Header("photo", bytes(8), bytes(4), 0, (ChunkEntry(1, 0),) * 20_000)
    reader = Reader(io.BytesIO(pack_header(header)), lambda *_: None)
    for number in range(20_000):
        with pytest.raises(FormatError, match="message is too short"):
            reader.head(number)


def test_a_file_is_not_trusted_with_a_path(file, monkeypatch):
    path, model = file
    monkeypatch.chdir(path.parent)  # where the model's folder lies, too
    assert (path.parent / model.name / "config.json").is_file()
    for name in (model.name, f"./{model.name}"):
        data = forged(path.read_bytes(), lambda c: c)
        header = read_header(io.BytesIO(data), len(data))
        data = pack_header(dataclasses.replace(header, model=name)) + data[header.size :]
        with pytest.raises(ModelError, match="no model ships under the name"):
            decompress(data)
        assert np.array_equal(decompress(data, path.parent / model.name), IMAGES)


def test_checksums_still_tell_of_damage(file):
    path, model = file
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    with pytest.raises(ChecksumError):
        decompress(bytes(data), model)
