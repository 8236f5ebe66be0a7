"""Every codec gives back what it was given, at the cost its frequencies promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.ans import cdf_index, codecs
from bitsback.ans.message import Message
from bitsback.errors import EmptyMessageError
from bitsback.tables import tables

pytestmark = pytest.mark.usefixtures("either_way")
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


@fast
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 11), st.booleans(), seeds)
def test_every_cf_finds_its_symbol(rows, n, precision, constant, seed):
    cumulative = table(np.random.default_rng(seed), rows, n, precision)
    cumulative.flags.writeable = not constant
    row, cf = (grid.ravel() for grid in np.indices((rows, 2**precision)))
    message = Message((1 << 45) + cf.astype(np.uint64), np.empty(0, np.uint32))
    _, found = codecs.categorical(cumulative, row, precision).pop(message)
    assert np.array_equal(
        found, [np.flatnonzero(cumulative[r] <= c)[-1] for r, c in zip(row, cf, strict=True)]
    )


@pytest.mark.parametrize("made", [tables.prior_table, tables.posterior_table])
@pytest.mark.parametrize("heads", [64, 5000])
def test_gaussian_symbols_are_those_of_the_exact_search(made, heads):
    cumulative, rng = made(), np.random.default_rng(heads)
    rows = rng.integers(0, len(cumulative), heads)
    # the numbers about an interval's ends, and those of the tails, are where a guess may be wrong
    ends = cumulative[rows, rng.integers(0, 257, heads)].astype(np.int64) + rng.integers(-2, 3)
    for cf in (rng.integers(0, 2**24, heads), ends % 2**24, rng.integers(0, 3000, heads)):
        message = Message((1 << 45) + cf.astype(np.uint64), np.arange(heads, dtype=np.uint32))
        before = message.copy()
        codec = codecs.categorical(cumulative, rows, 24)
        _, found = codec.pop(message)
        assert np.array_equal(found, tables.find(cumulative, rows, cf))
        assert codec.push(message, found) == before


def test_only_what_cannot_change_is_remembered_and_only_as_long_as_it_lives():
    def coded(cumulative):
        message = Message.random(4, 0, 0)
        codecs.categorical(cumulative, np.zeros(4, int), 4).push(message, np.ones(4, int))
        return message

    held = dict(cdf_index.remembered)
    cumulative = np.array([[0, 3, 16]], np.uint32)
    view = cumulative[:]
    view.flags.writeable = False
    first = coded(cumulative), coded(view)
    cumulative[0, 1] = 7
    assert first[0] == first[1] != coded(cumulative) == coded(view)
    assert cdf_index.remembered == held
    constant = cumulative.copy()
    constant.flags.writeable = False
    assert coded(constant) == coded(constant) == coded(cumulative)
    assert len(cdf_index.remembered) == len(held) + 1
    del constant
    assert cdf_index.remembered == held


def test_a_bad_symbol_far_down_is_refused_before_anything_is_pushed():
    symbols = np.zeros(100_000, np.int64)
    codec = codecs.categorical(CUMULATIVE, np.zeros_like(symbols), 4)
    for bad in (1, 3, -1):
        symbols[0], symbols[-1] = 2, bad
        message = Message.random(3, 3, 0)
        before = message.copy()
        with pytest.raises(ValueError, match="support"):
            codec.push(message, symbols)
        assert message == before


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
        lambda: codecs.categorical(CUMULATIVE[:, [0, 3, 1, 3]], [0], 4),
        lambda: codecs.categorical(CUMULATIVE, [0], 25),
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
