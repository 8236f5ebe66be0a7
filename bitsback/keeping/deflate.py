"""Which settings of zlib made a stream, found by trial.

Source: RFC 1950 for the stream's two first bytes; `zlib.compressobj` for the settings.
"""

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

# Bytes of a stream that settings are tried on, where a wrong one shows after some 32 KiB. Of data
# that begin with one colour these are many more.
FIRST = 1 << 16
_BLOCK = 1 << 14
# By the level that the second byte tells: 0 fastest, 1 fast, 2 the default, 3 slowest.
_LEVELS = ((1, 0), (5, 4, 3, 2), (6,), (9, 8, 7))
_STRATEGIES = (zlib.Z_FILTERED, zlib.Z_DEFAULT_STRATEGY)
_FAST_STRATEGIES = (zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY)
_MEMORIES = (9, 8)
_ENOUGH = 2


class Settings(NamedTuple):
    """Of zlib: level 0 to 9, memory 1 to 9, strategy 0 to 4, window 9 to 15 (bits)."""

    level: int
    memory: int
    strategy: int
    window: int


# Level 9 takes four times as long as 3. Streams of photographs are as small with 3; of what repeats
# they are not.
_FAST = Settings(3, 9, zlib.Z_DEFAULT_STRATEGY, 15)
_SMALL = Settings(9, 9, zlib.Z_FILTERED, 15)
STORED = Settings(0, 9, zlib.Z_DEFAULT_STRATEGY, 15)
_SAMPLE, _WORTH = 1 << 16, 0.98  # bytes that both are tried on; share that must be left


def compress(data: bytes, settings: Settings) -> bytes:
    """A zlib stream of data.

    Raises:
        ValueError: zlib does not know such settings.
    """
    packer = _packer(settings)
    return packer.compress(data) + packer.flush()


def fitting(data: bytes) -> Settings:
    """Settings for a stream that need not equal another: fast, or slow where that is worth it."""
    middle = max(0, len(data) - _SAMPLE) // 2
    sample = data[middle : middle + _SAMPLE]
    fast, slow = (len(compress(sample, settings)) for settings in (_FAST, _SMALL))
    return _SMALL if slow < _WORTH * fast else _FAST


def inflate(stream: bytes, most: int) -> tuple[bytes, bytes] | None:
    """The data of a zlib stream, and the bytes after its end; None if it is damaged.

    Args:
        most: bytes that the data may be.
    """
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(stream, most + 1)
    except zlib.error:
        return None
    return (data, unpacker.unused_data) if unpacker.eof and len(data) <= most else None


@dataclass
class Search:
    """What earlier files of a set teach the search for settings.

    Args:
        last: settings that were found last; they are tried first.
        failures: how many streams of a kind no settings gave; after `_ENOUGH` only `last` is tried.
    """

    last: Settings | None = None
    failures: Counter[bytes] = field(default_factory=Counter)

    def candidates(self, data: bytes, stream: bytes, kind: bytes) -> Iterator[Settings]:
        """Settings under which the beginning of data becomes the beginning of a stream.

        Args:
            kind: what streams of one program have in common.
        """
        if self.last is not None and _begins(data, stream, self.last):
            yield self.last
        if self.failures[kind] < _ENOUGH:
            for settings in _plausible(stream):
                if settings != self.last and _begins(data, stream, settings):
                    yield settings

    def found(self, settings: Settings) -> None:
        """Note that settings gave a stream."""
        self.last = settings

    def failed(self, kind: bytes) -> None:
        """Note that none did."""
        self.failures[kind] += 1


def _plausible(stream: bytes) -> Iterator[Settings]:
    window = max(9, (stream[0] >> 4) + 8)
    told = stream[1] >> 6
    for strategy in _STRATEGIES if told else (*_STRATEGIES, *_FAST_STRATEGIES):
        # The level is no matter where strings are not sought.
        for level in (1,) if strategy in _FAST_STRATEGIES else _LEVELS[told]:
            for memory in _MEMORIES:
                yield Settings(level, memory, strategy, window)


def _begins(data: bytes, stream: bytes, settings: Settings) -> bool:
    packer, made = _packer(settings), 0
    for begin in range(0, len(data), _BLOCK):
        if made >= FIRST:
            break
        out = packer.compress(data[begin : begin + _BLOCK])
        if stream[made : made + len(out)] != out:
            return False
        made += len(out)
    return True


def _packer(settings: Settings) -> "zlib._Compress":
    level, memory, strategy, window = settings
    return zlib.compressobj(level, zlib.DEFLATED, window, memory, strategy)
