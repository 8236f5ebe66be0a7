"""The file's header: what is packed is read, and no damage goes unnoticed."""

import io
import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.errors import ChecksumError, FormatError
from bitsback.format.header import ChunkEntry, Header, check_size, pack_header, read_header

HEADER = Header(
    model="photo",
    model_sha256=bytes(range(8)),
    tables_sha256=b"tabl",
    seed=2**64 - 1,
    chunks=(ChunkEntry(7, 300), ChunkEntry(2, 100)),
)

headers = st.builds(
    Header,
    model=st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    model_sha256=st.binary(min_size=8, max_size=8),
    tables_sha256=st.binary(min_size=4, max_size=4),
    seed=st.integers(0, 2**64 - 1),
    chunks=st.lists(
        st.builds(ChunkEntry, st.integers(1, 2**32 - 1), st.integers(0, 2**40 - 1)),
        min_size=1,
        max_size=9,
    ).map(tuple),
)


def read(data, size=None):
    return read_header(io.BytesIO(data), len(data) if size is None else size)


@settings(max_examples=200, deadline=None)
@given(headers)
def test_what_is_packed_is_read(header):
    data = pack_header(header)
    assert len(data) == header.size
    file = io.BytesIO(data + b"chunks")
    assert read_header(file, len(data) + 6) == header
    assert file.read() == b"chunks"


def test_the_layout_is_the_documented_one():
    data = pack_header(HEADER)
    (n,) = struct.unpack_from("<I", data, 8)
    assert data[:8].hex() == "8942424b0d0a1a0a"
    assert len(data) == 16 + n
    assert struct.unpack_from("<I", data, 12 + n)[0] == zlib.crc32(data[: 12 + n])
    body = data[12 : 12 + n]
    assert body[:2] == b"\4\0"
    assert body[2:14] == bytes(range(8)) + b"tabl"
    assert body[14:24] == b"\xff" * 9 + b"\1"
    assert body[24:30] == b"\x05photo"
    assert body[30:] == b"\7" + (300).to_bytes(5, "little") + b"\2" + (100).to_bytes(5, "little")


@settings(max_examples=100, deadline=None)
@given(headers, st.binary(min_size=32, max_size=32), st.binary(min_size=8, max_size=8))
def test_headers_of_version_2_are_still_read(header, model_sha256, tables_sha256):
    name = header.model.encode()
    body = struct.pack("<H32s8sQB", 2, model_sha256, tables_sha256, header.seed, len(name)) + name
    for entry in header.chunks:
        body += struct.pack("<IQ", entry.images, entry.size)
    head = pack_header(HEADER)[:8] + struct.pack("<I", len(body)) + body
    data = head + struct.pack("<I", zlib.crc32(head))
    found = read(data)
    assert found == replace(
        header, model_sha256=model_sha256, tables_sha256=tables_sha256, format_version=2
    )
    assert found.size == len(data)


def test_the_index_says_where_chunks_lie_and_which_images_they_hold():
    assert HEADER.offsets == [HEADER.size, HEADER.size + 300]
    assert HEADER.firsts == [0, 7]
    assert HEADER.images == 9
    assert HEADER.file_size == HEADER.size + 400


def test_every_flip_of_a_byte_or_bit_is_noticed():
    data = pack_header(HEADER)
    for position in range(len(data)):
        for change in (1, 128, 255):
            altered = bytearray(data)
            altered[position] ^= change
            with pytest.raises(FormatError):
                read(bytes(altered))


def test_every_truncation_is_noticed():
    data = pack_header(HEADER)
    for size in range(1, len(data)):
        with pytest.raises(FormatError, match="truncated"):
            read(data[:size])
    with pytest.raises(FormatError, match="not a bitsback file"):
        read(b"")
    with pytest.raises(FormatError, match="3 bytes are missing"):
        check_size(HEADER, HEADER.file_size - 3)
    with pytest.raises(FormatError, match="3 bytes after its end"):
        check_size(HEADER, HEADER.file_size + 3)


def test_a_length_beyond_the_file_is_not_read():
    data = pack_header(HEADER)
    with pytest.raises(FormatError, match="truncated"):
        read(data[:8] + struct.pack("<I", 2**32 - 1) + data[12:])


def test_an_altered_header_is_a_checksum_error():
    data = bytearray(pack_header(HEADER))
    data[20] ^= 1
    with pytest.raises(ChecksumError, match="header"):
        read(bytes(data))


def test_another_version_is_named():
    body = b"\x09\0" + bytes(60)
    head = pack_header(HEADER)[:8] + struct.pack("<I", len(body)) + body
    with pytest.raises(FormatError, match="version 9, this bitsback reads versions 2 to 8"):
        read(head + struct.pack("<I", zlib.crc32(head)))


@pytest.mark.parametrize(
    "change",
    [
        {"chunks": ()},
        {"chunks": (ChunkEntry(0, 5),)},
        {"chunks": (ChunkEntry(2**32, 5),)},
        {"chunks": (ChunkEntry(1, 2**40),)},
        {"chunks": (ChunkEntry(1, 5, image_files=1),)},
        {"chunks": (ChunkEntry(1, 5, image_files=2**32),), "format_version": 8},
        {"chunks": (ChunkEntry(1, 5, image_files=-1),), "format_version": 8},
        {"seed": -1},
        {"model": "\u00e9" * 128},
        {"model_sha256": b"short"},
        {"tables_sha256": b"short"},
    ],
)
def test_absurd_headers_cannot_be_written(change):
    with pytest.raises(FormatError):
        pack_header(replace(HEADER, **change))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_a_forged_body_with_a_good_checksum_is_refused_or_read(body):
    head = pack_header(HEADER)[:8] + struct.pack("<I", len(body)) + body
    try:
        header = read(head + struct.pack("<I", zlib.crc32(head)))
    except FormatError:
        return
    assert header.images > 0 or header.format_version in (5, 6, 7, 8)


def test_a_chunk_without_images_is_one_of_version_5():
    bare = replace(HEADER, chunks=(ChunkEntry(0, 5),), format_version=5)
    data = pack_header(bare)
    assert read(data) == bare
    assert data[12:14] == b"\5\0"


@given(headers, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_a_header_may_name_the_machine_that_its_file_decodes_on(header, machine):
    bound = replace(header, machine=machine, format_version=6)
    data = pack_header(bound)
    assert read(data) == bound
    assert len(data) == header.size + 1 + len(machine.encode())


@given(headers, st.lists(st.integers(0, 2**32 - 1), min_size=9, max_size=9), st.sampled_from("ab"))
def test_version_8_counts_the_image_files_of_each_chunk(header, counts, machine):
    chunks = zip(header.chunks, counts, strict=False)
    counted = replace(
        header,
        chunks=tuple(replace(entry, image_files=count) for entry, count in chunks),
        format_version=8,
        machine="" if machine == "a" else "here",
    )
    data = pack_header(counted)
    assert read(data) == counted
    assert len(data) == header.size + 1 + len(counted.machine) + 4 * len(header.chunks)


def test_a_machine_and_version_6_go_together():
    for change in ({"machine": "here"}, {"format_version": 6}):
        with pytest.raises(FormatError, match="names a machine"):
            pack_header(replace(HEADER, **change))
