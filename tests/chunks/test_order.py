"""The order of images as bits: what is popped is pushed back, and counts as it should."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsback.ans.message import Message
from bitsback.chunks import order
from bitsback.errors import EmptyMessageError


def images_of(numbers):
    """Different images for different numbers."""
    return [np.full((2, 3, 1), number, np.uint8) for number in numbers]


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)
def test_numbers_that_are_popped_are_pushed_back(numbers, heads, size, seed):
    images = images_of(numbers)
    images = [images[number] for number in order.canonical(images)]
    message = Message.random(heads, 400, seed)
    before = message.copy()
    remaining = order.Remaining([order.key(image) for image in images], 0)
    batches = []
    for begin in range(0, len(images), size):
        batches.append(remaining.pop(message, min(size, len(images) - begin)))
    taken = np.concatenate(batches)
    assert sorted(taken.tolist()) == list(range(len(images)))
    assert remaining.bits == pytest.approx(before.bits - message.bits)
    gathered = order.Gathered()
    for batch in reversed(batches):
        found = [images[number] for number in batch]
        gathered.push(message, found, found)
    assert message == before
    assert all(map(np.array_equal, gathered.images, images))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(0, 2**32 - 1))
def test_they_give_back_the_orders_that_tell_images_apart(numbers, seed):
    images = images_of(numbers)
    keys = sorted(map(order.key, images))
    message = Message.random(1, 2000, seed)
    remaining = order.Remaining(keys, 0)
    remaining.pop(message, len(keys))
    orders = math.lgamma(len(numbers) + 1) - sum(
        math.lgamma(numbers.count(number) + 1) for number in set(numbers)
    )
    assert remaining.promised_bits == pytest.approx(orders / math.log(2), abs=1e-6)
    error, bound = remaining.spread.limits
    assert abs(remaining.bits - remaining.promised_bits) <= 5 * error + bound + 1e-6


def test_a_message_without_bits_gives_no_number():
    remaining = order.Remaining(sorted(map(order.key, images_of(range(8)))), 0)
    with pytest.raises(EmptyMessageError):
        remaining.pop(Message.empty(1), 8)
