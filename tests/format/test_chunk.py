"""The form of a chunk: what is packed is unpacked, and no damage goes unnoticed."""

import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitsback.errors import ChecksumError, FormatError
from bitsback.format import chunk
from bitsback.format.chunk import pack_chunk, pixel_checksum
from bitsback.format.chunk_head import MAX_BATCH_VALUES, ChunkHead, batch_values
from bitsback.format.header import VERSION
from bitsback.tiles.padding import tiles_of
from bitsback.tiles.segments import Segment

HEAD = ChunkHead(
    segments=(
        Segment(7, 32, 48, 3, False, 2, ((1, 64, 96), (3, 31, 1))),
        Segment(1, 32, 48, 1, True, 0),
    ),
    batch=4,
    ramp=3,
    heads=64,
    payload_bytes=300,
    classical_bytes=20,
    filler_bytes=4,
    partial=(3, 0, 200),
    pixels_checksum=bytes(range(8)),
)
WORDS = np.arange(5, dtype=np.uint32) * np.uint32(0x1234567)


def unpack_chunk(data, version=VERSION):
    return chunk.unpack_chunk(data, version)


@st.composite
def segments(draw):
    # Either many tiles or large ones: five such segments are within what a head may promise.
    large = draw(st.booleans())
    count = draw(st.integers(1, 2**2 if large else 2**18))
    height, width = (draw(st.integers(1, 2**9 if large else 4)) for _ in range(2))
    n, h, w = (draw(st.integers(1, most)) for most in (3, 9, 9))
    images = draw(st.sampled_from([(), ((n, h, w),), ((n, h, w), (1, w, h))]))
    count = tiles_of(images, height, width) or count
    return Segment(
        count=count,
        height=height,
        width=width,
        channels=draw(st.integers(1, 12 if large else 3)),
        gray=draw(st.booleans()),
        classical=draw(st.integers(0, count)),
        images=images,
    )


@st.composite
def heads(draw):
    found = draw(st.lists(segments(), min_size=1, max_size=5).map(tuple))
    most = min(MAX_BATCH_VALUES // batch_values(1, segment) for segment in found)
    return ChunkHead(
        segments=found,
        batch=draw(st.integers(1, max(1, min(most, 2**16 - 1)))),
        ramp=draw(st.integers(0, 2**16 - 1)),
        heads=draw(st.integers(1, 2**16 - 1)),
        payload_bytes=draw(st.integers(0, 2**14)),
        classical_bytes=draw(st.integers(0, 2**14)),
        filler_bytes=draw(st.integers(0, 2**14)),
        partial=draw(st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple)),
        pixels_checksum=draw(st.binary(min_size=8, max_size=8)),
    )


@settings(max_examples=100, deadline=None)
@given(heads(), hnp.arrays(np.uint32, st.integers(0, 40)))
def test_what_is_packed_is_unpacked(head, words):
    found, message = unpack_chunk(pack_chunk(head, words))
    assert found == head
    assert message.dtype == np.uint32
    np.testing.assert_array_equal(message, words)


def test_the_layout_is_the_documented_one():
    data = pack_chunk(HEAD, WORDS)
    head = bytes([4, 3, 64, 0xAC, 2, 20, 4]) + bytes([3, 3, 0, 0xC8, 1]) + bytes(range(8))
    head += bytes([2]) + bytes([7, 32, 48, 3, 2]) + bytes([2, 1, 64, 96, 3, 31, 1])
    head += bytes([1, 32, 48, 129, 0]) + bytes([0])
    assert data[: len(head)] == head
    message = b"".join(int(word).to_bytes(4, "little") for word in WORDS)
    assert data[len(head) : -8] == message
    assert data[-8:] == hashlib.blake2b(data[:-8], digest_size=8).digest()


def version2(head, words, size=None):
    """A chunk as version 2 laid it out."""
    fields = head.batch, head.ramp, head.heads
    sizes = head.payload_bytes, head.classical_bytes, head.filler_bytes
    body = struct.pack("<HHHQQI16s", *fields, *sizes, head.pixels_checksum)
    for s in head.segments:
        channels = s.channels | s.gray << 7
        body += struct.pack("<IHHBI", s.count, s.height, s.width, channels, s.classical)
    body = struct.pack("<H", len(body) if size is None else size) + body
    return signed(body + words.astype("<u4").tobytes())


@settings(max_examples=100, deadline=None)
@given(heads(), hnp.arrays(np.uint32, st.integers(0, 40)), st.binary(min_size=16, max_size=16))
def test_chunks_of_version_2_are_still_read(head, words, checksum):
    segments = tuple(replace(segment, images=()) for segment in head.segments)
    head = replace(head, segments=segments, partial=(), pixels_checksum=checksum)
    found, message = unpack_chunk(version2(head, words), version=2)
    assert found == head
    np.testing.assert_array_equal(message, words)


@pytest.mark.parametrize("size", [0, 41, 43, 54, 2**16 - 1])
def test_a_forged_length_of_version_2_is_refused(size):
    head = replace(HEAD, partial=(), pixels_checksum=bytes(16))
    with pytest.raises(FormatError, match="wrong length"):
        unpack_chunk(version2(head, WORDS, size), version=2)


def test_a_chunk_without_tiles_is_one_of_the_newest_version():
    head = replace(HEAD, segments=(), partial=(), classical_bytes=0)
    data = pack_chunk(head, WORDS)
    assert unpack_chunk(data, version=5)[0] == head
    with pytest.raises(FormatError, match="no tiles"):
        unpack_chunk(data, version=4)


def test_every_flip_of_a_byte_or_bit_is_noticed():
    data = pack_chunk(HEAD, WORDS)
    for position in range(len(data)):
        for change in (1, 128, 255):
            altered = bytearray(data)
            altered[position] ^= change
            with pytest.raises(ChecksumError, match="message"):
                unpack_chunk(bytes(altered))


def test_every_truncation_and_every_addition_is_noticed():
    data = pack_chunk(HEAD, WORDS)
    for size in range(len(data)):
        with pytest.raises(FormatError):
            unpack_chunk(data[:size])
    with pytest.raises(FormatError):
        unpack_chunk(data + b"abc")


@pytest.mark.parametrize(
    "change",
    [
        {"segments": (Segment(2**32 - 1, 2**16 - 1, 2**16 - 1, 3, False, 0),)},
        {"segments": (Segment(1, 0, 5, 3, False, 0),)},
        {"segments": (Segment(1, 5, 5, 3, False, 2),)},
        {"segments": (Segment(1, 70000, 5, 3, False, 0),)},
        {"segments": (Segment(5, 8, 8, 3, False, 0, ((1, 9, 9),)),)},
        {"segments": (Segment(4, 8, 8, 3, False, 0, ((1, 9, 9), (0, 9, 9))),)},
        {"segments": (Segment(4, 8, 8, 3, False, 0, ((1, 9, 9), (1, 0, 9))),)},
        {"segments": (), "partial": (1,)},
        {"segments": (), "partial": (), "classical_bytes": 5},
        {"segments": (Segment(10**4, 32, 32, 3, False, 0),), "batch": 400},
        {"segments": (Segment(10**4, 32, 32, 1, True, 0),), "batch": 400},
        {"filler_bytes": 2**31},
        {"payload_bytes": 2**60},
        {"batch": 0},
        {"ramp": -1},
        {"ramp": 2**16},
        {"heads": 2**16},
        {"pixels_checksum": b"short"},
        {"partial": (-1,)},
        {"partial": (1, 2**32)},
    ],
)
def test_absurd_heads_cannot_be_written(change):
    with pytest.raises(FormatError):
        pack_chunk(replace(HEAD, **change), WORDS)


def test_segments_of_version_3_do_not_tell_their_images():
    head = replace(HEAD, segments=HEAD.segments[1:])
    data = pack_chunk(head, WORDS)[:-8]
    cut = data[: -4 * WORDS.size - 1] + data[-4 * WORDS.size :]
    assert unpack_chunk(signed(cut), 3)[0] == head
    with pytest.raises(FormatError):
        unpack_chunk(signed(cut))


def signed(data):
    """The chunk with a digest that fits."""
    return bytes(data) + hashlib.blake2b(data, digest_size=8).digest()


def test_a_forged_head_with_a_good_checksum_is_refused():
    segments = replace(HEAD.segments[0], images=()), HEAD.segments[1]
    data = pack_chunk(replace(HEAD, segments=segments), WORDS)[:-8]
    most = b"\xff\xff\xff\xff\x0f"
    with pytest.raises(FormatError, match="more pixels"):
        unpack_chunk(signed(b"\1" + data[1:21] + most + data[22:]))
    with pytest.raises(FormatError, match="wrong length"):
        unpack_chunk(signed(data + b"abc"))
    with pytest.raises(FormatError, match="ends inside a number"):
        unpack_chunk(signed(data[:7] + most))
    with pytest.raises(FormatError, match="too large or too long"):
        unpack_chunk(signed(b"\x84\0" + data[1:]))
    with pytest.raises(FormatError, match="too large or too long"):
        unpack_chunk(signed(b"\xff" * 20 + data))


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, (6, 3, 2, 1)), st.integers(0, 6))
def test_the_pixel_checksum_depends_on_bytes_and_not_on_their_division(tiles, cut):
    whole = pixel_checksum([tiles], b"payload")
    assert whole == pixel_checksum([tiles[:cut], np.asfortranarray(tiles[cut:])], b"payload")
    assert whole != pixel_checksum([tiles], b"Payload")
    tiles[5, 2, 1, 0] ^= 1
    assert whole != pixel_checksum([tiles], b"payload")
