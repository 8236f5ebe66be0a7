import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsback.ans.message import Message
from bitsback.errors import EmptyMessageError
from bitsback.side import codec
from bitsback.side.codec import COUNTS, Shape
from bitsback.tables.corrections import NODES, SHIFT_LIMIT, WEIGHT_LIMIT, Correction

KNOWN = (0, 3, 4, 16)


@st.composite
def corrections(draw, shape):
    def of(channel, known):
        count = draw(st.sampled_from(sorted({min(most, known) for most in COUNTS})))
        size = draw(st.sampled_from([1, 9, WEIGHT_LIMIT]))
        weight, shift = st.integers(-size, size), st.integers(-SHIFT_LIMIT, SHIFT_LIMIT)
        length = (channel + 1) * count
        weights = draw(st.lists(weight, min_size=length, max_size=length))
        shifts = draw(st.one_of(st.just([]), st.lists(shift, min_size=6, max_size=6)))
        return Correction(tuple(weights), tuple(shifts))

    return tuple(tuple(of(c, known) for c in range(shape.channels)) for known in shape.known)


@given(st.data(), st.sampled_from([0, 1, 3]), st.integers(1, 40))
def test_corrections_come_back_and_cost_what_is_said(data, channels, heads):
    shape = Shape(KNOWN, channels)
    sent = data.draw(corrections(shape))
    message = Message.random(heads, 50, 0)
    before = message.copy()
    bits, symbols = codec.push(message, sent, shape)
    assert message.bits - before.bits == pytest.approx(bits, abs=0.01 + 1e-3 * symbols)
    assert codec.pop(message, shape) == sent
    assert message == before


def test_none_takes_one_bit():
    shape = Shape(KNOWN, 3)
    message = Message.empty(4)
    assert codec.push(message, shape.none, shape) == (1.0, 1)
    assert message.bits == pytest.approx(1.0)
    assert codec.pop(message, shape) == shape.none


def test_differences_of_channels_cost_little():
    shape = Shape((16,), 2)
    weights = np.random.default_rng(0).integers(-60, 60, 16)
    alike = Correction((*weights.tolist(), *(-weights).tolist()))
    other = Correction((*weights.tolist(), *(-weights[::-1]).tolist()))
    taken = [codec.push(Message.empty(1), ((Correction(), c),), shape)[0] for c in (alike, other)]
    assert taken[0] < 0.7 * taken[1]


def test_a_short_message_is_an_error():
    shape = Shape(KNOWN, 3)
    full = Correction((200,) * 16, (8,) * len(NODES))
    message = Message.empty(1)
    codec.push(message, (*shape.none[:3], (full, *shape.none[3][1:])), shape)
    short = Message(message.heads, message.words[-1:].copy())
    with pytest.raises(EmptyMessageError):
        codec.pop(short, shape)


def test_the_tables_are_the_same_everywhere():
    tables = [codec._table(mean, codec._SUM_LIMIT) for mean in codec._WIDTHS]
    sums = [table.astype(np.uint64).sum() for table in tables]
    shifts = codec._table(codec._SHIFT_WIDTH, SHIFT_LIMIT)
    assert (int(sum(sums)), shifts.tolist()) == TABLES


SHIFTS = "0 71347 190260 388447 718757 1269275 2186803 3716015 6264702 10512513 13061200 14590412 "
SHIFTS += "15507940 16058458 16388768 16586955 16705868 16777216"
TABLES = 102810776958, [int(number) for number in SHIFTS.split()]
