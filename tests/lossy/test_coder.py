"""Lossy files hold the first latents exactly, cost what they promise, and refuse damage."""

import contextlib
import dataclasses
import itertools
import math

import numpy as np
import pytest
from conftest import SMALL, random_model
from hypothesis import given, settings
from hypothesis import strategies as st

import bitsback
from bitsback.ans import compiled
from bitsback.ans.message import Message
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.model import LoadedModel
from bitsback.errors import BitsbackError, FormatError, InputError, ModelError
from bitsback.lossy import coder, container, regions, stack
from bitsback.models.draw.model import DrawModel
from bitsback.models.draw.reference import ReferenceOps
from bitsback.tables import tables

CONSTANT = dataclasses.replace(
    SMALL, channels=3, likelihood="gaussian", posterior="constant", steps=3, stride=4
)
TWO = dataclasses.replace(CONSTANT, layers=2, maps2=3, latents2=1, stride=2)


def loaded(config=CONSTANT, seed=0, name="made") -> LoadedModel:
    """An untrained model whose latents say something: its posterior's means are enlarged."""
    tensors, widths = random_model(config, seed)
    for layer in range(1, config.layers + 1):
        tensors[f"q{layer}_mean/exponent"] = tensors[f"q{layer}_mean/exponent"] - 2
    model = DrawModel(config, ReferenceOps(config, tensors), widths)
    return LoadedModel(
        name, bytes(range(32)), model, config.channels, False, (8,), 2, config.multiple
    )


def random_images(count, height, width, channels, seed=0) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, -(-height // 4), -(-width // 4), channels))
    fine = np.repeat(np.repeat(coarse, 4, 1), 4, 2)[:, :height, :width]
    return np.clip(fine + random.integers(-20, 21, fine.shape), 0, 255).astype(np.uint8)


def latents_of(monkeypatch, act):
    """z of every group that the model is given in `act`, in order."""
    found, step = [], DrawModel.step

    def recording(self, index, state, z):
        found.append(z)
        return step(self, index, state, z)

    with monkeypatch.context() as patch:
        patch.setattr(DrawModel, "step", recording)
        act()
    return found


@st.composite
def cases(draw):
    config = draw(st.sampled_from([CONSTANT, TWO]))
    shape = (draw(st.integers(1, 20)), draw(st.integers(1, 20)), draw(st.sampled_from([1, 3])))
    high = config is TWO and draw(st.booleans())
    return config, shape, draw(st.integers(1, 3)), high, draw(st.integers(0, 99))


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 4))
def test_a_set_comes_back_as_its_images_do_alone(case, count):
    config, shape, steps, high, seed = case
    model = loaded(config, seed)
    images = random_images(count, *shape, seed)
    together = coder.encode(images, model, steps, high, bare=True)
    alone = [coder.encode(images[n : n + 1], model, steps, high) for n in range(count)]
    if count > 1:
        assert len(together.data) < sum(len(each.data) for each in alone)
    assert together.promised_bits == pytest.approx(sum(each.promised_bits for each in alone))
    back = coder.decode(together.data, model, 0.5, seed)
    assert back.shape == images.shape
    assert back.dtype == np.uint8
    for n, each in enumerate(alone):
        assert np.array_equal(coder.decode(each.data, model, 0.5, seed)[0], back[n])


@pytest.mark.parametrize("config", [CONSTANT, TWO])
def test_large_images_are_coded_region_by_region(monkeypatch, config):
    model, images = loaded(config), random_images(2, 40, 23, 3)
    monkeypatch.setattr(regions, "SIDE", 16)
    made = coder.encode(images, model, 2, bare=True)
    back = coder.decode(made.data, model, 0.0)
    for top, left in itertools.product((0, 16, 32), (0, 16)):
        region = (slice(None), slice(top, top + 16), slice(left, left + 16))
        if top == left == 0:  # the others have another dither
            alone = coder.encode(images[region], model, 2, bare=True)
            assert np.array_equal(coder.decode(alone.data, model, 0.0), back[region])
    assert 8 * len(made.data) <= 1.001 * made.promised_bits + 8 * 20
    for place in range(0, len(made.data), 7):
        with pytest.raises(BitsbackError):
            coder.decode(made.data[:place], model)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_a_file_costs_what_its_latents_promise_and_a_few_bytes(case):
    config, shape, steps, high, seed = case
    model = loaded(config, seed)
    made = coder.encode(random_images(1, *shape, seed), model, steps, high)
    header = 6 if shape[0] == shape[1] else 7
    assert 8 * len(made.data) <= 1.001 * made.promised_bits + 8 * (header + 4)
    assert 8 * (len(made.data) - header) >= made.promised_bits - 24
    assert made.dims == math.prod(shape)
    assert made.matches
    assert not dataclasses.replace(made, data=made.data + bytes(9 + len(made.data) // 40)).matches
    assert not dataclasses.replace(made, promised_bits=2 * made.promised_bits + 1000).matches


@pytest.mark.parametrize(("config", "high"), [(CONSTANT, False), (TWO, False), (TWO, True)])
def test_the_decoders_latents_are_the_encoders(monkeypatch, config, high):
    model, images = loaded(config), random_images(5, 16, 24, 3)
    groups = len(model.model.groups)
    wanted = latents_of(monkeypatch, lambda: coder.analyse(images, model, high))
    assert len(wanted) == groups
    chosen = regions.stored(model.model, high)
    assert min(len(np.unique(wanted[group])) for group in chosen) > 10
    for steps, batch in itertools.product((1, 2, 3), (1, 2, 5)):
        monkeypatch.setattr(container, "_BATCH", batch)
        data = coder.encode(images, model, steps, high, bare=True).data
        found = latents_of(monkeypatch, lambda data=data: coder.decode(data, model, 1.0, 7))
        walks = 1 if steps == 3 and not high else 2  # the second one generates
        assert len(found) == walks * groups * -(-5 // batch)
        for group in (i for i in chosen if model.model.groups[i].step <= steps):
            for again in range(walks):
                parts = found[again * groups + group :: walks * groups]
                assert np.array_equal(np.concatenate(parts), np.concatenate(wanted[group::groups]))
        monkeypatch.undo()


@pytest.mark.parametrize("config", [CONSTANT, TWO])
def test_all_steps_give_the_canvas_of_the_lossless_chain(config):
    model, images = loaded(config), random_images(1, 16, 16, 3)
    message = Message.random(8, 20_000, 0)
    x = images.transpose(0, 3, 1, 2)
    batch = Batch(1, 16, 16, 0, 0)
    bits_back.encode(message, model.model, batch, x)
    _, state = bits_back.walk(
        model.model,
        batch,
        lambda _, __, latents: bits_back.pop_prior(message, latents),
    )
    data = coder.encode(images, model, 3).data
    canvas = model.model.image(state).transpose(0, 2, 3, 1)
    for variance in (0.0, 1.0):  # nothing is left to be generated
        assert np.array_equal(coder.decode(data, model, variance), canvas)


def test_more_steps_take_more_bits_and_the_rate_asked_for_is_kept():
    model, images = loaded(), random_images(3, 16, 16, 3)
    coded = coder.analyse(images, model)
    sizes = [coder.write(coded, (16, 16, 3), model, t, bare=True) for t in (1, 2, 3)]
    assert len({len(each.data) for each in sizes}) == 3
    assert sizes == sorted(sizes, key=lambda each: len(each.data))
    for steps, each in enumerate(sizes, 1):
        for factor, wanted in ((1.0001, steps), (0.9999, max(1, steps - 1))):
            rate = each.bits_per_dim * factor
            assert coder.write_within(rate, coded, (16, 16, 3), model, bare=True).steps == wanted
    with pytest.raises(InputError, match="more than 0"):
        coder.write_within(0.0, coded, (16, 16, 3), model)


def test_generated_latents_depend_on_variance_and_seed_and_nothing_else():
    model, images = loaded(), random_images(2, 16, 16, 3)
    data = coder.encode(images, model, 1, bare=True).data
    means, one, other, again = (
        coder.decode(data, model, *how) for how in ((0.0, 1), (1.0, 1), (1.0, 2), (1.0, 1))
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.array_equal(means, coder.decode(data, model, 0.0, 9))

    def moved(variance):
        found = [coder.decode(data, model, variance, seed) for seed in range(8)]
        return np.abs(np.array(found).astype(float) - means).mean()

    assert 0 < moved(0.01) < 0.6 * moved(0.25) < 0.6 * moved(1.0)


@pytest.mark.parametrize("side", [24, 272])
def test_files_that_were_cut_or_altered_are_refused(side):
    model = loaded(dataclasses.replace(CONSTANT, steps=1, maps=2, latents=1))
    made = coder.encode(random_images(1, side, side, 3), model, 1).data
    places = range(len(made)) if side < 100 else range(0, len(made), 997)
    for place in places:
        with pytest.raises(BitsbackError):
            coder.decode(made[:place], model)
        with pytest.raises(BitsbackError):
            coder.decode(made[:place] + bytes([made[place] ^ 8]) + made[place + 1 :], model)
    with pytest.raises(FormatError):
        coder.decode(made + b"\0", model)
    assert coder.decode(made, model).shape == (1, side, side, 3)


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        container.LossyHeader,
        model=st.integers(0, 4095),
        steps=st.integers(1, 64),
        high=st.booleans(),
        gray=st.booleans(),
        height=st.integers(1, 5_000),
        width=st.integers(1, 5_000),
        images=st.one_of(st.none(), st.integers(1, 2**32 - 1)),
    ).map(lambda header: header.with_heads_for(1e5)),
    st.binary(max_size=200),
    st.booleans(),
)
def test_headers_come_back_and_are_small(header, code, is_filled):
    pixels = header.count * max(256, header.height * header.width)
    if is_filled and pixels < 2**30:
        header = header.with_filler_for(len(code))
    head = container.pack(header)
    file = container.sealed(head + code)
    assert len(head) < 24 + max(0, -(-(pixels - 2**21) // 512))
    if pixels > 2**21 + 512 * len(file):
        assert not header.filler
        with pytest.raises(FormatError, match="more than it may"):
            container.unpack(file)
    else:
        assert container.unpack(file) == (header, code)
    if header.height == header.width < 128 and header.images is None:
        assert len(head) == 4
    for place in range(min(len(head), 40)):
        with pytest.raises(FormatError):
            container.unpack(head[:place])


@given(st.integers(1, 3000), st.integers(1, 700), st.integers(1, 700))
def test_batches_hold_every_image_once_and_not_too_many_pixels(count, height, width):
    header = container.LossyHeader(1, 1, False, False, height, width, count).with_heads_for(1e6)
    batches = list(header.batches)
    assert [n for batch in batches for n in batch] == list(range(count))
    assert all(len(batch) == 1 or len(batch) * height * width <= 2**18 for batch in batches)
    assert header.heads == (128 if count * height * width >= 65536 else 1)
    file = container.sealed(container.pack(header) + b"code" * (count * height * width // 2048 + 1))
    assert container.unpack(file)[0] == header
    assert header.with_heads_for(8000.0).heads == 1
    assert header.with_heads_for(1e12).heads in (1, 4096)


def test_a_forged_number_of_images_ends_at_once():
    model = loaded(dataclasses.replace(CONSTANT, maps=2, latents=1))
    made = coder.encode(random_images(2, 8, 8, 3), model, 2, bare=True)
    header, code = container.unpack(made.data)
    for count in (3, 200, 2**32 - 1):
        forged = container.pack(dataclasses.replace(header, images=count)) + code
        with pytest.raises(FormatError):
            coder.decode(forged, model)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3000), st.sampled_from([1, 1, 2, 5]))
def test_a_stack_comes_back_from_its_bytes(seed, count, heads):
    random = np.random.default_rng(seed)
    rows = random.integers(0, len(tables.prior_table()), count)
    cf = random.integers(0, 1 << 24, count)
    columns = tables.find(tables.prior_table(), rows, cf)
    before = stack.empty(heads)
    message = stack.empty(heads)
    half = count // 2
    stack.push(message, rows[half:], columns[half:])
    stack.push(message, rows[:half], columns[:half])
    again = stack.from_bytes(stack.to_bytes(message), heads)
    assert again == message
    assert np.array_equal(stack.pop(again, rows[:half]), columns[:half])
    assert np.array_equal(stack.pop(again, rows[half:]), columns[half:])
    assert again == before
    stack.check_end(again)


def test_what_cannot_be_stored_is_refused(monkeypatch):
    model, images = loaded(), random_images(1, 8, 8, 3)
    with pytest.raises(InputError, match="steps 1 to 3, not 4"):
        coder.encode(images, model, 4)
    with pytest.raises(InputError, match="one layer"):
        coder.encode(images, model, 1, high=True)
    with pytest.raises(ModelError, match="cannot store latents alone"):
        coder.encode(images, loaded(dataclasses.replace(CONSTANT, posterior="gaussian")), 1)
    with pytest.raises(InputError, match="gray images only"):
        coder.encode(images, loaded(dataclasses.replace(CONSTANT, channels=1)), 1)
    data = coder.encode(images, model, 1).data
    with pytest.raises(InputError, match="variance"):
        coder.decode(data, model, -1.0)
    stranger = dataclasses.replace(model, sha256=bytes([9] * 32))
    with pytest.raises(ModelError, match="not written by"):
        coder.decode(data, stranger)
    with monkeypatch.context() as patch:
        patch.setattr(coder, "LARGEST", 63)
        with pytest.raises(InputError, match="at most 63 pixels"):
            coder.encode(images, model, 1)
    fewer = dataclasses.replace(loaded(dataclasses.replace(CONSTANT, steps=1)))
    with pytest.raises(FormatError, match="does not have"):
        coder.decode(coder.encode(images, model, 2).data, fewer)


def test_the_loops_and_numpy_write_the_same_files(monkeypatch):
    if compiled.loops("ans") is None:
        pytest.skip("numba is not installed")
    model, images = loaded(), random_images(2, 16, 16, 3)
    one = coder.encode(images, model, 3, bare=True)
    monkeypatch.setattr(compiled, "enabled", False)
    assert coder.encode(images, model, 3, bare=True) == one
    assert coder.decode(one.data, model).shape == images.shape


@pytest.mark.parametrize("bare", [False, True])
def test_forged_files_end_in_images_or_named_errors(bare):
    model = loaded(dataclasses.replace(CONSTANT, maps=2, latents=1))
    count = 3 if bare else 1
    made = coder.encode(random_images(count, 16, 20, 3), model, 2, bare=bare).data
    random = np.random.default_rng(0)
    ends = {"images": 0, "error": 0}
    for _ in range(400):
        data = bytearray(made)
        for _ in range(random.integers(1, 4)):
            data[random.integers(len(data))] = random.integers(256)
        if random.random() < 0.3:
            data = data[: random.integers(len(data))]
        if random.random() < 0.3:
            data += random.bytes(int(random.integers(1, 9)))
        if len(data) > 3 and data[3] > 127:  # a forged size merely takes long
            continue
        try:
            back = coder.decode(bytes(data), model, 0.0)
            assert back.dtype == np.uint8
            ends["images"] += 1
        except BitsbackError:
            ends["error"] += 1
    assert ends["error"] > 200
    assert ends["images"] < 10  # changes that say the same, or none


def test_the_python_interface_takes_one_image_or_several():
    model, images = loaded(), random_images(3, 16, 16, 3)
    one = bitsback.lossy_encode(images[0], model, steps=2)
    assert one == coder.encode(images[:1], model, 2).data
    several = bitsback.lossy_encode(images, model, bits_per_dim=3.0)
    assert 8 * len(several) <= 3.0 * images.size
    assert bitsback.lossy_decode(several, model, variance=0.0).shape == images.shape
    gray = bitsback.lossy_encode(images[0, :, :, 0], model)
    assert bitsback.lossy_decode(gray, model).shape == (1, 16, 16, 1)
    with pytest.raises(InputError, match="steps 1 to 3, not 0"):
        bitsback.lossy_encode(images, model, steps=0)
    with pytest.raises(InputError, match="not both"):
        bitsback.lossy_encode(images, model, steps=1, bits_per_dim=1.0)


def test_every_bit_of_a_file_is_protected():
    model = loaded()
    made = coder.encode(random_images(1, 16, 16, 1), model, 2).data
    for place in range(len(made)):
        for bit in range(8):
            wrong = made[:place] + bytes([made[place] ^ 1 << bit]) + made[place + 1 :]
            with pytest.raises(BitsbackError):
                coder.decode(wrong, model)


@pytest.mark.parametrize("kind", [3, 4, 5, 6])
@pytest.mark.parametrize("shape", [(1, 5000, 5000), (2**31, 1, 1), (50_000, 100, 100)])
def test_a_short_file_of_many_pixels_is_refused_before_anything_is_allocated(kind, shape):
    images, height, width = shape
    header = container.LossyHeader(1, 1, False, False, height, width, images)
    head = bytearray(container.pack(header.with_heads_for(8.0)))
    head[0] = head[0] & 31 | kind << 5
    file = bytes(head) + bytes(300)
    if kind in (3, 5) and images > 1:
        return  # these have no number of images
    if kind > 4 and images == 1:
        assert container.unpack(file)[0].height == height  # version 1 knew no limit below this
        return
    with pytest.raises(FormatError, match=r"pixels in \d+ bytes, more than it may|pixels"):
        container.unpack(container.sealed(file) if kind < 5 else file)


def test_images_that_hold_next_to_nothing_get_filler(monkeypatch):
    monkeypatch.setattr(container, "_MOST_PIXELS", (1 << 25, 70_000))
    monkeypatch.setattr(container, "_MOST_SHRINKAGE", (1 << 14, 4))
    model, images = loaded(), np.zeros((2, 200, 200, 1), np.uint8)
    plain = coder.encode(images[:, :40, :40], model, 1, bare=True)
    assert container.unpack(plain.data)[0].filler == 0
    made = coder.encode(images, model, 1, bare=True)
    header = container.unpack(made.data)[0]
    assert header.filler > 100
    assert len(made.data) <= (2 * 200 * 200 - 70_000) // 4 + 4
    assert made.matches
    stored = dataclasses.replace(header, filler=0)
    head = container.pack(stored)
    code = container.unpack(made.data)[1]
    with pytest.raises(FormatError, match="more than it may"):
        container.unpack(container.sealed(head + code))
    back = coder.decode(made.data, model, 0.0)
    assert back.shape == (2, 200, 200, 1)
    monkeypatch.undo()
    assert np.array_equal(coder.decode(container.sealed(head + code), model, 0.0), back)


def test_many_tiny_images_count_for_more_than_their_pixels():
    model, images = loaded(), np.zeros((9000, 2, 2, 1), np.uint8)
    made = coder.encode(images, model, 1, bare=True)
    header = container.unpack(made.data)[0]
    assert header.images == 9000
    least = -(-(9000 * 256 - 2**21) // 512)
    assert len(made.data) >= header.fewest_bytes() == least
    for size, refused in ((least - 1, True), (least, False)):
        data = container.pack(header)
        data = container.sealed(data + bytes(size - len(data) - container.CHECKSUM))
        with pytest.raises(FormatError) if refused else contextlib.nullcontext():
            container.unpack(data)


@pytest.mark.parametrize("filler", [[0], [1, 1], [2, 0], [255, 255, 255, 255, 127], [1]])
def test_filler_that_is_none_is_refused(filler):
    header = container.LossyHeader(1, 1, False, False, 256, 256)
    head = container.pack(header)[:-1] + bytes([128, *filler])
    for sealed in (container.sealed, lambda head: bytes([head[0] ^ 6 << 5]) + head[1:]):
        with pytest.raises(FormatError, match=r"filler|heads|ends|cut|short"):
            container.unpack(sealed(head))
