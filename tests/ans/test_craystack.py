"""craystack's codecs and ours do the same on either kind of message."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.ans import codecs
from bitsback.ans.craystack import (
    from_craystack,
    message_from_craystack,
    message_to_craystack,
    to_craystack,
)
from bitsback.ans.message import Message, flatten
from bitsback.errors import EmptyMessageError

fast = settings(max_examples=50, deadline=None)
seeds = st.integers(0, 2**32 - 1)
K = 5


def their_uniform(precision, wrap):
    """A uniform codec in craystack's style: pure, one symbol a head, a linked list as its tail."""
    size = np.uint64(1 << precision)

    def push(message, symbols):
        head, tail = message
        full = head >= np.uint64(1 << (63 - precision))
        if full.any():
            tail = head[full].astype(np.uint32), tail
        head = np.where(full, head >> np.uint64(32), head) * size + symbols.astype(np.uint64)
        return ((head, tail),) if wrap else (head, tail)

    def pop(message):
        head, tail = message
        symbols, head = head % size, head // size
        low = np.flatnonzero(head < 2**31)
        words = np.empty(0, np.uint32)
        while len(words) < len(low):
            chunk, tail = tail
            missing = len(low) - len(words)
            words = np.concatenate([words, chunk[:missing]])
            if len(chunk) > missing:
                tail = chunk[missing:], tail
        head[low] = (head[low] << np.uint64(32)) | words
        return (head, tail), symbols

    return push, pop


def flat(pair):
    return flatten(message_from_craystack(pair)).tolist()


actions = st.lists(st.tuples(st.booleans(), st.integers(1, 24)), max_size=25)


@fast
@given(actions, st.booleans(), seeds)
def test_both_kinds_of_codec_agree_on_both_kinds_of_message(actions, wrap, seed):
    """Any sequence of pushes and pops: ours on ours, theirs on ours, ours on theirs, theirs."""
    rng = np.random.default_rng(seed)
    ours = Message.random(K, 30, seed)
    lent = ours.copy()
    theirs = lifted = message_to_craystack(ours)
    for is_push, precision in actions:
        our_codec = codecs.uniform(K, precision)
        their_codec = their_uniform(precision, wrap)
        if is_push:
            symbols = rng.integers(0, 2**precision, K)
            our_codec.push(ours, symbols)
            from_craystack(their_codec).push(lent, symbols)
            (lifted,) = to_craystack(our_codec).push(lifted, symbols)
            result = their_codec[0](theirs, symbols)
            theirs = result[0] if wrap else result
        else:
            held = lifted, flat(lifted)
            _, a = our_codec.pop(ours)
            _, b = from_craystack(their_codec).pop(lent)
            lifted, c = to_craystack(our_codec).pop(lifted)
            theirs, d = their_codec[1](theirs)
            assert a.tolist() == b.tolist() == c.tolist() == d.tolist()
            assert flat(held[0]) == held[1]
        assert ours == lent
        assert ours.lowest_words == lent.lowest_words
        assert flatten(ours).tolist() == flat(lifted) == flat(theirs)


def test_a_head_of_any_shape_keeps_its_shape():
    head = Message.random(6, 0, 0).heads.reshape(2, 3)
    codec = to_craystack(codecs.uniform(6, 24))
    ((pushed, tail),) = codec.push((head, ()), np.arange(6))
    ((pushed, tail),) = codec.push((pushed, tail), np.arange(6))
    assert pushed.shape == (2, 3)
    (head_back, tail), _ = codec.pop((pushed, tail))
    (head_back, tail), _ = codec.pop((head_back, tail))
    assert np.array_equal(head_back, head)


def test_messages_convert_and_share_nothing():
    message = Message.random(4, 9, 0)
    before = message.copy()
    pair = message_to_craystack(message)
    assert message_from_craystack(pair) == message
    message.push(np.arange(40), 1, 24)
    assert message_from_craystack(pair) == before


@pytest.mark.parametrize("words", [0, 3])
def test_an_empty_message_is_an_error_where_craystack_makes_bits_up(words):
    message = Message(np.full(K, 2**31, np.uint64), np.arange(words, dtype=np.uint32))
    before = message.copy()
    codec = from_craystack(their_uniform(24, True))
    with pytest.raises(EmptyMessageError):
        codec.pop(message)
    assert message == before
    with pytest.raises(EmptyMessageError):
        to_craystack(codecs.uniform(100, 24)).pop(message_to_craystack(message))


def test_lending_a_long_message_does_not_copy_it():
    message = Message.random(K, 100_000, 0)
    message.push(np.zeros(K, int), 1, 24)
    buffer = message.tail.buffer
    codec = from_craystack(their_uniform(24, True))
    for _ in range(3):
        codec.pop(message)
    codec.push(message, np.arange(K))
    assert message.tail.buffer is buffer
    pair = message_to_craystack(message)
    (_, tail), _ = to_craystack(codecs.uniform(K, 24)).pop(pair)
    assert np.shares_memory(tail[0], pair[1][0])


def test_craystack_itself():
    cs = pytest.importorskip("craystack")
    rans = pytest.importorskip("craystack.rans")
    rng = np.random.default_rng(0)
    ours = Message.random(K, 40, 0)
    theirs = message_to_craystack(ours)
    lent = ours.copy()
    for precision in rng.integers(1, 17, 40).tolist():
        symbols = rng.integers(0, 2**precision, K).astype(np.uint64)
        codecs.uniform(K, precision).push(ours, symbols)
        (theirs,) = cs.Uniform(precision).push(theirs, symbols)
        from_craystack(cs.Uniform(precision)).push(lent, symbols)
        assert np.array_equal(flatten(ours), rans.flatten(theirs))
        assert ours == lent
    for precision in (3, 11, 16):
        _, a = codecs.uniform(K, precision).pop(ours)
        theirs, b = cs.Uniform(precision).pop(theirs)
        assert np.array_equal(a, b)


def test_a_failed_pop_is_undone_whatever_the_message():
    """Codecs that fall back on another when bits run out do the same on both kinds of message."""

    def pop(message):
        codecs.uniform(30, 24).push(message, np.arange(30))
        with pytest.raises(EmptyMessageError):
            codecs.uniform(200, 24).pop(message)
        return codecs.uniform(40, 24).pop(message)

    ours = Message.random(K, 20, 0)
    theirs, symbols = to_craystack(codecs.Codec(None, pop)).pop(message_to_craystack(ours))
    _, expected = pop(ours)
    assert np.array_equal(symbols, expected)
    assert message_from_craystack(theirs) == ours


def test_a_foreign_codec_that_fails_halfway_changes_nothing():
    def pop(message):
        message[0][:] = 0
        raise EmptyMessageError(1)

    message = Message.random(K, 20, 0)
    before = message.copy()
    with pytest.raises(EmptyMessageError):
        from_craystack((None, pop)).pop(message)
    assert message == before
