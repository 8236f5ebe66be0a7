"""Arrays of integers of any axes come back: values, dtype, shape, and the bytes of a .npy."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import bitsback
from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.errors import FormatError, InputError
from bitsback.format.payload import pack_payload, unpack_payload
from bitsback.images import bit_depth
from bitsback.images.arrays import shapes, stored
from bitsback.images.arrays.stored import ArraysManifest
from bitsback.images.image_set import (
    check_plain,
    first_images,
    from_array,
    from_payload,
    part,
    picked,
    to_array,
    to_stack,
)
from bitsback.images.manifest import from_json
from bitsback.images.parts import Lost, join
from bitsback.sources.read import read
from bitsback.sources.writers import write_images

RNG = np.random.default_rng(3)
DTYPES = ["|b1", "|u1", "|i1", "<u2", ">u2", "<i2", "<u4", ">i4", "<i8", ">i8", "<u8"]


def decoded(images):
    """The set as a decoder sees it."""
    fields, packed, _ = unpack_payload(pack_payload(images.manifest.to_json(), images.packed, b""))
    manifest = from_json(fields)
    assert manifest == images.manifest
    return from_payload([p.copy() for p in images.pixels], images.binary, manifest, packed)


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=5, max_side=5))
    if dtype == np.bool_:
        return draw(hnp.arrays(dtype, shape))
    info = np.iinfo(dtype)
    span = draw(st.sampled_from([1, 255, 65535]))
    low = draw(st.integers(info.min, max(info.min, info.max - span)))
    high = min(info.max, low + span)
    order = draw(st.sampled_from("CF"))
    return np.asarray(draw(hnp.arrays(dtype, shape, elements=st.integers(low, high))), order=order)


@settings(max_examples=150)
@given(arrays(), st.data())
def test_an_array_comes_back_whole_and_in_parts(array, data):
    images = from_array(array)
    count = len(images.pixels)
    assert sum(image.size for image in images.pixels) == array.size
    assert all(image.dtype == np.uint8 and image.shape[2] <= 4 for image in images.pixels)
    back = to_array(decoded(images))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    cut = data.draw(st.integers(0, count))
    bounds = [pair for pair in ((0, cut), (cut, count)) if pair[0] < pair[1]]
    parts = [decoded(part(images, *pair)) for pair in bounds]
    back = join(parts, count)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    whole = to_stack(images)
    np.testing.assert_array_equal(np.concatenate([to_stack(each) for each in parts]), whole)
    np.testing.assert_array_equal(whole.reshape(array.shape), array)
    np.testing.assert_array_equal(to_stack(first_images(images, 1)), whole[:1])
    numbers = [0, count - 1] if count > 1 else [0]
    np.testing.assert_array_equal(to_stack(picked(images, numbers)), whole[numbers])


@settings(max_examples=100)
@given(arrays(), st.sampled_from(["1.0", "2.0", "padded"]), st.data())
def test_a_npy_comes_back_byte_for_byte(tmp_path_factory, array, header, data):
    folder = tmp_path_factory.mktemp("npy")
    file = io.BytesIO()
    version = (2, 0) if header == "2.0" else (1, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.lib.format.write_array(file, array, version)
    before = file.getvalue()
    if header == "padded":  # as an earlier NumPy aligned it
        size = int.from_bytes(before[8:10], "little")
        text = before[10 : 10 + size].rstrip(b"\n ") + b" " * 40 + b"\n"
        before = before[:8] + len(text).to_bytes(2, "little") + text + before[10 + size :]
    (folder / "a.npy").write_bytes(before)
    images = read(folder / "a.npy")
    cut = data.draw(st.integers(0, len(images.pixels)))
    bounds = [(0, cut), (cut, len(images.pixels))]
    parts = [decoded(part(images, *pair)) for pair in bounds if pair[0] < pair[1]]
    write_images(parts, len(images.pixels), folder / "b.npy")
    assert (folder / "b.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("shape", "axes", "pixels"),
    [
        ((30, 40), "hw", (30, 40, 1)),
        ((30, 40, 3), "hwc", (30, 40, 3)),
        ((9, 30, 40), "hw", (30, 40, 1)),
        ((9, 30, 40, 3), "hwc", (30, 40, 3)),
        ((9, 3, 30, 40), "chw", (30, 40, 3)),
        ((9, 3, 40, 3), "hwc", (3, 40, 3)),
        ((9, 30, 40, 7), "hwb", (210, 40, 1)),
        ((9, 30, 40, 8), "hw", (40, 8, 1)),
        ((2, 5, 30, 40), "hw", (30, 40, 1)),
        ((2, 5, 30, 40, 2), "hwc", (30, 40, 2)),
        ((2, 5, 4, 30, 40), "chw", (30, 40, 4)),
        ((2, 2, 5, 30, 40), "hw", (30, 40, 1)),
    ],
)
def test_axes_are_read_as_documented(shape, axes, pixels):
    assert shapes.axes_of(shape) == axes
    images = from_array(np.zeros(shape, np.int8))
    assert {image.shape for image in images.pixels} == {pixels}


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 3), (6, 7, 1)])
@pytest.mark.parametrize("highest", [1, 255, 256, 4095, 65535])
def test_low_bits_of_any_channels_come_back(shape, highest):
    levels = RNG.integers(0, highest + 1, shape).astype(np.uint16) & ~np.uint16(highest > 300)
    high = bit_depth.high(levels)
    assert high.shape == shape
    np.testing.assert_array_equal(bit_depth.join(high, bit_depth.low(levels)), levels)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3, 3), np.float32), r"float32; .*a\.view\(np\.uint8\).*'<f4'"),
        (np.array([[0, 1 << 16]]), r"int64 values from 0 to 65536.*a\.view\(np\.uint8\).*'<i8'"),
        (np.array([[-1, 1 << 40]], ">i8"), r"'>i8'"),
        (np.zeros(5, np.uint8), r"a\[None\]"),
        (np.uint8(3), r"reshape\(1, 1\)"),
        (np.zeros((0, 3, 3), np.int8), "empty set"),
        (np.zeros((3, 0, 3), np.int8), "without pixels"),
        (np.array([["a"]], object), "not Python objects"),
    ],
)
def test_what_is_refused_names_the_remedy(array, words):
    with pytest.raises(InputError, match=words):
        from_array(array)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, ">f8", np.complex64])
def test_the_remedy_is_exact(dtype):
    array = (RNG.normal(size=(3, 9, 8)) * 1e9).astype(dtype)
    with pytest.raises(InputError):
        from_array(array)
    back = to_array(decoded(from_array(array.view(np.uint8))))
    np.testing.assert_array_equal(back.view(dtype), array)


@pytest.fixture
def model(build_model):
    return build_model(channels=3, likelihood="logistic", mixtures=2)


@pytest.mark.parametrize("chunk", [None, 3])
def test_deep_and_folded_arrays_go_through_a_file(model, chunk):
    for array in (
        RNG.integers(0, 65536, (2, 2, 9, 8)).astype(">u2"),
        RNG.integers(-3000, 3000, (4, 3, 9, 8)),
        RNG.integers(0, 200, (4, 24, 20, 5)).astype(np.int8),
    ):
        data = bitsback.compress(array, model, chunk=chunk)
        back = bitsback.decompress(data, model)
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)
        with Reader(io.BytesIO(data), lambda *_: model) as reader:
            flat = array.reshape(-1, *reader[0].shape)
            np.testing.assert_array_equal(reader[1:4], flat[1:4])


def test_all_arrays_of_images_of_an_npz_are_coded(tmp_path, model):
    arrays = {
        "train": RNG.integers(0, 256, (5, 8, 8, 3), np.uint8),
        "labels": np.arange(5),
        "depth": np.asfortranarray(RNG.integers(0, 9999, (3, 8, 9)).astype("<u2")),
        "masks": RNG.integers(0, 2, (2, 8, 8)) > 0,
        "boxes": RNG.integers(0, 9, (5, 4)),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    images = read(tmp_path / "a.npz")
    assert [array.name for array in images.manifest.arrays] == ["train", "depth", "masks"]
    assert len(images.pixels) == 10
    data = compress_set(images, model, chunk=4).data
    with Reader(io.BytesIO(data), lambda *_: model) as reader:
        write_images(reader.restored(), len(reader), tmp_path / "b.npz")
        assert reader[6].dtype == np.uint16
        with pytest.raises(InputError, match="several arrays"):
            reader[3:7]
    with np.load(tmp_path / "b.npz") as back:
        assert list(back) == list(arrays)
        for name, array in arrays.items():
            assert back[name].dtype == array.dtype
            assert back[name].flags.f_contiguous == array.flags.f_contiguous
            np.testing.assert_array_equal(back[name], array)
    with pytest.raises(InputError, match=r"train, depth, masks"):
        bitsback.decompress(data, model)


def test_lost_images_are_zero(tmp_path):
    array = RNG.integers(300, 999, (3, 2, 5, 5)).astype(np.int32)
    images = from_array(array)
    parts = [Lost(1), part(images, 1, 2), Lost(1)]
    array[[0, 2]] = 0
    np.testing.assert_array_equal(join(parts, 3), array)
    write_images([Lost(1), part(images, 1, 2), Lost(1)], 3, tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    with pytest.raises(FormatError, match="belong together"):
        join([part(images, 0, 1), part(images, 0, 2)], 3)
    with pytest.raises(FormatError, match="belong together"):
        join([part(images, 0, 3)], 4)


GOOD = from_array(np.full((2, 3, 8, 9), -5, np.int16)).manifest.to_json()


@given(st.sampled_from(sorted(GOOD)), st.sampled_from(sorted(GOOD["arrays"][0])), st.data())
def test_fields_of_no_manifest_are_refused(key, own, data):
    assert isinstance(from_json(GOOD), ArraysManifest)
    junk = data.draw(
        st.one_of(
            st.none(), st.booleans(), st.integers(-9, -1), st.floats(), st.just("?"),
            st.lists(st.none(), min_size=1), st.just(2**70), st.just({}),
        )
    )  # fmt: skip
    could_be = (key == "header" and junk == "?") or (key == "packed" and isinstance(junk, bool))
    if not could_be:
        with pytest.raises(FormatError, match="manifest"):
            stored.from_json({**GOOD, key: junk})
    good_flag = own == "fortran" and isinstance(junk, bool)
    good_offset = own == "offset" and type(junk) is int and junk > -99 and junk < 9
    if not good_flag and not good_offset and not (own == "name" and junk == "?"):
        arrays = [{**GOOD["arrays"][0], own: junk}]
        with pytest.raises(FormatError, match="manifest"):
            stored.from_json({**GOOD, "arrays": arrays})


def test_low_bits_that_are_missing_are_a_format_error():
    images = from_array(np.array([[0, 9999]]))
    fields = images.manifest
    with pytest.raises(FormatError):
        from_payload(list(images.pixels), False, fields, b"\0")
    with pytest.raises(FormatError):
        from_payload(list(images.pixels), False, fields, b"\5")


def test_a_lossy_file_takes_no_other_dtype():
    check_plain(from_array(np.zeros((2, 8, 8, 3), np.uint8)), "it")
    for array in (np.zeros((2, 8, 8), np.int8), np.zeros((2, 3, 8, 8), np.uint8)):
        with pytest.raises(InputError, match="it takes"):
            check_plain(from_array(array), "it")


@pytest.mark.parametrize("dtype", ["|u1", "<i2"])
def test_an_array_that_changes_while_it_is_read_is_refused(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8), dtype))
    images = read(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.full((4, 8, 8), 99, dtype))
    with pytest.raises(InputError, match="changed while it was read"):
        images.pixels[2]


@pytest.mark.parametrize("shape", [(-1, 4, 4), (2**62, 0, 4), (2**62, 4, 4)])
def test_shapes_of_no_array_are_refused(tmp_path, shape):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
    with pytest.raises(InputError):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 2, 8, 8, 3), (2, 3, 2, 8, 9)])
@pytest.mark.parametrize("dtype", ["|u1", "|i1", "<u2", "<i8"])
def test_zarr_arrays_of_more_axes_are_read(tmp_path, shape, dtype):
    zarr = pytest.importorskip("zarr")
    array = RNG.integers(0, 100, shape).astype(dtype)
    zarr.create_array(tmp_path / "a.zarr", data=array, chunks=(1, *shape[1:]))
    images = read(tmp_path / "a.zarr")
    back = to_array(images)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(np.stack(images.pixels[1:2]), np.stack(list(images.pixels)[1:2]))
