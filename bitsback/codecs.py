"""Codecs: pairs of a push and a pop that undo each other, and the ways to combine them.

A codec's push puts symbols on a message, its pop takes them off again (which is also how one
samples from the codec's distribution); both change the message they are given and return it.
Symbols go in and come out in the shape that the codec was made for. Pushing a symbol to which the
codec gives no interval is a ValueError; popping more than a message holds, an EmptyMessageError.

Source: the pair and the combinators' meanings are those of craystack (Townsend et al.,
arXiv:1912.09953).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitsback.ans import U64, Message

S = TypeVar("S")
Array = NDArray[Any]
Shape = int | tuple[int, ...]
Interval = Callable[[Array, slice], tuple[Array, Array]]
Find = Callable[[U64, slice], Array]


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
        symbols = np.asarray(symbols)
        if symbols.shape != dims:
            raise ValueError(f"the codec takes symbols of shape {dims}, not {symbols.shape}")
        if symbols.dtype.kind not in "uib":
            raise ValueError(f"symbols must be integers, not {symbols.dtype}")
        starts, freqs = interval(symbols.ravel(), slice(0, n))
        message.push(starts, freqs, power)
        return message

    def pop(message: Message) -> tuple[Message, Array]:
        return message, message.pop(n, power, lookup).reshape(dims)

    return Codec(push, pop)


def uniform(shape: Shape, precision: ArrayLike) -> Codec[Array]:
    """Symbols uniform over [0, 2**precision): `precision` bits each.

    Args:
        shape: of the symbol array (int64 when popped).
        precision: integers in 0..24, a scalar or an array of that shape.
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


def categorical(cumulative: Array, rows: ArrayLike, precision: int) -> Codec[Array]:
    """Symbols of 0..n-1, each under its own row of a table of cumulative frequencies.

        interval(s) = (C[row, s], C[row, s + 1] - C[row, s])

    Args:
        cumulative: unsigned integers (R, n + 1), non-decreasing along each row from 0 to
            2**precision.
        rows: integers in 0..R-1, the row of each symbol; their shape is the symbols' (int64 when
            popped).
        precision: in 0..24.

    Raises:
        ValueError: the table's ends are not 0 and 2**precision, or a row does not exist.
    """
    count, last = cumulative.shape[0], cumulative.shape[1] - 1
    chosen = np.asarray(rows)
    if np.any(cumulative[:, 0]) or np.any(cumulative[:, last] != 1 << precision):
        raise ValueError("every row of a cumulative table must run from 0 to 2**precision")
    if chosen.size and (chosen.min() < 0 or chosen.max() >= count):
        raise ValueError(f"rows must be in 0..{count - 1}")
    table = np.ascontiguousarray(cumulative).ravel()
    base = chosen.ravel().astype(np.int64) * (last + 1)

    def interval(symbols: Array, where: slice) -> tuple[Array, Array]:
        known = (symbols >= 0) & (symbols < last)
        at = base[where] + np.where(known, symbols, 0).astype(np.int64)
        starts = table.take(at).astype(np.uint64)
        return starts, np.where(known, table.take(at + 1).astype(np.uint64) - starts, 0)

    def find(cf: U64, where: slice) -> Array:
        # the largest s with C[s] <= cf, by halving steps; min() keeps the probes inside the row
        row = base[where]
        symbols = np.zeros(len(row), np.int64)
        step = 1 << max(last - 1, 0).bit_length()
        while step := step >> 1:
            probe = np.minimum(symbols + step, last - 1)
            symbols = np.where(table.take(row + probe) <= cf, probe, symbols)
        return symbols

    return from_intervals(interval, find, chosen.shape, precision)


def serial(codecs: Sequence[Codec[Any]]) -> Codec[tuple[Any, ...]]:
    """A tuple of symbols, each under its own codec; the codecs stand in the order of popping."""
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
    """A tuple of n symbols, all under one codec; the first of them is popped first."""
    return serial([codec] * n)


def substack(codec: Codec[S], heads: slice | int) -> Codec[S]:
    """The codec on some of a message's heads (a slice, or the first n); the tail is shared."""
    view = heads if isinstance(heads, slice) else slice(0, heads)

    def push(message: Message, symbol: S) -> Message:
        codec.push(Message(message.heads[view], message.tail), symbol)
        return message

    def pop(message: Message) -> tuple[Message, S]:
        _, symbol = codec.pop(Message(message.heads[view], message.tail))
        return message, symbol

    return Codec(push, pop)
