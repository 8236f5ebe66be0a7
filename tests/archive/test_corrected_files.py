"""Files with side information: what comes back, when it is sent, and who reads it."""

import io
import zlib

import numpy as np
import pytest
from conftest import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import bitsback
from bitsback.archive.reader import Reader
from bitsback.errors import FormatError
from bitsback.format import header as container
from bitsback.format.chunk import unpack_chunk

fixtures = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)


@pytest.fixture
def colour(build_model):
    return build_model(
        channels=3, likelihood="logistic", mixtures=2, passes=4, blocks=1, pass_maps=4, batch=24
    )


def pictures(count, side=16, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    slopes = rng.normal(size=(count, 2, 1, 1, 3)) * 3
    levels = 128 + slopes[:, 0] * y[..., None] + slopes[:, 1] * x[..., None]
    return np.clip(np.rint(levels + rng.normal(size=levels.shape)), 0, 255).astype(np.uint8)


def header_of(data, loaded):
    with Reader(io.BytesIO(data), lambda *_: loaded) as reader:
        return reader.header


@fixtures
@given(
    count=st.integers(1, 12),
    side=st.sampled_from([7, 16, 20]),
    seed=st.integers(0, 99),
    chunk=st.sampled_from([None, 5]),
    gray=st.booleans(),
    sent=st.booleans(),
)
def test_the_same_images_come_back(colour, count, side, seed, chunk, gray, sent):
    images = pictures(count, side, seed)
    images = images[..., 0] if gray else images
    data = bitsback.compress(
        images, colour, chunk=chunk, side_information=sent, always_chain=True, check="all"
    )
    assert np.array_equal(bitsback.decompress(data, colour), images)
    header = header_of(data, colour)
    assert header.format_version == container.VERSION
    assert sent or not header.side_information
    with Reader(io.BytesIO(data), lambda *_: colour) as reader:
        assert np.array_equal(reader[count - 1], images[-1])


def test_it_is_sent_where_it_saves(colour):
    images = pictures(40)
    plain = bitsback.compress(images, colour, side_information=False, always_chain=True)
    sent = bitsback.compress(images, colour, always_chain=True)
    assert len(sent) < 0.95 * len(plain)
    assert header_of(sent, colour).side_information
    assert not header_of(plain, colour).side_information
    assert sent.report.side.bits > 0
    assert sent.report.check().passed


def test_a_set_in_any_order_may_have_it(colour):
    images = pictures(40, 8)
    data = bitsback.compress(images, colour, any_order=True, always_chain=True)
    assert header_of(data, colour).side_information
    found = bitsback.decompress(data, colour)
    assert sorted(map(bytes, found)) == sorted(map(bytes, images))


def test_binary_images_have_none(build_model):
    images = (pictures(30, 8)[..., 0] > 128).astype(np.uint8)
    loaded = build_model()
    data = bitsback.compress(images, loaded, always_chain=True)
    assert not header_of(data, loaded).side_information


def test_a_classical_code_has_none(colour):
    data = bitsback.compress(np.zeros((30, 16, 16, 3), np.uint8), colour)
    assert not header_of(data, colour).side_information
    header = header_of(data, colour)
    head, _ = unpack_chunk(data[header.size :], header.format_version)
    assert not any(segment.corrected for segment in head.segments)


def with_features(data, features):
    """The file, its header's second byte of the version changed."""
    size = int.from_bytes(data[8:12], "little")
    head = bytearray(data[: 12 + size])
    head[13] = features
    return bytes(head) + zlib.crc32(head).to_bytes(4, "little") + data[16 + size :]


def test_features_of_later_versions_are_named(colour):
    data = bitsback.compress(pictures(4), colour, always_chain=True)
    for features in (2, 3, 128):
        with pytest.raises(FormatError, match="features that this bitsback does not know"):
            bitsback.decompress(with_features(data, features), colour)


def test_programs_that_do_not_know_it_take_it_for_another_version(colour):
    data = bitsback.compress(pictures(40), colour, always_chain=True)
    assert int.from_bytes(data[12:14], "little") == 256 + container.VERSION


def test_the_rate_is_the_models_own_unless_it_is_asked_for(colour):
    images = pictures(40)
    assert bitsback.rate(images, colour).side.symbols == 0
    report = bitsback.rate(images, colour, side_information=True)
    assert report.side.saved > 0
    assert report.check().passed
    assert report.to_dict()["side_information"]["bits"] == report.side.bits


def test_the_commands(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    levels = 128 + 40 * np.sin(y / 9)[..., None] + 40 * np.cos(x / 7)[..., None]
    photograph = np.clip(levels + rng.normal(size=(256, 256, 3)) * 3, 0, 255).astype(np.uint8)
    Image.fromarray(photograph).save(tmp_path / "a.png")
    for option, name in ((), "sent.bb"), (("--no-side-information",), "plain.bb"):
        words = "compress", tmp_path / "a.png", "-o", tmp_path / name, "--model", "photo-fast"
        assert run(monkeypatch, capsys, *words, *option)[0] == 0
    assert (tmp_path / "sent.bb").stat().st_size < (tmp_path / "plain.bb").stat().st_size
    words = "rate", tmp_path / "a.png", "--model", "photo-fast"
    code, out, _ = run(monkeypatch, capsys, *words, "--side-information")
    assert (code, "side information" in out) == (0, True)
    code, out, _ = run(monkeypatch, capsys, *words)
    assert (code, "side information" in out) == (0, False)
