"""Sets whose order is not coded: the same images come back, with what belongs to each."""

import dataclasses
import io

import numpy as np
import pytest
from conftest import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import bitsback
from bitsback.archive.reader import Reader
from bitsback.errors import FormatError, InputError
from bitsback.format import header as container
from bitsback.format.chunk import pack_chunk, unpack_chunk
from bitsback.format.header import pack_header


def multiset(images):
    return sorted(image.tobytes() for image in images)


def drawings(count, kinds, side=8, seed=0):
    random = np.random.default_rng(seed)
    different = (random.random((kinds, side, side)) < 0.3).astype(np.uint8)
    return different[random.integers(0, kinds, count)]


@pytest.mark.parametrize(
    "images",
    [drawings(1, 1), drawings(30, 30), drawings(50, 3), drawings(9, 1), drawings(40, 40, side=7)],
    ids=["one", "all different", "few kinds", "all equal", "with padding"],
)
@pytest.mark.parametrize("chunk", [None, 11])
@pytest.mark.parametrize("check", ["last", "all"])
def test_the_same_images_come_back(images, chunk, check, build_model):
    loaded = build_model()
    data = bitsback.compress(
        images, loaded, b"a note", chunk=chunk, any_order=True, always_chain=True, check=check
    )
    found = bitsback.decompress(data, loaded)
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    size = len(images) if chunk is None else chunk
    for begin in range(0, len(images), size):
        part = slice(begin, begin + size)
        assert multiset(found[part]) == multiset(images[part])
    assert bitsback.payload_of(data, loaded) == b"a note"
    with Reader(io.BytesIO(data), lambda *_: loaded) as reader:
        assert np.array_equal(reader[len(images) - 1], found[-1])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    count=st.integers(1, 40),
    kinds=st.integers(1, 10),
    seed=st.integers(0, 2**16),
    chained=st.booleans(),
)
def test_sets_of_any_kind_come_back(count, kinds, seed, chained, build_model):
    images, loaded = drawings(count, kinds, seed=seed), build_model()
    data = bitsback.compress(images, loaded, any_order=True, always_chain=chained)
    assert multiset(bitsback.decompress(data, loaded)) == multiset(images)


def test_colour_and_gray_in_a_colour_model(build_model):
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2)
    random = np.random.default_rng(0)
    for shape in ((20, 8, 8, 3), (20, 6, 8)):
        images = random.integers(0, 256, shape, np.uint8)
        data = bitsback.compress(images, loaded, any_order=True, always_chain=True)
        assert multiset(bitsback.decompress(data, loaded)) == multiset(images)


def test_the_report_has_what_the_order_gave_back(build_model):
    images, loaded = drawings(300, 300), build_model()
    report = bitsback.rate(images, loaded, any_order=True)
    ordered = bitsback.rate(images, loaded)
    assert report.check().passed
    assert report.order.bits == pytest.approx(report.order.promised_bits, abs=1)
    assert report.order.bits > 1500
    assert ordered.order.bits == 0
    whole = bitsback.compress(images, loaded, any_order=True, always_chain=True)
    assert report.file_bits == pytest.approx(8 * len(whole))
    assert report.file_bits < ordered.file_bits - 0.9 * report.order.bits
    assert "order" in report.to_dict()
    wrong = dataclasses.replace(report.order, bits=report.order.bits * 1.001)
    assert not dataclasses.replace(report, order=wrong).check().passed


def test_labels_follow_their_images(build_model, tmp_path, monkeypatch, capsys):
    build_model()
    monkeypatch.chdir(tmp_path)
    images = drawings(40, 40)
    labels = images.sum((1, 2)).astype(np.int64)
    np.savez("in.npz", images=images, labels=labels, names=np.arange(3))
    words = ("in.npz", "-o", "x.bb", "--model", "model", "--any-order", "--always-chain")
    for chunk in (100, 16):
        code, _, err = run(monkeypatch, capsys, "compress", *words, "--chunk", chunk, "--force")
        assert code == 0, err
        assert "in another order" in err
        back = ("decompress", "x.bb", "-o", "out.npz", "--model", "model", "--force")
        assert run(monkeypatch, capsys, *back)[0] == 0
        found = np.load("out.npz")
        assert multiset(found["images"]) == multiset(images)
        assert np.array_equal(found["labels"], found["images"].sum((1, 2)))
        assert np.array_equal(found["names"], np.arange(3))


def test_what_cannot_come_in_any_order_is_refused(build_model, tmp_path):
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    deep = np.random.default_rng(0).integers(0, 60000, (3, 8, 8)).astype(np.uint16)
    for images in (tmp_path, deep):
        with pytest.raises(InputError, match="arrays of 8-bit or binary images"):
            bitsback.compress(images, loaded, any_order=True)
    large = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8)
    with pytest.raises(InputError, match="none larger than a tile"):
        bitsback.compress(large, loaded, any_order=True)


def test_forged_flags_are_refused(build_model):
    loaded, images = build_model(), drawings(20, 20)
    data = bitsback.compress(images, loaded, any_order=True, always_chain=True)
    header = container.read_header(io.BytesIO(data), len(data))
    head, words = unpack_chunk(data[header.size :], header.format_version)
    (segment,) = head.segments
    assert segment.any_order
    with pytest.raises(FormatError, match="version does not know"):
        unpack_chunk(data[header.size :], container.VERSION)
    ordered = dataclasses.replace(segment, any_order=False)
    chunk = pack_chunk(dataclasses.replace(head, segments=(ordered,)), words)
    forged = pack_header(header) + chunk
    with pytest.raises(FormatError):
        bitsback.decompress(forged, loaded)
    with pytest.raises(FormatError, match="images of one size"):
        pack_chunk(dataclasses.replace(head, segments=(segment, segment)), words)


def test_processes_write_the_same_bytes(build_model, tmp_path, monkeypatch, capsys):
    build_model()
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", drawings(60, 60))
    for jobs in (1, 2):
        words = ("in.npy", "-o", f"{jobs}.bb", "--model", "model", "--any-order", "--chunk", 20)
        code, _, err = run(monkeypatch, capsys, "compress", *words, "--jobs", jobs)
        assert code == 0, err
    assert (tmp_path / "1.bb").read_bytes() == (tmp_path / "2.bb").read_bytes()
