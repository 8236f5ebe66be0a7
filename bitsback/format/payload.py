"""The payload at the bottom of the stack: what a chunk holds beside its pixels.

Three parts one after another: the manifest (compact JSON in ASCII, how to rebuild the source), the
extra arrays or the sidecars, and the caller's own bytes. Each part is its length, its stored length
(both LEB128) and its stored bytes. Where the stored length is smaller than the length, the bytes
are a raw LZMA2 stream (preset 6, no container around it), or, of a part of at most 256 bytes, a raw
DEFLATE stream whose window begins with `_WORDS`: a short chain should not pay for what most
manifests have in common.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from bitsback.errors import FormatError

from . import varint, xz

JsonValue: TypeAlias = (
    "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
)

_PRESET = 6
_SHORT = 256
_WHOSE = "its payload is damaged: it"
# Part of the format. What is likeliest comes last, where a match is cheapest.
_WORDS = (
    b'{"binary":false,"kind":"folder","modes":["L","RGB"],"names":[".png"],"shapes":[[512,768,3]]}'
    b'{"arrays":["train","test","images","labels"],"dtype":"bool","kind":"npz","name":"'
    b'"shape":[1000,32,32,3]}"shape":[10000,28,28]}'
    b'{"binary":true,"dtype":"uint8","kind":"array","shape":['
    b'{"binary":false,"dtype":"uint8","kind":"array","shape":['
)


def pack_payload(manifest: Mapping[str, JsonValue], extra: bytes, user: bytes) -> bytes:
    """Join manifest, extra bytes and the caller's bytes into one self-delimiting payload.

    Args:
        manifest: a JSON object.
        extra: serialised arrays or sidecars.
        user: the caller's own bytes.

    Returns:
        The payload; `unpack_payload` reverses it.
    """
    # Escaped to ASCII, since file names may hold lone surrogates, which UTF-8 cannot.
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode("ascii")
    return b"".join(_pack_part(part) for part in (text, extra, user))


def unpack_payload(payload: bytes) -> tuple[dict[str, JsonValue], bytes, bytes]:
    """Reverse `pack_payload`.

    Args:
        payload: exactly the bytes that it returned.

    Returns:
        The manifest, the extra bytes and the caller's bytes.

    Raises:
        FormatError: the payload is damaged.
    """
    parts, position = [], 0
    for _ in range(3):
        part, position = _unpack_part(payload, position)
        parts.append(part)
    if position != len(payload):
        raise FormatError("its payload is damaged: it has bytes after its end")
    try:
        manifest = json.loads(parts[0].decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise FormatError("its payload is damaged: its manifest is not JSON") from error
    if not isinstance(manifest, dict):
        raise FormatError("its payload is damaged: its manifest is not an object")
    return manifest, parts[1], parts[2]


def _pack_part(part: bytes) -> bytes:
    packed = _deflate(part) if len(part) <= _SHORT else xz.compress(part, _PRESET)
    stored = packed if len(packed) < len(part) <= _most(len(packed)) else part
    return varint.pack(len(part)) + varint.pack(len(stored)) + stored


def _unpack_part(payload: bytes, position: int) -> tuple[bytes, int]:
    size, position = varint.unpack(payload, position, _WHOSE)
    stored_size, position = varint.unpack(payload, position, _WHOSE)
    end = position + stored_size
    if end > len(payload) or stored_size > size or size > _most(stored_size):
        raise FormatError("its payload is damaged: a part has a wrong length")
    stored = payload[position:end]
    if stored_size == size:
        return stored, end
    part = _inflate(stored, size) if size <= _SHORT else xz.decompress(stored, size)
    if part is None:
        raise FormatError("its payload is damaged: a part cannot be decompressed to its length")
    return part, end


def _deflate(part: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15, zdict=_WORDS)
    return packer.compress(part) + packer.flush()


def _inflate(stored: bytes, size: int) -> bytes | None:
    """`size` bytes, or None if the stream is damaged or holds more, less or something else."""
    unpacker = zlib.decompressobj(wbits=-15, zdict=_WORDS)
    try:
        part = unpacker.decompress(stored, size + 1)
    except zlib.error:
        return None
    whole = unpacker.eof and not unpacker.unused_data and len(part) == size
    return part if whole else None


def _most(stored: int) -> int:
    """The most bytes that so many stored bytes may unpack to: a forged part cannot fill memory."""
    return (1 << 26) + (stored << 8)
