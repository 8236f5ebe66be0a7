"""The public functions refuse arguments of other types with a named exception."""

import io
import pickle

import numpy as np
import pytest

import bitsback
from bitsback.archive.reader import Reader

IMAGE = np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    "option",
    [
        {"payload": "text"},
        {"seed": 1.5},
        {"seed": "1"},
        {"batch": 2.0},
        {"chunk": 1.5},
        {"chunk": "2"},
    ],
)
def test_options_of_other_types_are_refused(build_model, option):
    with pytest.raises(bitsback.InputError, match="must"):
        bitsback.compress(np.zeros((2, 8, 8), np.uint8), build_model(), **option)


def test_integers_of_numpy_and_other_bytes_are_taken(build_model):
    images, model = np.zeros((2, 8, 8), np.uint8), build_model()
    options = {"seed": np.int64(3), "batch": np.uint8(2), "chunk": np.int64(1)}
    data = bitsback.compress(images, model, bytearray(b"x"), **options)
    assert data == bitsback.compress(images, model, b"x", seed=3, batch=2, chunk=1)


def test_a_name_that_no_file_can_have_is_no_model():
    with pytest.raises(bitsback.ModelError, match="aaa"):
        bitsback.load_model("a" * 5000)


@pytest.mark.parametrize(
    "call",
    [
        lambda: bitsback.decompress("text"),
        lambda: bitsback.decompress(None),
        lambda: bitsback.payload_of("text"),
        lambda: bitsback.open("a\0b"),
        lambda: bitsback.load_model("omniglot", "cpu", micro_batch=1.5),
        lambda: bitsback.lossy_encode(IMAGE, steps=1.5),
        lambda: bitsback.lossy_encode(IMAGE, bits_per_dim="0.1"),
        lambda: bitsback.lossy_decode("text"),
        lambda: bitsback.lossy_decode(bitsback.lossy_encode(IMAGE, steps=1), seed=-1),
        lambda: bitsback.lossy_decode(bitsback.lossy_encode(IMAGE, steps=1), seed=1.5),
    ],
)
def test_what_no_function_can_take_is_refused_by_name(call):
    with pytest.raises(bitsback.InputError):
        call()


def test_the_bytes_tell_what_went_through_the_model(build_model):
    images, model = np.zeros((64, 8, 8), np.uint8), build_model()
    classical = bitsback.compress(images, model)
    chained = bitsback.compress(images, model, always_chain=True)
    assert (classical.model_share, chained.model_share) == (0.0, 1.0)
    assert len(classical) < len(chained)
    for data in (classical, chained):
        assert data.report.file_bits == 8 * len(data)
        assert np.array_equal(bitsback.decompress(data, model), images)
    again = pickle.loads(pickle.dumps(classical))
    assert (again, again.model_share) == (classical, 0.0)


def test_the_share_of_a_file_is_that_of_its_values(build_model):
    random = np.random.default_rng(0)
    images = np.concatenate([np.zeros((8, 8, 8)), random.integers(0, 2, (24, 8, 8))])
    model = build_model()
    data = bitsback.compress(images.astype(np.uint8), model, chunk=8, check="all")
    reader = Reader(io.BytesIO(data), lambda name, sha256: model)
    classical = sum(
        segment.classical for number in range(4) for segment in reader.head(number).segments
    )
    assert 0 < classical < 32
    assert data.model_share == 1 - classical / 32
