"""Numbers of few bytes: each has one form, and none is read that is longer or larger."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsback.errors import FormatError
from bitsback.format import varint


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_what_is_packed_is_unpacked(number, before, after):
    packed = varint.pack(number)
    assert len(packed) == max(1, -(-number.bit_length() // 7))
    data = before + packed + after
    assert varint.unpack(data, len(before), "it") == (number, len(before) + len(packed))


@given(st.binary(min_size=1, max_size=12))
def test_what_is_unpacked_is_what_is_packed(data):
    try:
        number, end = varint.unpack(data, 0, "it")
    except FormatError:
        return
    assert varint.pack(number) == data[:end]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "ends inside"),
        (b"\x80", "ends inside"),
        (b"\x80\0", "too long"),
        (b"\xff" * 9 + b"\2", "too large"),
        (b"\xff" * 10 + b"\1", "too large"),
    ],
)
def test_other_forms_are_refused(data, word):
    with pytest.raises(FormatError, match=f"it .*{word}"):
        varint.unpack(data, 0, "it")
