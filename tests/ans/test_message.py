"""What is pushed is popped, the layout is the documented one, and every bit is accounted for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.ans import message as ans
from bitsback.ans.heads import fold, resize, unfold
from bitsback.ans.message import DEFAULT_HEADS, Message, flatten, unflatten
from bitsback.errors import EmptyMessageError, FormatError

pytestmark = pytest.mark.usefixtures("either_way")
fast = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def pushes(draw):
    """Arguments of a push: starts, freqs, precision, with intervals of every width."""
    n = draw(st.integers(0, 70))
    rng = np.random.default_rng(draw(seeds))
    precision = rng.integers(1, 25, n) if draw(st.booleans()) else draw(st.integers(1, 24))
    width = rng.random(n) * (np.asarray(precision) + 1)
    freqs = np.minimum(2**width, 2 ** np.asarray(precision)).astype(np.int64)
    starts = rng.integers(0, 2 ** np.asarray(precision) - freqs + 1, n)
    return starts, freqs, precision


def pop_back(message, starts, freqs, precision):
    """Pop a push's symbols, checking that each cf lies in its interval."""

    def lookup(cf, where):
        inside = (starts[where] <= cf) & (cf < starts[where] + freqs[where])
        return inside, starts[where], freqs[where]

    return message.pop(len(starts), precision, lookup)


def uniform(cf, where):
    return cf, cf, np.ones_like(cf)


class PlainStack:
    """rANS in Python integers, straight from the definition; the tail is a list of chunks."""

    def __init__(self, message):
        self.heads = [int(head) for head in message.heads]
        self.chunks = [[int(word)] for word in message.words]

    def push(self, starts, freqs, precisions):
        for lo in range(0, len(starts), len(self.heads)):
            chunk = []
            for i in range(lo, min(lo + len(self.heads), len(starts))):
                head = self.heads[i - lo]
                if head >= ((2**31 >> precisions[i]) << 32) * freqs[i]:
                    chunk.append(head % 2**32)
                    head >>= 32
                quotient, rest = divmod(head, freqs[i])
                self.heads[i - lo] = (quotient << precisions[i]) + rest + starts[i]
            self.chunks.append(chunk)

    def flatten(self):
        high = [head >> 32 for head in self.heads]
        low = [head % 2**32 for head in self.heads]
        return high + low + [word for chunk in reversed(self.chunks) for word in chunk]


@fast
@given(st.lists(pushes(), max_size=4), st.integers(1, 20), seeds)
def test_pops_undo_pushes(steps, heads, seed):
    message = Message.random(heads, 5, seed)
    before = message.copy()
    for step in steps:
        message.push(*step)
    assert np.all((message.heads >= 2**31) & (message.heads < 2**63))
    for step in reversed(steps):
        assert np.all(pop_back(message, *step))
    assert message == before


@fast
@given(pushes(), st.integers(1, 20), seeds)
def test_pushes_undo_pops(step, heads, seed):
    _, _, precision = step
    message = Message.random(heads, 200, seed)
    before = message.copy()
    symbols = message.pop(len(step[0]), precision, uniform)
    message.push(symbols, 1, precision)
    assert message == before


@fast
@given(st.lists(pushes(), max_size=3), st.integers(1, 9), seeds)
def test_flatten_agrees_with_plain_integers(steps, heads, seed):
    message = Message.random(heads, 3, seed)
    oracle = PlainStack(message)
    for starts, freqs, precision in steps:
        message.push(starts, freqs, precision)
        widths = np.broadcast_to(precision, starts.shape)
        oracle.push(starts.tolist(), freqs.tolist(), widths.tolist())
    words = flatten(message)
    assert words.dtype == np.uint32
    assert words.tolist() == oracle.flatten()
    assert unflatten(words, heads) == message


def test_flattened_words_by_hand():
    message = Message.empty(2)
    assert flatten(message).tolist() == [0, 0, 2**31, 2**31]
    # 16 bits each: 2**31 -> 2**31 * 2**16 + start, no word moves
    message.push([3, 5], [1, 1], 16)
    assert flatten(message).tolist() == [2**15, 2**15, 3, 5]
    # heads are at the limit 2**(63 - 16): their low words move, head 0's is the first of the chunk
    message.push([7, 9], [1, 1], 16)
    assert flatten(message).tolist() == [0, 0, 2**31 + 7, 2**31 + 9, 3, 5]
    # one symbol of 24 bits on head 0 alone: a newer chunk, which stands before the older one
    message.push([1], [1], 24)
    message.push([2], [1], 24)
    assert flatten(message).tolist() == [2**15, 0, 2, 2**31 + 9, (7 << 24) + 1, 3, 5]


@fast
@given(pushes(), st.integers(1, 20), seeds)
def test_bits_grow_by_the_code_length(step, heads, seed):
    starts, freqs, precision = step
    message = Message.random(heads, 2, seed)
    before = message.bits
    message.push(starts, freqs, precision)
    ideal = np.sum(np.broadcast_to(precision, freqs.shape) - np.log2(freqs))
    assert message.bits - before == pytest.approx(ideal, abs=2**-5 * len(starts) + 1e-6)


def test_bits_are_exact_over_many_symbols():
    rng = np.random.default_rng(0)
    freqs = rng.integers(1, 2**15, 20_000)
    message = Message.empty()
    assert message.bits == 0
    message.push(np.zeros_like(freqs), freqs, 16)
    assert message.bits == pytest.approx(np.sum(16 - np.log2(freqs)), rel=1e-5)


@fast
@given(st.integers(1, 20), st.integers(0, 12), st.integers(1, 300), st.integers(1, 24), seeds)
def test_an_empty_pop_changes_nothing_and_says_what_is_missing(heads, words, n, precision, seed):
    message = Message.random(heads, words, seed)
    before, held = message.copy(), message.bits
    enough = Message(
        message.heads.copy(), np.concatenate([np.arange(999, dtype=np.uint32), message.words])
    )
    enough.pop(n, precision, uniform)
    needed = 999 - enough.lowest_words
    if needed <= 0:
        message.pop(n, precision, uniform)
        assert message.bits == pytest.approx(held - n * precision, abs=2**-5 * n)
        return
    with pytest.raises(EmptyMessageError, match=r"\d+ more bits") as caught:
        message.pop(n, precision, uniform)
    assert 0 < caught.value.missing_bits <= 32 * needed
    assert caught.value.missing_bits % 32 == 0
    assert message == before
    assert message.lowest_words == words


@fast
@given(st.integers(1, 20), st.integers(1, 300), seeds)
def test_the_low_water_mark_is_the_words_that_suffice(heads, n, seed):
    message = Message.random(heads, 400, seed)
    start = message.copy()
    message.push(np.arange(n) % 4, 1, 2)
    message.track_low_water()
    message = start.copy()
    symbols = message.pop(n, 19, uniform)
    message.push(symbols // 2, 1, 20)
    touched = 400 - message.lowest_words
    enough = Message(start.heads.copy(), start.words[400 - touched :].copy())
    assert np.array_equal(enough.pop(n, 19, uniform), symbols)
    if touched:
        short = Message(start.heads.copy(), start.words[401 - touched :].copy())
        with pytest.raises(EmptyMessageError):
            short.pop(n, 19, uniform)
    message.track_low_water()
    assert message.lowest_words == len(message.words)


@pytest.mark.parametrize(
    ("starts", "freqs", "precision"),
    [
        ([0, 3], [1, 0], 4),
        ([0, 15], [1, 2], 4),
        ([-1, 0], [1, 1], 4),
        ([0, 16], [1, 1], 4),
        ([0, 0], [17, 1], 4),
        ([0, 1], [1, 1], [4, 0]),
        ([0, 0], [1, 1], 25),
        ([0, 0], [1, 1], [4, 4, 4]),
        ([0.0, 0.5], [1, 1], 4),
    ],
)
def test_impossible_symbols_are_refused(starts, freqs, precision):
    message = Message.random(3, 3, 0)
    before = message.copy()
    with pytest.raises(ValueError, match=r"support|precision|integers"):
        message.push(np.array(starts), np.array(freqs), np.array(precision))
    assert message == before


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_wrong_lookup_is_noticed_and_undone(shift):
    def lookup(cf, where):
        wrong = shift if where.start == 0 else 0
        return cf, cf.astype(np.int64) + wrong, np.ones_like(cf)

    message = Message.random(4, 20, 0)
    before = message.copy()
    with pytest.raises(ValueError, match="does not hold cf"):
        message.pop(12, 8, lookup)
    assert message == before


@fast
@given(st.integers(1, 9), st.integers(0, 60), st.integers(1, 24), seeds)
def test_pieces_of_a_push_are_the_same_as_all_of_it(heads, n, precision, seed):
    symbols = np.random.default_rng(seed).integers(0, 2**precision, n).astype(np.uint64)
    whole, pieces = (Message.random(heads, 3, seed) for _ in range(2))
    whole.push(symbols, 1, precision)
    asked = []

    def interval(where):
        asked.append(where)
        return symbols[where], np.ones_like(symbols[where])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ans, "_PIECE", 10)
        pieces.push_trusted(n, ans.precision_array(precision, n), interval)
    assert pieces == whole
    assert [i for where in asked for i in range(n)[where]] == list(range(n))
    assert all(len(symbols[where]) <= max(10, heads) for where in asked)


@pytest.mark.parametrize("held", [0, 5])
def test_a_push_that_fails_halfway_changes_nothing(held):
    def interval(where):
        if where.start:
            raise ValueError("no interval")
        count = where.stop
        return np.arange(count, dtype=np.uint64), np.ones(count, np.uint64)

    message = Message.random(7, held, 0)
    before = message.copy()
    n = 7 * (ans._PIECE // 7) + 1
    with pytest.raises(ValueError, match="no interval"):
        message.push_trusted(n, ans.precision_array(20, n), interval)
    assert message == before
    assert message.lowest_words == held


@pytest.mark.parametrize("head", [0, 2**31 - 1, 2**63, 2**64 - 1])
def test_unflatten_refuses_heads_out_of_range(head):
    words = np.array([head >> 32, 5, head & 0xFFFFFFFF, 0, 1, 2], np.uint32)
    with pytest.raises(FormatError):
        unflatten(words, 2)


@pytest.mark.parametrize(("words", "heads"), [(0, 1), (3, 2), (4, 0)])
def test_unflatten_refuses_too_few_words(words, heads):
    with pytest.raises(FormatError):
        unflatten(np.full(words, 2**31 + 1, np.uint32), heads)


@fast
@given(st.integers(1, 70), st.integers(1, 70), seeds)
def test_resizing_back_restores_the_message(few, many, seed):
    few, many = sorted((few, many))
    message = Message.random(many, 3, seed)
    assert resize(resize(message, few), many) == message
    assert resize(message, few).bits <= message.bits + 37 * (many - few)
    ample = Message.random(few, 400, seed)
    grown = resize(ample, many)
    assert len(grown.heads) == many
    assert resize(grown, few) == ample
    assert grown.lowest_words < 400 or few == many


@fast
@given(st.lists(st.integers(31, 62), min_size=1, max_size=10), st.integers(-1, 1))
def test_folding_keeps_heads_at_every_power_of_two(exponents, offset):
    heads = [min(max(2**e + offset, 2**31), 2**63 - 1) for e in [*exponents, 62, 62]]
    message = Message(np.array(heads, np.uint64), np.empty(0, np.uint32))
    assert unfold(fold(message), len(heads)) == message


def test_unfolding_an_empty_message_is_an_error():
    message = Message.empty(1)
    with pytest.raises(EmptyMessageError):
        unfold(message)
    assert message == Message.empty(1)


def test_heads_cost_at_most_a_thousandth_of_a_megabyte():
    payload = np.random.default_rng(0).integers(0, 256, 1_000_000)
    # what a file adds: one head, and the bits that the other heads were made of, as real bits
    start = Message.random(1, 0, 1)
    words = math.ceil(DEFAULT_HEADS * 67 / 32)
    start.tail.push(np.random.default_rng(2).integers(0, 2**32, words, dtype=np.uint32))
    message = unfold(start)
    message.push(payload, 1, 8)
    file = flatten(fold(message))
    assert 4 * (len(file) - words) <= 1.001 * len(payload)
    back = unfold(unflatten(file, 1))
    assert np.array_equal(back.pop(len(payload), 8, uniform), payload)
    assert fold(back) == start


def test_heads_cost_at_most_a_thousandth_even_without_initial_bits():
    payload = np.random.default_rng(0).integers(0, 256, 1_000_000)
    message = Message.empty()
    message.push(payload, 1, 8)
    assert 4 * len(flatten(fold(message))) <= 1.001 * len(payload)


def test_copies_and_folds_remember_the_low_water_mark():
    message = Message.random(4, 20, 0)
    symbols = message.pop(16, 24, uniform)
    lowest = message.lowest_words
    message.push(symbols, 1, 24)
    assert message.copy().lowest_words == fold(message).lowest_words == lowest < 20
