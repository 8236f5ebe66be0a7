"""Batches whose pixels are corrected by side information: coded, decoded, and reported."""

import dataclasses

import numpy as np
import pytest
from conftest import SMALL, random_model
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.ans.message import Message
from bitsback.coding import batch_pixels, bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.micro_batches import MicroBatches
from bitsback.coding.reports.tally import Tally
from bitsback.errors import EmptyMessageError
from bitsback.models.draw.model import DrawModel
from bitsback.models.draw.reference import ReferenceOps
from bitsback.side import fit
from bitsback.side.wanted import BOTH, NOTHING
from bitsback.tables.corrections import Correction

PHOTOS = dataclasses.replace(
    SMALL, channels=3, likelihood="logistic", mixtures=2, passes=4, blocks=1, pass_maps=4
)
BLOCKS = dataclasses.replace(
    SMALL, channels=3, likelihood="logistic", mixtures=2, head_maps=4, head_blocks=1
)
REST = {
    "payload_bits": 0,
    "first_bits": 0.0,
    "filler_bits": 0,
    "header_bits": 0,
    "head_bits": 0.0,
}


def model_of(config, seed=0):
    tensors, widths = random_model(config, seed)
    return DrawModel(config, ReferenceOps(config, tensors), widths)


def pictures(seed, batch, height, width, gray=False):
    """Slopes with a little noise, which neighbours predict."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    slopes = rng.normal(size=(batch, 3, 2, 1, 1)) * 3
    levels = 128 + slopes[:, :, 0] * y + slopes[:, :, 1] * x + rng.normal(size=(batch, 3, 1, 1))
    found = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.repeat(found[:, :1], 3, 1) if gray else found


@st.composite
def cases(draw):
    config = draw(st.sampled_from([PHOTOS, BLOCKS]))
    batch, height, width = draw(st.integers(1, 3)), *(8 * draw(st.integers(1, 3)) for _ in "hw")
    sides = st.tuples(st.integers(1, height), st.integers(1, width))
    extents = draw(st.one_of(st.none(), st.lists(sides, min_size=batch, max_size=batch)))
    return (
        config,
        Batch(
            batch,
            height,
            width,
            seed=draw(st.integers(0, 99)),
            index=0,
            gray=draw(st.booleans()),
            extents=None if extents is None else tuple(extents),
            corrected=True,
        ),
        draw(st.booleans()),
    )


@settings(max_examples=40)
@given(cases(), st.integers(0, 99))
def test_decoding_undoes_encoding(case, seed):
    config, batch, in_parts = case
    model = model_of(config, seed)
    coded_by = MicroBatches(model, 2) if in_parts else model
    x = pictures(seed, batch.size, batch.height, batch.width, batch.gray)
    message = Message.random(8, 3000, seed)
    before = message.copy()
    bits_back.encode(message, coded_by, batch, x)
    found = bits_back.decode(message, model, batch)
    assert np.array_equal(found, batch_pixels.filled(model, batch, x))
    assert message == before


def coded(x, corrected=True, wanted=BOTH, measure=False, config=PHOTOS):
    batch = Batch(len(x), *x.shape[2:], 0, 0, corrected=corrected)
    message = Message.random(16, 9000, 0)
    return bits_back.encode(message, model_of(config), batch, x, measure, wanted)


def test_pictures_take_fewer_bits():
    x = pictures(0, 2, 32, 32)
    plain, better = coded(x, corrected=False), coded(x)
    saved = plain.expected_likelihood - better.expected_likelihood
    assert saved > 0.3 * plain.expected_likelihood
    assert better.side.saved > 0
    assert plain.side.symbols == 0
    assert 0 < better.side.bits < 0.2 * better.expected_likelihood


def test_where_nothing_is_wanted_a_batch_takes_one_bit_more():
    x = pictures(0, 2, 32, 32)
    idle, plain = coded(x, wanted=NOTHING), coded(x, corrected=False)
    assert (idle.side.bits, idle.side.symbols) == (1.0, 1)
    assert idle.expected_likelihood == pytest.approx(plain.expected_likelihood + 1)


@pytest.mark.parametrize("measure", [False, True])
def test_the_report_holds_side_information_to_its_bits(measure, monkeypatch):
    x = pictures(0, 2, 32, 32)
    tally = Tally()
    tally.add(coded(x, measure=measure), x.size)
    report = tally.report(images=2, dims=x.size, chained_dims=x.size, **REST)
    assert report.check().passed, str(report.check())
    assert report.side.symbols > 100
    push = batch_pixels.codec.push

    def cheaper(*given):
        bits, symbols = push(*given)
        return 0.8 * bits, symbols

    monkeypatch.setattr(batch_pixels.codec, "push", cheaper)
    tally = Tally()
    tally.add(coded(x, measure=measure), x.size)
    assert not tally.report(images=2, dims=x.size, chained_dims=x.size, **REST).check().passed


def test_corrections_that_the_decoder_lacks_lose_the_pixels(monkeypatch):
    x = pictures(0, 2, 16, 16)
    model, batch = model_of(PHOTOS), Batch(2, 16, 16, 0, 0, corrected=True)
    message = Message.random(16, 9000, 0)
    bits_back.encode(message, model, batch, x)
    monkeypatch.setattr(batch_pixels.codec, "pop", lambda message, shape: shape.none)
    try:
        found = bits_back.decode(message, model, batch)
    except (ValueError, EmptyMessageError):
        return
    assert not np.array_equal(found, x)


def test_any_corrections_are_lossless(monkeypatch):
    """Nothing depends on their being good ones."""
    wild = tuple(Correction((255, -255, 9, 1) * (c + 1), (8, -8) * 3) for c in range(3))

    def found(mixture, part, near, wanted):
        return fit.Fitted(wild if near.shape[1] > 3 else (Correction(),) * 3, 0.0)

    monkeypatch.setattr(batch_pixels, "fit", found)
    x = pictures(1, 2, 16, 16)
    model, batch = model_of(PHOTOS), Batch(2, 16, 16, 0, 0, corrected=True)
    message = Message.random(16, 9000, 0)
    before = message.copy()
    bits_back.encode(message, model, batch, x)
    assert np.array_equal(bits_back.decode(message, model, batch), x)
    assert message == before
