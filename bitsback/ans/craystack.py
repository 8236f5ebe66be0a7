"""craystack's codecs on our messages, and ours on its messages.

A craystack message is a pair (head, tail): a uint64 array of any shape, and a linked list of
uint32 arrays, (newest, (older, (... ()))). Its codecs are pure functions on such pairs. Both
directions here move only the words that a call really pushes or pops.

Source: github.com/j-towns/craystack, `rans.py` and `codecs/codecs.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from bitsback.errors import EmptyMessageError

from .codecs import Codec
from .message import Message
from .tail import U32, Tail

CraystackMessage = tuple[Any, Any]


class CraystackCodec(NamedTuple):
    """A pair in craystack's form: push gives a 1-tuple of the message, pop (message, symbols)."""

    push: Callable[[CraystackMessage, Any], tuple[CraystackMessage]]
    pop: Callable[[CraystackMessage], tuple[CraystackMessage, Any]]


def message_to_craystack(message: Message) -> CraystackMessage:
    """The same message as a (head, tail) pair; nothing is shared with the original."""
    words = message.words[::-1].copy()
    return message.heads.copy(), ((words, ()) if len(words) else ())


def message_from_craystack(pair: CraystackMessage) -> Message:
    """The same message from a (head, tail) pair; a head of any shape is read in C order."""
    head, tail = pair
    chunks = [np.empty(0, np.uint32), *_chunks(tail)]
    words = np.concatenate(chunks)[::-1].astype(np.uint32)
    return Message(np.array(head, np.uint64).ravel(), words)


def from_craystack(codec: tuple[Callable[..., Any], Callable[..., Any]]) -> Codec[Any]:
    """A codec on our messages from a craystack (push, pop), for heads of shape (K,).

    Args:
        codec: push: (message, symbols) -> message or (message,);
            pop: message -> (message, symbols).

    Raises:
        EmptyMessageError: from pop, where craystack would go on with random bits. The message is
            unchanged.
    """
    their_push, their_pop = codec

    def push(message: Message, symbols: Any) -> Message:
        pushed = their_push(_lend(message), symbols)
        _take_back(message, pushed[0] if len(pushed) == 1 else pushed)
        return message

    def pop(message: Message) -> tuple[Message, Any]:
        rest, symbols = their_pop(_lend(message))
        _take_back(message, rest)
        return message, symbols

    return Codec(push, pop)


def to_craystack(codec: Codec[Any]) -> CraystackCodec:
    """A craystack (push, pop) from one of our codecs; it leaves the pair it is given as it was.

    Raises:
        EmptyMessageError: from pop, when the linked list has no more words.
    """

    def start(pair: CraystackMessage) -> tuple[Message, _LinkedTail]:
        tail = _LinkedTail(pair[1])
        return Message(np.array(pair[0], np.uint64).ravel(), tail), tail

    def push(pair: CraystackMessage, symbols: Any) -> tuple[CraystackMessage]:
        message, tail = start(pair)
        codec.push(message, symbols)
        return ((message.heads.reshape(np.shape(pair[0])), tail.linked()),)

    def pop(pair: CraystackMessage) -> tuple[CraystackMessage, Any]:
        message, tail = start(pair)
        _, symbols = codec.pop(message)
        return (message.heads.reshape(np.shape(pair[0])), tail.linked()), symbols

    return CraystackCodec(push, pop)


class _Bottom(tuple[Any, ...]):
    """The end of a linked list that may be asked whether it is empty, but not for its contents."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def _empty(self, *_: object) -> NoReturn:
        raise EmptyMessageError(32)

    __len__ = __iter__ = __getitem__ = _empty


class _LinkedTail(Tail):
    """A tail that fetches words from a linked list when its own have run out."""

    __slots__ = ("older",)

    def __init__(self, older: Any) -> None:
        super().__init__(np.empty(0, np.uint32))
        self.older = older

    def mark(self) -> tuple[Any, ...]:
        return (*super().mark(), self.buffer, self.older)

    def restore(self, mark: tuple[Any, ...]) -> None:
        *mine, self.buffer, self.older = mark
        super().restore(tuple(mine))

    def refill(self, missing: int) -> None:
        fetched = []
        while missing > 0:
            if not self.older:
                raise EmptyMessageError(32 * missing)
            chunk, rest = self.older
            fetched.append(chunk[:missing])
            self.older = (chunk[missing:], rest) if len(chunk) > missing else rest
            missing -= len(fetched[-1])
        words = np.concatenate(fetched)[::-1].astype(np.uint32)
        self.buffer = np.concatenate([words, self.buffer[: self.size]])
        self.size += len(words)

    def linked(self) -> Any:
        newest = self.buffer[: self.size][::-1]
        return (newest, self.older) if len(newest) else self.older


def _chunks(tail: Any) -> Iterator[U32]:
    while tail:
        chunk, tail = tail
        yield chunk


def _lend(message: Message) -> CraystackMessage:
    # a view of the buffer, so that lending costs nothing however long the tail is
    words = message.words[::-1]
    words.flags.writeable = False
    return message.heads.copy(), ((words, _Bottom()) if len(words) else _Bottom())


def _take_back(message: Message, pair: CraystackMessage) -> None:
    head, linked = pair
    tail = message.tail
    chunks = [chunk for chunk in _chunks(linked) if len(chunk)]
    # what is left of the lent view is the one chunk that ends on our oldest word
    left = 0
    if tail.size and chunks and _last_address(chunks[-1]) == _last_address(message.words[:1]):
        left = len(chunks.pop())
    new = np.concatenate([np.empty(0, np.uint32), *chunks])  # a copy: it may view our buffer
    message.heads[:] = head
    tail.size = left
    tail.lowest = min(tail.lowest, left)
    tail.push(new)


def _last_address(words: U32) -> int:
    address: int = words.__array_interface__["data"][0]
    return address + (len(words) - 1) * words.strides[0]
