"""Every codec gives back what it was given, at the cost its frequencies promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback import codecs
from bitsback.ans import Message
from bitsback.errors import EmptyMessageError

fast = settings(max_examples=50, deadline=None)
seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(0, 6), max_size=3).map(tuple)


def restores(codec, message, symbols):
    """Push and pop, then pop and push: both leave the message as it was."""
    before = message.copy()
    assert codec.push(message, symbols) is message
    popped, back = codec.pop(message)
    assert popped is message
    assert message == before
    _, sample = codec.pop(message)
    codec.push(message, sample)
    assert message == before
    return back


def table(rng, rows, n, precision):
    """Cumulative frequencies of random sparse rows, each with at least one possible symbol."""
    inner = np.sort(rng.integers(0, 2**precision + 1, (rows, n - 1)), axis=1)
    inner[rng.random(inner.shape) < 0.2] = 0
    ends = np.zeros((rows, 1), np.int64), np.full((rows, 1), 2**precision)
    return np.concatenate([ends[0], np.sort(inner, axis=1), ends[1]], axis=1).astype(np.uint32)


@fast
@given(shapes, st.booleans(), st.integers(1, 24), st.integers(1, 9), seeds)
def test_uniform(shape, per_symbol, precision, heads, seed):
    rng = np.random.default_rng(seed)
    power = rng.integers(0, 25, shape) if per_symbol else precision
    symbols = rng.integers(0, 2 ** np.asarray(power), shape)
    message = Message.random(heads, 300, seed)
    back = restores(codecs.uniform(shape, power), message, symbols)
    assert np.array_equal(back, symbols)


@fast
@given(shapes, st.integers(1, 24), st.integers(1, 9), seeds)
def test_bernoulli(shape, precision, heads, seed):
    rng = np.random.default_rng(seed)
    ones = rng.choice([0, 1, 2**precision // 2, 2**precision - 1, 2**precision], shape)
    symbols = (rng.integers(0, 2**precision, shape) < ones).astype(np.uint8)
    codec = codecs.bernoulli(ones, precision)
    message = Message.random(heads, 300, seed)
    assert np.array_equal(restores(codec, message, symbols), symbols)
    held = message.bits
    codec.push(message, symbols)
    freqs = np.where(symbols == 1, ones, 2**precision - ones)
    ideal = np.sum(precision - np.log2(freqs))
    assert message.bits - held == pytest.approx(ideal, abs=2**-5 * symbols.size + 1e-6)


@fast
@given(shapes, st.integers(1, 40), st.integers(1, 24), st.integers(1, 9), seeds)
def test_categorical(shape, n, precision, heads, seed):
    rng = np.random.default_rng(seed)
    cumulative = table(rng, 5, n, precision)
    rows = rng.integers(0, 5, shape)
    cf = rng.integers(0, 2**precision, shape)
    symbols = np.array(
        [np.flatnonzero(cumulative[r] <= c)[-1] for r, c in zip(rows.flat, cf.flat, strict=True)],
        np.int64,
    ).reshape(shape)
    codec = codecs.categorical(cumulative, rows, precision)
    message = Message.random(heads, 300, seed)
    assert np.array_equal(restores(codec, message, symbols), symbols)
    held = message.bits
    codec.push(message, symbols)
    freqs = cumulative[rows, symbols + 1].astype(float) - cumulative[rows, symbols]
    ideal = np.sum(precision - np.log2(freqs))
    assert message.bits - held == pytest.approx(ideal, abs=2**-5 * symbols.size + 1e-6)


def test_popping_samples_from_the_table():
    freqs = np.array([[1, 0, 7, 20, 4], [16, 8, 4, 2, 2]])
    cumulative = np.concatenate([np.zeros((2, 1), np.int64), np.cumsum(freqs, 1)], 1)
    rows = np.repeat([0, 1], 8000)
    _, symbols = codecs.categorical(cumulative, rows, 5).pop(Message.random(128, 4000, 0))
    for row in (0, 1):
        counts = np.bincount(symbols[rows == row], minlength=5)
        assert np.all(np.abs(counts - 250 * freqs[row]) <= 5 * np.sqrt(250 * freqs[row]))


CUMULATIVE = np.array([[0, 3, 3, 16]], np.uint32)


@pytest.mark.parametrize(
    ("codec", "symbols"),
    [
        (codecs.uniform(3, 4), [0, 16, 1]),
        (codecs.uniform(3, 4), [0, -1, 1]),
        (codecs.uniform(3, 4), [0, 1]),
        (codecs.uniform((3, 1), 4), [0, 1, 2]),
        (codecs.uniform(3, 4), [0.0, 1.0, 2.0]),
        (codecs.bernoulli([8, 8, 8], 4), [0, 2, 1]),
        (codecs.bernoulli([8, 8, 8], 4), [0, -1, 1]),
        (codecs.bernoulli([8, 0, 8], 4), [0, 1, 1]),
        (codecs.bernoulli([8, 16, 8], 4), [0, 0, 1]),
        (codecs.categorical(CUMULATIVE, [0, 0, 0], 4), [0, 1, 0]),
        (codecs.categorical(CUMULATIVE, [0, 0, 0], 4), [0, 3, 0]),
        (codecs.categorical(CUMULATIVE, [0, 0, 0], 4), [0, -1, 0]),
    ],
)
def test_symbols_outside_the_support_are_refused(codec, symbols):
    message = Message.random(2, 3, 0)
    before = message.copy()
    with pytest.raises(ValueError, match=r"support|shape|integers"):
        codec.push(message, np.array(symbols))
    assert message == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: codecs.bernoulli([17], 4),
        lambda: codecs.bernoulli([-1], 4),
        lambda: codecs.categorical(CUMULATIVE, [0, 1], 4),
        lambda: codecs.categorical(CUMULATIVE, [-1], 4),
        lambda: codecs.categorical(CUMULATIVE, [0], 5),
        lambda: codecs.categorical(CUMULATIVE[:, 1:], [0], 4),
    ],
)
def test_impossible_codecs_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()


@fast
@given(st.integers(1, 9), seeds)
def test_serial_repeat_and_substack_nest(heads, seed):
    rng = np.random.default_rng(seed)
    codec = codecs.serial(
        [
            codecs.uniform((2, 3), 7),
            codecs.repeat(codecs.bernoulli(np.array([1, 9, 15]), 4), 3),
            codecs.substack(codecs.uniform(5, 24), slice(0, heads, 2)),
            codecs.substack(codecs.uniform(4, 3), max(1, heads // 2)),
        ]
    )
    symbols = (
        rng.integers(0, 2**7, (2, 3)),
        tuple(rng.integers(0, 2, (3, 3))),
        rng.integers(0, 2**24, 5),
        rng.integers(0, 2**3, 4),
    )
    back = restores(codec, Message.random(heads, 100, seed), symbols)
    for theirs, ours in zip(back, symbols, strict=True):
        assert np.array_equal(theirs, ours)


def test_serial_pops_in_the_order_given():
    message = Message.random(4, 20, 0)
    message, _ = codecs.serial([codecs.uniform(4, 5), codecs.uniform(4, 9)]).pop(message)
    other = Message.random(4, 20, 0)
    for precision in (5, 9):
        other, _ = codecs.uniform(4, precision).pop(other)
    assert message == other
    with pytest.raises(ValueError, match="zip"):
        codecs.serial([codecs.uniform(4, 5)]).push(message, (np.zeros(4, int),) * 2)


def test_substack_leaves_the_other_heads_alone():
    message = Message.random(6, 50, 0)
    before = message.copy()
    codecs.substack(codecs.uniform(30, 17), slice(1, 4)).pop(message)
    untouched = [0, 4, 5]
    assert np.array_equal(message.heads[untouched], before.heads[untouched])
    assert np.all(message.heads[1:4] != before.heads[1:4])
    assert len(message.words) < 50


def test_an_empty_message_is_an_error():
    message = Message.empty(4)
    with pytest.raises(EmptyMessageError):
        codecs.uniform(9, 8).pop(message)
    assert message == Message.empty(4)
