"""A metered message holds the same words, and tells what rounding added."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.ans import codecs
from bitsback.ans.message import Message
from bitsback.ans.metered import MeteredMessage


@settings(max_examples=40, deadline=None)
@given(
    heads=st.integers(1, 9),
    count=st.integers(0, 400),
    precision=st.sampled_from([1, 8, 16, 24]),
    seed=st.integers(0, 99),
)
def test_what_rounding_adds_is_all_that_parts_growth_from_code_length(
    heads, count, precision, seed
):
    random = np.random.default_rng(seed)
    size = 1 << precision
    starts = random.integers(0, size, count)
    freqs = 1 + (random.random(count) ** 4 * (size - starts - 1)).astype(np.int64)
    plain, shared = Message.random(heads, 50, seed), Message.random(heads, 50, seed)
    meter = MeteredMessage(shared)
    before = shared.bits
    plain.push(starts, freqs, precision)
    meter.push(starts, freqs, precision)
    assert shared == plain
    assert meter.pushes == count
    length = (precision - np.log2(freqs)).sum()
    assert shared.bits - before == pytest.approx(length + meter.rounding_bits, abs=1e-9)


def test_pushes_of_other_precisions_and_codecs_are_simulated_too():
    message = Message.random(4, 10, 0)
    meter, before = MeteredMessage(message), message.bits
    precisions = np.array([3, 24, 12, 1, 9, 7])
    meter.push(np.zeros(6, np.int64), np.ones(6, np.int64), precisions)
    assert message.bits - before == pytest.approx(precisions.sum() + meter.rounding_bits, abs=1e-9)
    table = np.array([[0, 1, 4, 16]], np.uint32)
    codec = codecs.categorical(table, np.zeros(5, np.int64), 4)
    middle, rounding = message.bits, meter.rounding_bits
    codec.push(meter, np.array([0, 1, 2, 1, 0]))
    length = 5 * 4 - 2 * np.log2(3) - np.log2(12)
    added = meter.rounding_bits - rounding
    assert message.bits - middle == pytest.approx(length + added, abs=1e-9)
    assert meter.pushes == 11
