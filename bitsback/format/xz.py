"""Raw LZMA2 streams: xz without its container, for data whose sizes are known."""

import lzma

# What a decoder must be ready for: a stream's own dictionary is never larger.
_LARGEST = 1 << 23
_DECODER = [{"id": lzma.FILTER_LZMA2, "dict_size": _LARGEST}]


def compress(data: bytes, preset: int) -> bytes:
    """Data as a raw LZMA2 stream.

    Args:
        preset: of xz, 0 to 9, perhaps with `lzma.PRESET_EXTREME`.
    """
    # The encoder's memory is some eleven times its dictionary, which need not exceed the data.
    size = min(max(1 << len(data).bit_length(), 1 << 12), _LARGEST)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": size}]
    return lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


def decompress(data: bytes, size: int) -> bytes | None:
    """Inverse of `compress` for data of `size` bytes; None where it is not such a stream."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_DECODER)
    try:
        # One byte more than is wanted shows a stream that goes on.
        unpacked = decoder.decompress(data, max_length=size + 1)
    except (lzma.LZMAError, EOFError, OverflowError):
        return None
    return unpacked if len(unpacked) == size else None
