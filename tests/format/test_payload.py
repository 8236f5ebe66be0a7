"""The payload: what is packed comes back, and damage is a format error."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.errors import FormatError
from bitsback.format.payload import pack_payload, unpack_payload

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


def test_a_usual_manifest_takes_few_bytes():
    manifest = {"kind": "array", "dtype": "uint8", "shape": [8070, 28, 28], "binary": True}
    assert len(pack_payload(manifest, b"", b"")) <= 16


@pytest.mark.parametrize("whole", [300, 200])
@pytest.mark.parametrize("change", [-1, 1, 2**46])
def test_a_part_of_another_length_than_it_claims_is_refused(whole, change):
    def leb128(value):
        return bytes([value & 127 | 128]) + leb128(value >> 7) if value > 127 else bytes([value])

    payload = pack_payload({}, bytes(whole), b"")
    assert payload.count(leb128(whole)) == 1
    with pytest.raises(FormatError, match="length"):
        unpack_payload(payload.replace(leb128(whole), leb128(whole + change)))


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
