"""No array takes more than its values, whatever it holds, and whatever the model thinks of it."""

import io
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.chunks import trials
from bitsback.chunks.plan import Settings
from bitsback.format import header as container
from bitsback.images.parts import join
from bitsback.sources.read import read, read_images

# Bytes; docs/pipelines.md has them.
A_CHUNK, A_DEEP_IMAGE, AN_ARRAY = 240, 13, 64
SHAPES = [
    (1, 2),
    (9, 9),
    (33, 20, 3),
    (5, 17, 13),
    (9, 28, 28),
    (2, 48, 52, 3),
    (2, 16, 16, 4),
    (3, 3, 20, 20),
    (2, 2, 8, 20, 20, 3),
    (2, 40, 40, 7),
]


def noise(dtype, shape, number):
    bounds = np.iinfo(dtype)
    random = np.random.default_rng(number)
    values = random.integers(bounds.min, bounds.max, shape, np.dtype(dtype), endpoint=True)
    return values.astype(np.dtype(dtype).newbyteorder("><"[number % 2]))


def packed(images, model, chunk, chained):
    """A compressed set, where `chained` says that the model codes all that it may."""
    hopeless = (lambda *_: trials.HOPELESS) if chained else trials.sample
    with mock.patch.object(trials, "sample", hopeless):
        return compress_set(images, model, chunk=chunk, settings=Settings(check="all")).data


def bound(arrays, chunks, images):
    values = sum(array.nbytes for array in arrays.values())
    deep = images if any(array.itemsize > 1 for array in arrays.values()) else 0
    manifest = sum(len(name) + AN_ARRAY for name in arrays) if len(arrays) > 1 else 0
    return values + A_DEEP_IMAGE * deep + (A_CHUNK + manifest) * chunks


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16"]),
    st.sampled_from(SHAPES),
    st.integers(0, 99),
    st.sampled_from([None, 1, 2]),
    st.booleans(),
)
@example("uint8", (9, 28, 28), 0, None, True)
@example("uint8", (9, 28, 28), 0, None, False)
def test_noise_takes_no_more_than_its_values(colour, dtype, shape, number, chunk, chained):
    array = noise(dtype, shape, number)
    data = packed(read(array), colour, chunk, chained)
    with Reader(io.BytesIO(data), lambda *_: colour) as reader:
        assert len(data) <= bound({"": array}, len(reader.header.chunks), len(reader))
        back = join(reader.restored(), len(reader))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("pack", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("chunk", [None, 3])
def test_no_npz_becomes_larger(tmp_path, colour, pack, chunk):
    arrays = {f"array {i}": noise("uint8", (4, 20 + i, 13), i) for i in range(6)}
    arrays["labels"] = noise("int64", (4,), 0)
    pack(tmp_path / "a.npz", **arrays)
    data = packed(read_images([tmp_path / "a.npz"]), colour, chunk, chained=False)
    with Reader(io.BytesIO(data), lambda *_: colour) as reader:
        size = (tmp_path / "a.npz").stat().st_size
        assert len(data) <= size or chunk
        del arrays["labels"]
        assert len(data) <= bound(arrays, len(reader.header.chunks), 0) + 400  # of the labels


def test_a_sample_of_larger_tiles_than_most_misleads_nobody(tmp_path, colour, monkeypatch):
    # By the first and the last image the classical code takes more than the model's of most images.
    monkeypatch.setattr(trials, "_MOST_VALUES", 1)
    monkeypatch.setattr(trials, "_LEAST", 1)
    shapes = {"a": (2, 16, 16), "b": (300, 3, 5), "c": (2, 16, 16)}
    arrays = {name: noise("uint8", shape, 3) for name, shape in shapes.items()}
    np.savez(tmp_path / "a.npz", **arrays)
    data = packed(read_images([tmp_path / "a.npz"]), colour, None, chained=False)
    assert len(data) <= bound(arrays, 1, 304)


def test_a_file_has_version_5_only_where_a_code_leaves_the_padding_out(colour):
    whole, part = noise("uint8", (9, 32, 32), 1), noise("uint8", (9, 28, 28), 1)
    for images, version in ((whole, container.VERSION), (part, container.RECIPES)):
        data = packed(read(images), colour, None, chained=False)
        with Reader(io.BytesIO(data), lambda *_: colour) as reader:
            assert reader.header.format_version == version
