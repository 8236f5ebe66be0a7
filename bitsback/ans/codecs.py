"""Codecs: pairs of a push and a pop that undo each other, and the ways to combine them.

A codec's push puts symbols on a message, its pop takes them off again (which is also how one
samples from the codec's distribution); both change the message they are given and return it.
Symbols go in and come out in the shape that the codec was made for. Pushing a symbol to which the
codec gives no interval is a ValueError; popping more than a message holds, an EmptyMessageError.

Source: the pair and the combinators' meanings are those of craystack (Townsend et al.,
arXiv:1912.09953).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import cdf_index, compiled
from .message import U64, Message, outside_support, precision_array

S = TypeVar("S")
Array = NDArray[Any]
Shape = int | tuple[int, ...]
Interval = Callable[[Array, slice], tuple[Array, Array]]
Find = Callable[[U64, slice], Array]

_INT64 = np.dtype(np.int64)
_NO_MASKS = np.empty(0, np.uint64)


class Codec(NamedTuple, Generic[S]):
    """A push and a pop that undo each other."""

    push: Callable[[Message, S], Message]
    pop: Callable[[Message], tuple[Message, S]]


def from_intervals(
    interval: Interval, find: Find, shape: Shape, precision: ArrayLike
) -> Codec[Array]:
    """The codec that gives each symbol an interval of [0, 2**precision).

        interval(s) = (start, freq);  find(cf) = the s with start <= cf < start + freq

    Args:
        interval: (symbols, where) -> (starts, freqs), integers, for the symbols in the slice
            `where` of the flattened symbol array; a freq of 0 marks one outside the support.
        find: (cf, where) -> symbols, given cf, uint64 in [0, 2**precision).
        shape: of the symbol array.
        precision: integers in 0..24, a scalar or an array of that shape.

    Examples:
        >>> def interval(symbols, where):  # a 0 has 3 of the 4 numbers, a 1 the last one
        ...     return 3 * symbols, 3 - 2 * symbols
        >>> codec = from_intervals(interval, lambda cf, where: (cf == 3).astype(int), 2, 2)
        >>> message, symbols = codec.pop(codec.push(Message.empty(heads=1), np.array([0, 1])))
        >>> symbols, message.bits  # empty again
        (array([0, 1]), 0.0)
    """
    dims = (shape,) if isinstance(shape, int) else tuple(shape)
    n = int(np.prod(dims, dtype=np.int64))
    power = np.asarray(precision)
    if power.ndim:
        power = np.broadcast_to(power, dims).ravel()

    def lookup(cf: U64, where: slice) -> tuple[Array, Array, Array]:
        symbols = find(cf, where)
        return (symbols, *interval(symbols, where))

    def push(message: Message, symbols: Array) -> Message:
        starts, freqs = interval(_integers(symbols, dims), slice(0, n))
        message.push(starts, freqs, power)
        return message

    def pop(message: Message) -> tuple[Message, Array]:
        return message, message.pop(n, power, lookup).reshape(dims)

    return Codec(push, pop)


def _integers(symbols: ArrayLike, shape: tuple[int, ...]) -> Array:
    """The symbols as a flat array, if they are integers in that shape."""
    array = np.asarray(symbols)
    if array.shape != shape:
        raise ValueError(f"the codec takes symbols of shape {shape}, not {array.shape}")
    if array.dtype.kind not in "uib":
        raise ValueError(f"symbols must be integers, not {array.dtype}")
    return array.ravel()


def uniform(shape: Shape, precision: ArrayLike) -> Codec[Array]:
    """Symbols uniform over [0, 2**precision): `precision` bits each.

    Args:
        shape: of the symbol array (int64 when popped).
        precision: integers in 0..24, a scalar or an array of that shape.

    Examples:
        >>> message, codec = Message.empty(heads=2), uniform(shape=3, precision=8)
        >>> round(codec.push(message, np.array([7, 0, 255])).bits)  # 3 symbols of 8 bits
        24
        >>> codec.pop(message)[1]
        array([  7,   0, 255])
    """

    def interval(symbols: Array, where: slice) -> tuple[Array, Array]:
        return symbols, np.ones(len(symbols), np.uint64)

    def find(cf: U64, where: slice) -> Array:
        return cf.astype(np.int64)

    return from_intervals(interval, find, shape, precision)


def bernoulli(freq_of_one: ArrayLike, precision: int) -> Codec[Array]:
    """Bits that are 1 with probability freq_of_one / 2**precision.

    Args:
        freq_of_one: integers in 0..2**precision, one for each bit; their shape is the symbols'
            (int64 when popped). A 0 has the lower part of [0, 2**precision), a 1 the upper.
        precision: in 0..24.

    Examples:
        >>> message = Message.empty(heads=1)
        >>> codec = bernoulli(np.array([1, 8, 15]), precision=4)  # of 16
        >>> codec.pop(codec.push(message, np.array([0, 1, 1])))[1]
        array([0, 1, 1])
    """
    ones = np.asarray(freq_of_one)
    size = 1 << precision
    if ones.size and (ones.min() < 0 or ones.max() > size):
        raise ValueError(f"the frequency of a 1 must be in 0..{size}")
    zeros = (size - ones.ravel().astype(np.int64)).astype(np.uint64)

    def interval(symbols: Array, where: slice) -> tuple[Array, Array]:
        zero = zeros[where]
        one = symbols == 1
        freqs = np.where(one, np.uint64(size) - zero, zero)
        freqs[~one & (symbols != 0)] = 0
        return np.where(one, zero, np.uint64(0)), freqs

    def find(cf: U64, where: slice) -> Array:
        return (cf >= zeros[where]).astype(np.int64)

    return from_intervals(interval, find, ones.shape, precision)


def categorical(
    cumulative: Array, rows: ArrayLike, precision: int, masks: U64 | None = None
) -> Codec[Array]:
    """Symbols of 0..n-1, each under its own row of a table of cumulative frequencies.

        interval(s) = (C[row, s], C[row, s + 1] - C[row, s])

    Args:
        cumulative: unsigned integers (R, n + 1), non-decreasing along each row from 0 to
            2**precision.
        rows: integers in 0..R-1, the row of each symbol; their shape is the symbols' (int64 when
            popped).
        precision: in 0..24.
        masks: uint64 below 2**31, (K * blocks,) for messages of K heads. If given, blocks of K
            symbols are popped first to last, not last to first, and all heads are XORed with the
            block's masks before it is popped, and after it is pushed.

    Raises:
        ValueError: the table is not as above, or a row does not exist.

    Examples:
        >>> table = np.array([[0, 1, 2, 4], [0, 2, 4, 4]], np.uint32)  # its last symbol: never
        >>> codec = categorical(table, rows=[0, 1, 0], precision=2)
        >>> message, symbols = codec.pop(codec.push(Message.empty(heads=2), np.array([2, 1, 0])))
        >>> symbols
        array([2, 1, 0])
        >>> codec.push(message, np.array([0, 2, 0]))
        Traceback (most recent call last):
        ValueError: ...
    """
    chosen = np.asarray(rows)
    power = precision_array(precision, chosen.size)
    table = cdf_index.index(cumulative, precision, chosen.size)
    unsigned = chosen.ravel().astype(np.uint64)  # a row below 0 wraps round
    if np.count_nonzero(unsigned >= len(cumulative)):
        raise ValueError(f"rows must be in 0..{len(cumulative) - 1}")
    row = unsigned.view(_INT64)
    columns = cumulative.shape[1]
    # arrays, because NumPy takes longer over a scalar
    last, low = np.array(columns - 2, np.uint64), np.array((1 << precision) - 1, np.uint64)

    def masks_for(message: Message) -> U64:
        count = len(message.heads)
        if masks is None:
            return _NO_MASKS
        if masks.shape != (-(-len(row) // count) * count,):
            raise ValueError("there must be a mask for each head in each block")
        return compiled.plain(masks, np.uint64)

    def blocks(message: Message) -> list[tuple[slice, U64, Codec[Array]]]:
        count, mask = len(message.heads), masks_for(message)
        parts = [slice(begin, begin + count) for begin in range(0, len(row), count)]
        return [(p, mask[p], categorical(cumulative, row[p], precision)) for p in parts]

    def push(message: Message, symbols: Array) -> Message:
        flat = _integers(symbols, chosen.shape)
        if (loops := message.loops) is not None:
            wide = compiled.plain(flat, np.uint64)
            shared = table.cumulative, columns, row, wide, precision
            loop = loops.push_rows
            message.push_compiled(chosen.size, loop, *shared, masks_for(message))
            return message
        if masks is not None:
            with _all_or_nothing(message):
                for where, mask, codec in reversed(blocks(message)):
                    codec.push(message, flat[where])
                    message.heads ^= mask
            return message

        def interval(where: slice) -> tuple[U64, U64]:
            wide = flat[where].astype(np.uint64)  # so does a symbol below 0
            if np.count_nonzero(wide > last):
                raise outside_support()
            at = row[where] * columns
            at += wide.view(_INT64)
            freqs = table.freqs.take(at)
            if np.count_nonzero(freqs) != len(at):
                raise outside_support()
            return table.keys.take(at) & low, freqs

        message.push_trusted(chosen.size, power, interval)
        return message

    def pop(message: Message) -> tuple[Message, Array]:
        at = np.empty(chosen.size, np.int64)
        if (loops := message.loops) is not None:
            shared = table.cumulative, columns, table.guide, table.bits, row, precision
            message.pop_compiled(loops.pop_rows, *shared, masks_for(message), at)
            return message, at.reshape(chosen.shape)
        if masks is not None:
            with _all_or_nothing(message):
                for where, mask, codec in blocks(message):
                    message.heads ^= mask
                    at[where] = codec.pop(message)[1]
            return message, at.reshape(chosen.shape)
        first, origin = row * columns, unsigned << power

        def locate(cf: U64, where: slice) -> tuple[U64, U64]:
            cf += origin[where]
            at[where], offset, freqs = table.locate(cf, first[where])
            return offset, freqs

        message.pop_trusted(chosen.size, power, locate)
        at -= first
        return message, at.reshape(chosen.shape)

    return Codec(push, pop)


@contextlib.contextmanager
def _all_or_nothing(message: Message) -> Iterator[None]:
    heads, tail = message.heads.copy(), message.tail.mark()
    try:
        yield
    except Exception:
        message.heads[:] = heads
        message.tail.restore(tail)
        raise


def serial(codecs: Sequence[Codec[Any]]) -> Codec[tuple[Any, ...]]:
    """A tuple of symbols, each under its own codec; the codecs stand in the order of popping.

    Examples:
        >>> codec = serial([uniform(1, 4), uniform(2, 8)])
        >>> message = codec.push(Message.empty(heads=1), (np.array([9]), np.array([1, 2])))
        >>> codec.pop(message)[1]
        (array([9]), array([1, 2]))
    """
    parts = tuple(codecs)

    def push(message: Message, symbols: tuple[Any, ...]) -> Message:
        for codec, symbol in reversed(list(zip(parts, symbols, strict=True))):
            message = codec.push(message, symbol)
        return message

    def pop(message: Message) -> tuple[Message, tuple[Any, ...]]:
        symbols = []
        for codec in parts:
            message, symbol = codec.pop(message)
            symbols.append(symbol)
        return message, tuple(symbols)

    return Codec(push, pop)


def repeat(codec: Codec[S], n: int) -> Codec[tuple[S, ...]]:
    """A tuple of n symbols, all under one codec; the first of them is popped first.

    Examples:
        >>> codec = repeat(uniform(1, 4), 2)
        >>> codec.pop(codec.push(Message.empty(heads=1), (np.array([9]), np.array([3]))))[1]
        (array([9]), array([3]))
    """
    return serial([codec] * n)


def substack(codec: Codec[S], heads: slice | int) -> Codec[S]:
    """The codec on some of a message's heads (a slice, or the first n); the tail is shared.

    Examples:
        >>> message = Message.empty(heads=4)
        >>> message = substack(uniform(2, 8), heads=2).push(message, np.array([5, 6]))
        >>> np.log2(message.heads).round(1)
        array([39., 39., 31., 31.])
    """
    view = heads if isinstance(heads, slice) else slice(0, heads)

    def push(message: Message, symbol: S) -> Message:
        codec.push(Message(message.heads[view], message.tail), symbol)
        return message

    def pop(message: Message) -> tuple[Message, S]:
        _, symbol = codec.pop(Message(message.heads[view], message.tail))
        return message, symbol

    return Codec(push, pop)
