"""A convolution gives what int64 gives, whatever torch makes of it."""

import threading

import numpy as np
import pytest
import torch
from conftest import SMALL, random_model
from hypothesis import given
from hypothesis import strategies as st

from bitsback import compress, decompress, load_model
from bitsback.errors import ModelError
from bitsback.models.draw.integers import IntegerOps
from bitsback.models.exact import convolution, reference
from bitsback.models.exact.convolution import Kernel, convolve, in_float64, in_int64, in_its_dtype

CONV2D = torch.nn.functional.conv2d


def drawn(seed, batch=3, channels=5, out=7, size=3, height=6, width=9, dtype=torch.float32):
    """Random integers as torch's convolution takes them, and what int64 gives."""
    random = np.random.default_rng(seed)
    x = random.integers(-500, 501, (batch, channels, height, width))
    weight = random.integers(-300, 301, (out, channels, size, size))
    bias = random.integers(-5000, 5001, out)
    unit = 2.0 ** random.integers(0, 12, out)

    def carried(values):
        values = torch.from_numpy(values).to(dtype)
        return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values

    kernel = Kernel(
        carried(weight / unit[:, None, None, None]), carried(bias / unit), torch.from_numpy(unit)
    )
    wanted = reference.convolve(x, weight) + bias[:, None, None]
    return carried(x), kernel, wanted / unit[:, None, None]


def taken(kernel):
    """The ways that a kernel's cases have taken."""
    return list(kernel.ways.values())


@given(
    seed=st.integers(0, 99),
    batch=st.integers(1, 20),
    channels=st.integers(1, 6),
    out=st.integers(1, 6),
    size=st.sampled_from([1, 3, 5]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_each_way_gives_what_int64_gives_and_is_proven(seed, **shape):
    x, kernel, wanted = drawn(seed, **shape)
    assert np.array_equal(convolve(x, kernel).numpy(), wanted)
    assert taken(kernel) == [in_its_dtype]
    for way in convolution.WAYS:
        y = way(x, kernel)
        assert y.dtype == x.dtype
        assert np.array_equal(y.numpy(), wanted)
        assert convolution.proven(x, kernel, y)


@given(st.data())
def test_one_wrong_number_in_what_is_proven_is_seen(data):
    batch, height = data.draw(st.sampled_from([1, 2, 4])), data.draw(st.integers(1, 7))
    x, kernel, _ = drawn(data.draw(st.integers(0, 9)), batch=batch, height=height)
    y = in_its_dtype(x, kernel)
    image = data.draw(st.sampled_from([0, batch - 1]))
    half = -(-height // 2)  # the upper one of the first image, the lower one of the last
    rows = range(height) if batch == 1 else range(half) if image == 0 else range(height)[-half:]
    channel, column = (data.draw(st.integers(0, y.shape[i] - 1)) for i in (1, 3))
    where = image, channel, data.draw(st.sampled_from(rows)), column
    wrong = data.draw(st.sampled_from([-1, 1, 0.5, 3, 2**20]))
    y[where] += wrong / kernel.unit[channel]
    assert not convolution.proven(x, kernel, y)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 2.0**90])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_no_number_or_far_off_is_seen(wrong, dtype):
    x, kernel, _ = drawn(0, dtype=dtype)
    y = in_its_dtype(x, kernel)
    y[0, 2, 1, 1] = wrong
    assert not convolution.proven(x, kernel, y)


def test_a_wrong_number_of_a_large_image_is_seen_in_each_band():
    x, kernel, _ = drawn(0, batch=2, height=96, width=300, channels=2, out=2)
    y = in_its_dtype(x, kernel)
    assert convolution.proven(x, kernel, y)
    for image, row in ((0, 0), (0, 47), (1, 48), (1, 95), (0, 20), (1, 70)):
        y[image, 1, row, 299] += 1 / kernel.unit[1]
        assert not convolution.proven(x, kernel, y)
        y[image, 1, row, 299] -= 1 / kernel.unit[1]


def test_the_largest_accumulators_of_many_channels_are_proven():
    channels = 128  # whose sums' squares leave the range that is looked at first
    x = torch.full((1, 1, 64, 128), 2.0**24 - 1)
    ones = torch.ones(channels)
    kernel = Kernel(ones[:, None, None, None], None, ones.double())
    y = in_its_dtype(x, kernel)
    assert convolution.proven(x, kernel, y)
    y[0, 5, 60, 100] -= 1
    assert not convolution.proven(x, kernel, y)


def rounding(when, threads=None, dtypes=(torch.float32,)):
    """torch's convolution, but its last bits are lost in some cases."""

    def conv2d(x, weight, bias, padding):
        y = CONV2D(x, weight, bias, padding=padding)
        if x.dtype in dtypes and when(x) and threads in (None, torch.get_num_threads()):
            return y * (1 + 2**-18)
        return y

    return conv2d


CASES = {
    "from batch 16 on": (rounding(lambda x: len(x) >= 16), {"batch": 16}, {"batch": 15}),
    "at a width of 12": (rounding(lambda x: x.shape[3] == 12), {"width": 12}, {"width": 13}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_convolution_that_rounds_at_some_shapes_is_caught_at_these(case, monkeypatch):
    conv2d, bad, good = CASES[case]
    monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)
    for shape, way in ((bad, in_float64), (good, in_its_dtype)):
        x, kernel, wanted = drawn(1, **shape)
        for _ in range(2):  # proven, and known
            assert np.array_equal(convolve(x, kernel).numpy(), wanted)
        assert taken(kernel) == [way]


def test_a_convolution_that_rounds_with_two_threads_is_caught(monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "conv2d", rounding(lambda x: True, threads=2))
    x, kernel, wanted = drawn(1)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert np.array_equal(convolve(x, kernel).numpy(), wanted)
    finally:
        torch.set_num_threads(before)
    assert taken(kernel) == [in_its_dtype, in_float64, in_its_dtype]


def test_where_float64_rounds_too_int64_computes(monkeypatch):
    both = rounding(lambda x: True, dtypes=(torch.float32, torch.float64))
    monkeypatch.setattr(torch.nn.functional, "conv2d", both)
    for dtype in (torch.float32, torch.float64):
        x, kernel, wanted = drawn(1, dtype=dtype)
        assert np.array_equal(convolve(x, kernel).numpy(), wanted)
        assert taken(kernel) == [in_int64]


def test_another_case_is_proven_anew():
    x, kernel, _ = drawn(1, batch=4)
    convolve(x, kernel)
    convolve(x.clone(), kernel)
    assert len(taken(kernel)) == 1
    convolve(x[:3], kernel)
    convolve(x.contiguous(memory_format=torch.contiguous_format), kernel)
    try:
        torch.backends.mkldnn.enabled = False
        convolve(x, kernel)
    finally:
        torch.backends.mkldnn.enabled = True
    assert len(taken(kernel)) == 4


def test_what_no_way_computes_is_refused_before_a_byte_is_written(monkeypatch, tmp_path):
    model = load_model("omniglot", "cpu")
    monkeypatch.setattr(convolution, "WAYS", (lambda x, kernel: in_its_dtype(x, kernel) + 1,))
    with pytest.raises(ModelError, match=r"\(cpu\) does not compute the model exactly"):
        compress(np.eye(28, dtype=np.uint8), model)


IMAGES = np.random.default_rng(0).integers(0, 2, (40, 16, 16)).astype(np.uint8)


@pytest.mark.parametrize("when", [lambda x: len(x) >= 2, lambda x: x.shape[3] == 4])
def test_a_file_has_the_same_bytes_where_some_convolutions_round(when, build_model, monkeypatch):
    wide = {"batch": 16, "tile": 16, "stride": 4}
    data = compress(IMAGES, build_model(**wide), bytes(5000))
    monkeypatch.setattr(torch.nn.functional, "conv2d", rounding(when))
    model = build_model(**wide)
    assert compress(IMAGES, model, bytes(5000)) == data
    assert np.array_equal(decompress(data, model), IMAGES)
    ways = {way for kernel in model.model.ops.kernels.values() for way in taken(kernel)}
    assert ways == {in_its_dtype, in_float64} or ways == {in_float64}


def test_threads_share_a_network():
    tensors, _ = random_model(SMALL, seed=3)
    ops = IntegerOps(SMALL, tensors, torch.device("cpu"))
    kernel = ops.kernels["canvas/h"]
    random = np.random.default_rng(0)
    inputs = [
        ops.tensor(random.integers(-512, 513, (batch, SMALL.maps, 8, 8))) for batch in range(1, 5)
    ]
    wanted = [in_int64(x, kernel) for x in inputs]
    wrong = []

    def work():
        for _ in range(20):
            for x, right in zip(inputs, wanted, strict=True):
                if not torch.equal(convolve(x, kernel), right):
                    wrong.append(x.shape)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
