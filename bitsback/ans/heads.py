"""The same message on another number of heads: many are fast, one is what a file stores."""

from itertools import pairwise

import numpy as np

from .message import DEFAULT_HEADS, HEAD_BITS, MAX_PRECISION, U64, Message

_ONE = np.array(1, np.uint64)


def resize(message: Message, heads: int) -> Message:
    """The same information on another number of heads; resizing back gives the same message.

    A head goes on the stack as its bit length (32..63, uniform: 5 bits), then the bits below its
    leading one (uniform, in chunks of at most 24). Sizes double, so K heads take log2(K) rounds.
    Growing pops 36..67 bits for each new head, so `bits` falls by about 36 a head; shrinking gives
    them back.

    Args:
        message: is left as it is.
        heads: the new number of heads, at least 1.

    Raises:
        EmptyMessageError: the message holds too few bits for more heads.
    """
    resized = message.copy()
    now = len(message.heads)
    sizes = [min(now, heads)]
    while sizes[-1] < max(now, heads):
        sizes.append(min(2 * sizes[-1], max(now, heads)))
    steps = list(pairwise(sizes))
    for small, big in steps if heads > now else reversed(steps):
        kept = Message(resized.heads[:small].copy(), resized.tail)
        if heads > now:
            new = _pop_heads(kept, big - small)
            kept.heads = np.concatenate([kept.heads, new])
        else:
            _push_heads(kept, resized.heads[small:])
        resized = kept
    return resized


def fold(message: Message) -> Message:
    """The message on one head, the form that a file stores: `resize(message, 1)`."""
    return resize(message, 1)


def unfold(message: Message, heads: int = DEFAULT_HEADS) -> Message:
    """The inverse of `fold`: `resize(message, heads)`; pops 36..67 bits for each head but one."""
    return resize(message, heads)


def _chunks(length: U64) -> tuple[U64, U64, U64]:
    """Widths of the chunks that the bits below the leading one are cut into, low to high."""
    most = np.uint64(MAX_PRECISION)
    first = np.minimum(length, most)
    second = np.minimum(length - first, most)
    return first, second, length - first - second


def _push_heads(message: Message, heads: U64) -> None:
    # floats round log2 near a power of two, so the bits are counted by comparison
    length = 31 + np.sum(heads[:, None] >> np.arange(32, HEAD_BITS, dtype=np.uint64) > 0, axis=1)
    rest = heads ^ (_ONE << length.astype(np.uint64))
    for width in _chunks(length.astype(np.uint64)):
        message.push(rest & ((_ONE << width) - _ONE), _ONE, width)
        rest >>= width
    message.push(length - 31, _ONE, 5)


def _pop_heads(message: Message, count: int) -> U64:
    length = message.pop(count, 5, _uniform) + np.uint64(31)
    heads = np.ones(count, np.uint64)
    for width in reversed(_chunks(length)):
        heads = (heads << width) | message.pop(count, width, _uniform)
    return heads


def _uniform(cf: U64, where: slice) -> tuple[U64, U64, U64]:
    return cf, cf, np.ones_like(cf)
