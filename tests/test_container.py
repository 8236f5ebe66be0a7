"""The file format: what is packed is unpacked, and no damage goes unnoticed."""

import hashlib
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bitsback.container import Header, Segment, pack, pixel_checksum, unpack
from bitsback.errors import ChecksumError, FormatError
from bitsback.payload import pack_payload, unpack_payload

HEADER = Header(
    model="photo",
    model_sha256=bytes(range(32)),
    tables_sha256=b"tables!!",
    segments=(Segment(7, 32, 48, 3, False, 2), Segment(1, 32, 48, 1, True, 0)),
    batch=4,
    heads=64,
    seed=2**64 - 1,
    payload_bytes=300,
    classical_bytes=20,
    filler_bytes=4,
    pixels_checksum=bytes(range(16)),
)
WORDS = np.arange(5, dtype=np.uint32) * np.uint32(0x1234567)


@st.composite
def segments(draw):
    # Either many tiles or large ones: five such segments are within what a header may promise.
    large = draw(st.booleans())
    count = draw(st.integers(1, 2**2 if large else 2**20))
    return Segment(
        count=count,
        height=draw(st.integers(1, 2**10 if large else 4)),
        width=draw(st.integers(1, 2**10 if large else 4)),
        channels=draw(st.integers(1, 12 if large else 3)),
        gray=draw(st.booleans()),
        classical=draw(st.integers(0, count)),
    )


headers = st.builds(
    Header,
    model=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    model_sha256=st.binary(min_size=32, max_size=32),
    tables_sha256=st.binary(min_size=8, max_size=8),
    segments=st.lists(segments(), min_size=1, max_size=5).map(tuple),
    batch=st.integers(1, 2**16 - 1),
    heads=st.integers(1, 2**16 - 1),
    seed=st.integers(0, 2**64 - 1),
    payload_bytes=st.integers(0, 2**14),
    classical_bytes=st.integers(0, 2**14),
    filler_bytes=st.integers(0, 2**14),
    pixels_checksum=st.binary(min_size=16, max_size=16),
)


@settings(max_examples=100, deadline=None)
@given(headers, hnp.arrays(np.uint32, st.integers(0, 40)))
def test_what_is_packed_is_unpacked(header, words):
    found, message = unpack(pack(header, words))
    assert found == header
    assert message.dtype == np.uint32
    np.testing.assert_array_equal(message, words)


def test_the_layout_is_the_documented_one():
    data = pack(HEADER, WORDS)
    (n,) = struct.unpack_from("<I", data, 8)
    assert data[:8].hex() == "8942424b0d0a1a0a"
    assert 16 + n <= 150
    assert struct.unpack_from("<I", data, 12 + n)[0] == zlib.crc32(data[: 12 + n])
    assert struct.unpack_from("<Q", data, 16 + n)[0] == 5
    assert data[24 + n : 44 + n] == b"".join(int(word).to_bytes(4, "little") for word in WORDS)
    assert data[44 + n :] == hashlib.blake2b(data[16 + n : 44 + n], digest_size=8).digest()
    body = data[12 : 12 + n]
    assert struct.unpack_from("<H", body)[0] == 1
    assert body[2:34] == bytes(range(32))
    assert body[42:54] == struct.pack("<HHQ", 4, 64, 2**64 - 1)
    assert body[54:74] == struct.pack("<QQI", 300, 20, 4)
    assert body[74:90] == bytes(range(16))
    assert body[90:96] == b"\x05photo"
    assert body[100:113] == struct.pack("<IHHBI", 7, 32, 48, 3, 2)
    assert body[113:] == struct.pack("<IHHBI", 1, 32, 48, 129, 0)


def test_every_flip_of_a_byte_or_bit_is_noticed():
    data = pack(HEADER, WORDS)
    for position in range(len(data)):
        for change in (1, 128, 255):
            altered = bytearray(data)
            altered[position] ^= change
            with pytest.raises(FormatError):
                unpack(bytes(altered))


def test_every_truncation_and_every_addition_is_noticed():
    data = pack(HEADER, WORDS)
    for size in range(len(data)):
        with pytest.raises(FormatError):
            unpack(data[:size])
    with pytest.raises(FormatError, match="3 bytes after its end"):
        unpack(data + b"abc")


def test_altered_header_and_message_are_checksum_errors():
    data = bytearray(pack(HEADER, WORDS))
    data[20] ^= 1
    with pytest.raises(ChecksumError, match="header"):
        unpack(bytes(data))
    data[20] ^= 1
    data[-12] ^= 1
    with pytest.raises(ChecksumError, match="message"):
        unpack(bytes(data))


def test_another_version_is_named():
    with pytest.raises(FormatError, match="version 2"):
        unpack(pack(replace(HEADER, format_version=2), WORDS))


@pytest.mark.parametrize(
    "change",
    [
        {"segments": (Segment(2**32 - 1, 2**16 - 1, 2**16 - 1, 3, False, 0),)},
        {"segments": (Segment(1, 0, 5, 3, False, 0),)},
        {"segments": (Segment(1, 5, 5, 3, False, 2),)},
        {"segments": (Segment(1, 70000, 5, 3, False, 0),)},
        {"segments": ()},
        {"filler_bytes": 2**31},
        {"payload_bytes": 2**60},
        {"batch": 0},
        {"heads": 2**16},
        {"model": "é" * 128},
        {"model_sha256": b"short"},
    ],
)
def test_absurd_headers_cannot_be_written(change):
    with pytest.raises(FormatError):
        pack(replace(HEADER, **change), WORDS)


def test_a_forged_header_with_good_checksums_is_refused():
    data = bytearray(pack(HEADER, WORDS))
    (n,) = struct.unpack_from("<I", data, 8)
    data[12 + 100 : 12 + 108] = struct.pack("<IHH", 2**32 - 1, 2**16 - 1, 2**16 - 1)
    data[12 + n : 16 + n] = struct.pack("<I", zlib.crc32(bytes(data[: 12 + n])))
    with pytest.raises(FormatError, match="more pixels"):
        unpack(bytes(data))


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, (6, 3, 2, 1)), st.integers(0, 6))
def test_the_pixel_checksum_depends_on_bytes_and_not_on_their_division(tiles, cut):
    whole = pixel_checksum([tiles])
    assert whole == pixel_checksum([tiles[:cut], np.asfortranarray(tiles[cut:])])
    tiles[5, 2, 1, 0] ^= 1
    assert whole != pixel_checksum([tiles])


texts = st.text(st.characters(), max_size=20)
values = st.one_of(texts, st.integers(), st.booleans(), st.lists(st.one_of(texts, st.integers())))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(texts, values, max_size=4),
    st.one_of(st.binary(), st.binary(min_size=1).map(lambda b: b * 200)),
    st.binary(),
)
def test_the_payload_comes_back(manifest, extra, user):
    payload = pack_payload(manifest, extra, user)
    assert unpack_payload(payload) == (manifest, extra, user)
    for size in range(0, len(payload), 1 + len(payload) // 20):
        with pytest.raises(FormatError):
            unpack_payload(payload[:size])


def test_a_repetitive_part_is_stored_small():
    assert len(pack_payload({}, bytes(100_000), b"")) < 150


@pytest.mark.parametrize("claimed", [299, 301, 2**47 - 1])
def test_a_part_of_another_length_than_it_claims_is_refused(claimed):
    def leb128(value):
        return bytes([value & 127 | 128]) + leb128(value >> 7) if value > 127 else bytes([value])

    payload = pack_payload({}, bytes(300), b"")
    assert payload.count(leb128(300)) == 1
    with pytest.raises(FormatError, match="length"):
        unpack_payload(payload.replace(leb128(300), leb128(claimed)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_payload_raises_nothing_but_format_errors(data):
    payload = bytearray(pack_payload({"kind": "array"}, b"labels" * 50, b"user"))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] = data.draw(st.integers(0, 255))
    try:
        manifest, extra, user = unpack_payload(bytes(payload))
    except FormatError:
        return
    assert isinstance(manifest, dict)
    assert isinstance(extra, bytes)
    assert isinstance(user, bytes)
