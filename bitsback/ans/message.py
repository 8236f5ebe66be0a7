"""The message: a vectorised rANS stack of 64-bit heads over a tail of 32-bit words.

Each head x is a number in [2**31, 2**63). Pushing a symbol that owns the interval
[start, start + freq) of [0, 2**precision) makes x larger by the factor 2**precision / freq; popping
undoes it. A head about to grow out of its range first moves its low 32 bits to the tail:

    0                                                   2**precision
    |     a     |         !b!          |    c    |    d    |
                |<------ freq -------->|
              start        ^ cf = x mod 2**precision: the symbol a pop finds

Source: J. Duda, arXiv:1311.2540; F. Giesen, arXiv:1402.3392 (interleaved heads). Head range, order
of the words and flattened layout are those of craystack.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitsback.errors import FormatError

from . import compiled
from .tail import U32, Tail

U64 = NDArray[np.uint64]
Lookup = Callable[[U64, slice], tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]
Interval = Callable[[slice], tuple[U64, U64]]
Locate = Callable[[U64, slice], tuple[U64, U64]]

MAX_PRECISION = 24
DEFAULT_HEADS = 128

HEAD_BITS = 63
_PIECE = 1 << 15  # symbols whose intervals are computed together

# arrays, because NumPy takes 0.2 us longer over a scalar
_TOP = np.array(HEAD_BITS, np.uint64)
_LOW = np.array(1 << 31, np.uint64)
_WORD = np.array(32, np.uint64)
_ONE = np.array(1, np.uint64)


class Message:
    """The mutable state of a coder: K heads and the tail they share.

    Args:
        heads: uint64 (K,), each in [2**31, 2**63). Kept, not copied: pushes and pops change it.
        tail: uint32 words, oldest first, or the tail of another message to be shared with it.

    Examples:
        >>> message = Message.empty(heads=1)
        >>> message.push([4], [2], precision=3)  # the interval [4, 6) of [0, 8): 2 bits
        >>> round(message.bits, 3)
        2.0
        >>> Message(message.heads, message.words) == message
        True
    """

    __slots__ = ("heads", "tail")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, heads: U64, tail: U32 | Tail) -> None:
        self.heads = heads
        self.tail = tail if isinstance(tail, Tail) else Tail(tail)

    @classmethod
    def empty(cls, heads: int = DEFAULT_HEADS) -> Message:
        """A message of `heads` heads that holds 0 bits."""
        return cls(np.full(heads, _LOW), np.empty(0, np.uint32))

    @classmethod
    def random(cls, heads: int, words: int, seed: int) -> Message:
        """A message of `heads` log-uniform heads over `words` uniform words, from `seed`."""
        rng = np.random.default_rng(seed)
        leading = _ONE << rng.integers(31, HEAD_BITS, heads, dtype=np.uint64)
        low = rng.integers(0, 1 << HEAD_BITS, heads, dtype=np.uint64)
        tail = rng.integers(0, 1 << 32, words, dtype=np.uint32)
        return cls(leading | (low & (leading - _ONE)), tail)

    def copy(self) -> Message:
        """An independent message with the same content and low-water mark."""
        twin = Message(self.heads.copy(), self.words.copy())
        twin.tail.lowest = self.tail.lowest
        return twin

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return np.array_equal(self.heads, other.heads) and np.array_equal(self.words, other.words)

    @property
    def words(self) -> U32:
        """The tail's words, oldest first: a view that the next push may overwrite."""
        return self.tail.buffer[: self.tail.size]

    @property
    def bits(self) -> float:
        """Information content in bits: sum(log2(heads) - 31) + 32 * len(tail).

        A push adds precision - log2(freq) to log2 of its head (up to integer rounding: under 2**-5
        bits at precision 24, far less on average), and moving a word to the tail only changes where
        32 bits are counted. 31 is what an untouched head holds, so an empty message has 0.
        """
        return float(np.sum(np.log2(self.heads) - 31.0)) + 32.0 * self.tail.size

    @property
    def lowest_words(self) -> int:
        """The fewest words the tail has held since `track_low_water` (or since it was made).

        Coding once on an ample message of n words needs just its n - lowest_words topmost ones.
        """
        return self.tail.lowest

    def track_low_water(self) -> None:
        """Start measuring `lowest_words` from the present length."""
        self.tail.lowest = self.tail.size

    def push(self, starts: ArrayLike, freqs: ArrayLike, precision: ArrayLike) -> None:
        """Encode n symbols, symbol i on head i mod K, in blocks of K.

            x <- (x // freq) * 2**precision + x mod freq + start

        Args:
            starts: integers (n,), the first number of each symbol's interval.
            freqs: integers (n,), the widths of the intervals.
            precision: integers () or (n,) in 0..24; the intervals lie in [0, 2**precision).

        Raises:
            ValueError: an interval is empty or leaves [0, 2**precision). The message is unchanged.
        """
        start = _unsigned(starts)
        n = len(start)
        freq = np.broadcast_to(_unsigned(freqs), (n,))
        power = precision_array(precision, n)
        if (loops := self.loops) is not None:
            intervals = (compiled.plain(array, np.uint64) for array in (start, freq))
            self.push_compiled(n, loops.push_intervals, *intervals, power.reshape(-1))
            return
        size = _ONE << power
        # a freq of 0 wraps round to the largest integer and fails the first test
        if np.count_nonzero((freq - _ONE) >= size) or np.count_nonzero(start > size - freq):
            raise outside_support()
        self.push_trusted(n, power, lambda where: (start[where], freq[where]))

    @property
    def loops(self) -> ModuleType | None:
        """The module `loops`, for `push_compiled` and `pop_compiled`; None where NumPy must do."""
        return compiled.loops("ans") if type(self.tail) is Tail else None

    def push_compiled(self, n: int, loop: Callable[..., int], *parameters: Any) -> None:
        """Push n symbols by a loop of `loops`.

        Args:
            parameters: what the loop takes after heads, tail and size.

        Raises:
            ValueError: as in `push`. The message is unchanged.
        """
        heads = self.heads.copy()
        size = loop(heads, self.tail.room(n), self.tail.size, *parameters)
        if size < 0:
            raise outside_support()
        self.heads[:], self.tail.size = heads, size

    def pop_compiled(self, loop: Callable[..., int], *parameters: Any) -> None:
        """Pop symbols by a loop of `loops`, into one of its parameters.

        Raises:
            EmptyMessageError: as in `pop`. The message is unchanged.
        """
        heads = self.heads.copy()
        size = loop(heads, self.tail.room(1), self.tail.size, *parameters)
        if size < 0:
            self.tail.refill(-size)
        self.heads[:], self.tail.size = heads, size
        self.tail.lowest = min(self.tail.lowest, size)

    def push_trusted(self, n: int, power: U64, interval: Interval) -> None:
        """`push` for intervals that are known to be right.

        Args:
            n: number of symbols.
            power: `precision_array` of the precision.
            interval: where -> (starts, freqs), uint64, of the symbols in the slice `where`; asked
                for a piece of the n at a time, so that what is computed stays in the cache.

        Raises:
            Exception: whatever `interval` raises. The message is unchanged.
        """
        count = len(self.heads)
        whole = n - n % count
        step = count * max(1, _PIECE // count)
        heads_before, tail_before = self.heads.copy(), self.tail.mark()
        try:
            for lo, hi in pairwise([*range(0, whole, step), whole]):
                self._push_blocks(*interval(slice(lo, hi)), _part(power, slice(lo, hi)), count)
            if whole < n:
                rest = slice(whole, n)
                self._push_blocks(*interval(rest), _part(power, rest), n - whole)
        except Exception:
            self.heads[:] = heads_before
            self.tail.restore(tail_before)
            raise

    def _push_blocks(self, start: U64, freq: U64, power: U64, width: int) -> None:
        limit = freq << (_TOP - power)
        rest = (_ONE << power) - freq
        heads = self.heads[:width]
        blocks = (array.reshape(-1, width) for array in (limit, freq, rest, start))
        for limits, freqs, rests, starts in zip(*blocks, strict=True):
            full = (heads >= limits).nonzero()[0]
            if full.size:
                spill = heads[full]
                self.tail.push(spill)
                spill >>= _WORD
                heads[full] = spill
            # the formula of `push`, with x mod freq = x - (x // freq) * freq
            gain = heads // freqs
            gain *= rests
            gain += starts
            heads += gain

    def pop(self, n: int, precision: ArrayLike, lookup: Lookup) -> NDArray[Any]:
        """Decode n symbols: the exact inverse of the push of the same n.

            cf = x mod 2**precision;  x <- (x // 2**precision) * freq + cf - start

        Args:
            n: number of symbols; blocks of K are visited last to first.
            precision: as in `push`.
            lookup: (cf, where) -> (symbols, starts, freqs) for the symbols in the slice `where` of
                the n, given cf, uint64 in [0, 2**precision), one per symbol.

        Returns:
            symbols (n,), of the dtype that lookup returns.

        Raises:
            EmptyMessageError: at least so many bits were missing. The message is unchanged.
            ValueError: lookup gave an interval that does not hold cf. The message is unchanged.
        """
        symbols: NDArray[Any] = np.empty(0, np.int64)

        def locate(cf: U64, where: slice) -> tuple[U64, U64]:
            nonlocal symbols
            own, starts, freqs = lookup(cf, where)
            freq = _unsigned(freqs)
            offset = cf - _unsigned(starts)  # a start beyond cf wraps round and fails the test
            if np.count_nonzero(offset >= freq):
                raise ValueError("lookup returned an interval that does not hold cf")
            if len(symbols) != n:
                symbols = np.empty(n, own.dtype)
            symbols[where] = own
            return offset, freq

        self.pop_trusted(n, precision_array(precision, n), locate)
        return symbols

    def pop_trusted(self, n: int, power: U64, locate: Locate) -> None:
        """`pop` for intervals that are known to be right; `locate` keeps the symbols.

        Args:
            n: number of symbols; blocks of K are visited last to first.
            power: `precision_array` of the precision.
            locate: (cf, where) -> (cf - starts, freqs), uint64, of the symbols in the slice
                `where`; it may change cf.

        Raises:
            EmptyMessageError: as in `pop`. The message is unchanged.
            Exception: whatever `locate` raises. The message is unchanged.
        """
        mask = np.asarray((_ONE << power) - _ONE)
        width = len(self.heads)
        heads_before, tail_before = self.heads.copy(), self.tail.mark()
        try:
            for lo in reversed(range(0, n, width)):
                where = slice(lo, min(lo + width, n))
                heads = self.heads[: where.stop - lo]
                offset, freq = locate(heads & _part(mask, where), where)
                heads >>= _part(power, where)
                heads *= freq
                heads += offset
                low = (heads < _LOW).nonzero()[0]
                if low.size:
                    grown = heads[low]
                    grown <<= _WORD
                    grown |= self.tail.pop(low.size)
                    heads[low] = grown
        except Exception:
            self.heads[:] = heads_before
            self.tail.restore(tail_before)
            raise


def flatten(message: Message) -> U32:
    """The message as words: heads >> 32, heads & 0xffffffff, then the tail, newest chunk first.

    Returns:
        uint32 (2 K + len(tail),), word for word what craystack's `rans.flatten` gives.
    """
    heads = message.heads
    return np.concatenate(
        [(heads >> _WORD).astype(np.uint32), heads.astype(np.uint32), message.words[::-1]]
    )


def unflatten(words: U32, heads: int) -> Message:
    """The inverse of `flatten`.

    Args:
        words: uint32 (at least 2 * heads,).
        heads: K, the number of heads that were flattened.

    Raises:
        FormatError: there are too few words, or a head is outside [2**31, 2**63).
    """
    if heads < 1 or len(words) < 2 * heads:
        raise FormatError(f"a message of {heads} heads cannot have only {len(words)} words")
    parts = words[: 2 * heads].astype(np.uint64).reshape(2, heads)
    state = (parts[0] << _WORD) | parts[1]
    if np.any(state < _LOW) or np.any(state >> np.uint64(HEAD_BITS)):
        raise FormatError("a head of the message is outside [2**31, 2**63)")
    return Message(state, words[2 * heads :][::-1].astype(np.uint32))


def _unsigned(values: ArrayLike) -> U64:
    array = np.asarray(values)
    if array.dtype.kind not in "uib":
        raise ValueError(f"the coder takes integers only, not {array.dtype}")
    return array.astype(np.uint64, copy=False)


def precision_array(precision: ArrayLike, n: int) -> U64:
    """A precision as the uint64 array, () or (n,), that the trusted push and pop take.

    Raises:
        ValueError: it is not in 0..24, or has another shape.
    """
    power = _unsigned(precision)
    if power.ndim and power.shape != (n,):
        raise ValueError(f"precision must be a scalar or ({n},), not {power.shape}")
    if np.count_nonzero(power > MAX_PRECISION):
        raise ValueError(f"precision must be in 0..{MAX_PRECISION}")
    return power


def outside_support() -> ValueError:
    """The error of pushing a symbol that has no interval."""
    return ValueError(
        "a symbol is outside its codec's support: its interval is empty or leaves [0, 2**precision)"
    )


def _part(array: U64, where: slice) -> U64:
    return array[where] if array.ndim else array
