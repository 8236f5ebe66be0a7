"""The stack of a lossy file: latents under their priors, and hardly a bit more.

A head of `ans` holds 31 bits before anything is pushed. Here nothing is popped first, so that no
bits need lie there: a stack of one head begins at 1. It is 1 again when all is popped; otherwise it
is damaged (a stack that was cut short runs down to 0 and stays there). The first symbol costs up to
24 bits; from then on pushes cost what they should. Many heads are faster where there is much to
store: they begin as those of `ans` do, and are folded into one.
"""

import numpy as np
from numpy.typing import NDArray

from bitsback.ans.heads import fold, unfold
from bitsback.ans.message import Message
from bitsback.coding.latents import prior_codec
from bitsback.errors import EmptyMessageError, FormatError
from bitsback.tables import tables

_HEAD = 8
_DAMAGED = "the file is cut short or damaged: its latents do not end where they began"


def empty(heads: int) -> Message:
    """A stack that holds nothing."""
    if heads == 1:
        return Message(np.ones(1, np.uint64), np.empty(0, np.uint32))
    return Message.empty(heads)


def push(message: Message, rows: NDArray[np.int64], columns: NDArray[np.uint8]) -> None:
    """Push columns of rows of the prior's table."""
    prior_codec(rows).push(message, columns)


def pop(message: Message, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Inverse of `push`.

    Raises:
        FormatError: the stack holds too little.
    """
    try:
        return prior_codec(rows).pop(message)[1]
    except EmptyMessageError as error:
        if len(message.heads) > 1:
            raise FormatError(_DAMAGED) from error
        columns = _pop_last(message, rows)
        if int(message.heads[0]) == 0:  # where no stack ever is, and none returns from
            raise FormatError(_DAMAGED) from error
        return columns


def _pop_last(message: Message, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """`pop` from a stack of one head that may run out of words, when its head grows smaller."""
    head, words = int(message.heads[0]), message.words.tolist()
    table, columns = tables.prior_table(), np.empty(rows.size, np.int64)
    for index in range(rows.size - 1, -1, -1):
        row = table[rows.ravel()[index]]
        number = head & (tables.TOTAL - 1)
        column = int(row.searchsorted(number, "right")) - 1
        start, end = int(row[column]), int(row[column + 1])
        head = (head >> tables.PRECISION) * (end - start) + number - start
        if head < 1 << 31 and words:
            head = head << 32 | words.pop()
        columns[index] = column
    message.heads[0] = head
    message.tail.pop(message.tail.size - len(words))
    return columns.reshape(rows.shape)


def to_bytes(message: Message) -> bytes:
    """The stack in as few whole bytes as it fits into: the head, then words, newest first."""
    one = message if len(message.heads) == 1 else fold(message)
    head, words = int(one.heads[0]), one.words[::-1]
    size = -(-head.bit_length() // 8)
    if len(words):
        size = max(size, 5)  # 5 to 8, so that the size of all tells that of the head
    return head.to_bytes(size, "big") + words.astype(">u4").tobytes()


def from_bytes(data: bytes, heads: int) -> Message:
    """Inverse of `to_bytes`.

    Raises:
        FormatError: this is no stack of so many heads.
    """
    count = max(0, (len(data) - 5) // 4)
    size = len(data) - 4 * count
    head = int.from_bytes(data[:size], "big")
    words = np.frombuffer(data[size:], ">u4")[::-1].astype(np.uint32)
    smallest = 1 << 31 if count or heads > 1 else 0
    if not smallest <= head < 1 << 63 or (data[:1] == b"\0" and size != 5):
        raise FormatError(_DAMAGED)
    message = Message(np.array([head], np.uint64), words)
    try:
        return message if heads == 1 else unfold(message, heads)
    except EmptyMessageError as error:
        raise FormatError(_DAMAGED) from error


def check_end(message: Message) -> None:
    """Make sure that nothing is left once all has been popped.

    Raises:
        FormatError: there is, or less than nothing.
    """
    if not message == empty(len(message.heads)):
        raise FormatError(_DAMAGED)
