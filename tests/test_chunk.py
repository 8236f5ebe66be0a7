"""The form of a chunk: what is packed is unpacked, and no damage goes unnoticed."""

import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitsback.chunk import (
    MAX_LINK_VALUES,
    ChunkHead,
    Segment,
    link_values,
    pack_chunk,
    pixel_checksum,
    unpack_chunk,
)
from bitsback.errors import ChecksumError, FormatError

HEAD = ChunkHead(
    segments=(Segment(7, 32, 48, 3, False, 2), Segment(1, 32, 48, 1, True, 0)),
    batch=4,
    ramp=3,
    heads=64,
    payload_bytes=300,
    classical_bytes=20,
    filler_bytes=4,
    pixels_checksum=bytes(range(16)),
)
WORDS = np.arange(5, dtype=np.uint32) * np.uint32(0x1234567)


@st.composite
def segments(draw):
    # Either many tiles or large ones: five such segments are within what a head may promise.
    large = draw(st.booleans())
    count = draw(st.integers(1, 2**2 if large else 2**18))
    return Segment(
        count=count,
        height=draw(st.integers(1, 2**9 if large else 4)),
        width=draw(st.integers(1, 2**9 if large else 4)),
        channels=draw(st.integers(1, 12 if large else 3)),
        gray=draw(st.booleans()),
        classical=draw(st.integers(0, count)),
    )


@st.composite
def heads(draw):
    found = draw(st.lists(segments(), min_size=1, max_size=5).map(tuple))
    most = min(MAX_LINK_VALUES // link_values(1, segment) for segment in found)
    return ChunkHead(
        segments=found,
        batch=draw(st.integers(1, max(1, min(most, 2**16 - 1)))),
        ramp=draw(st.integers(0, 2**16 - 1)),
        heads=draw(st.integers(1, 2**16 - 1)),
        payload_bytes=draw(st.integers(0, 2**14)),
        classical_bytes=draw(st.integers(0, 2**14)),
        filler_bytes=draw(st.integers(0, 2**14)),
        pixels_checksum=draw(st.binary(min_size=16, max_size=16)),
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
    (n,) = struct.unpack_from("<H", data)
    assert n == 42 + 2 * 13
    assert data[2:44] == struct.pack("<HHHQQI", 4, 3, 64, 300, 20, 4) + bytes(range(16))
    assert data[44:57] == struct.pack("<IHHBI", 7, 32, 48, 3, 2)
    assert data[57:70] == struct.pack("<IHHBI", 1, 32, 48, 129, 0)
    assert data[70:90] == b"".join(int(word).to_bytes(4, "little") for word in WORDS)
    assert data[90:] == hashlib.blake2b(data[:90], digest_size=8).digest()


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
        {"segments": ()},
        {"segments": (Segment(10**4, 32, 32, 3, False, 0),), "batch": 400},
        {"segments": (Segment(10**4, 32, 32, 1, True, 0),), "batch": 400},
        {"filler_bytes": 2**31},
        {"payload_bytes": 2**60},
        {"batch": 0},
        {"ramp": -1},
        {"ramp": 2**16},
        {"heads": 2**16},
        {"pixels_checksum": b"short"},
    ],
)
def test_absurd_heads_cannot_be_written(change):
    with pytest.raises(FormatError):
        pack_chunk(replace(HEAD, **change), WORDS)


def signed(data):
    """The chunk with a digest that fits."""
    return bytes(data) + hashlib.blake2b(data, digest_size=8).digest()


def test_a_forged_head_with_a_good_checksum_is_refused():
    data = bytearray(pack_chunk(HEAD, WORDS)[:-8])
    data[44:52] = struct.pack("<IHH", 2**32 - 1, 2**16 - 1, 2**16 - 1)
    data[2:4] = struct.pack("<H", 1)
    with pytest.raises(FormatError, match="more pixels"):
        unpack_chunk(signed(data))


@pytest.mark.parametrize("size", [0, 41, 43, 54, 2**16 - 1])
def test_a_forged_length_with_a_good_checksum_is_refused(size):
    data = bytearray(pack_chunk(HEAD, WORDS)[:-8])
    data[:2] = struct.pack("<H", size)
    with pytest.raises(FormatError, match="wrong length"):
        unpack_chunk(signed(data))


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, (6, 3, 2, 1)), st.integers(0, 6))
def test_the_pixel_checksum_depends_on_bytes_and_not_on_their_division(tiles, cut):
    whole = pixel_checksum([tiles], b"payload")
    assert whole == pixel_checksum([tiles[:cut], np.asfortranarray(tiles[cut:])], b"payload")
    assert whole != pixel_checksum([tiles], b"Payload")
    tiles[5, 2, 1, 0] ^= 1
    assert whole != pixel_checksum([tiles], b"payload")
