"""Sidecars: what an image has beside its 8-bit values, such as metadata and low bits.

A sidecar travels in the payload of the image's chunk as the bytes of records: 4 bytes of kind,
the length (LEB128), the content. Kinds:

    LOW_   low bits of levels of 16 bits (see bitsback.images.bit_depth)
    EXIF   of files that are not PNG, as Pillow gives it
    ICCP   colour profile, of the same
    XMP_   of the same
    IDAT   no content: in a PNG, where the pixels were among the chunks
    PIC_   no content: in a folder or tar, where the image was among the files
    FILE   a file that is no image: the length of its name (LEB128), the name, the content
    PNG_   how a PNG is written from its pixels (see bitsback.keeping.png)
    TIF_   how a TIFF in pieces is (see bitsback.keeping.tiff.code)
    WEB_   how a lossless WebP is (see bitsback.keeping.webp)
    RAW_   how an uncompressed file is (see bitsback.keeping.raw)
    TAR_   of a tar, the bytes before the next file (see bitsback.sources.tar_headers)
    TREE   of a folder, in its first sidecar (see bitsback.sources.tree)
    others a chunk of a PNG by its type, as it was

The sidecars follow one another in the order of the images, each after its length. A chunk without
images has one, of files.
"""

from collections.abc import Iterable, Sequence

from bitsback.errors import FormatError

from . import varint

LOW, EXIF, ICC, XMP = b"LOW_", b"EXIF", b"ICCP", b"XMP_"
PIXELS, IMAGE, FILE = b"IDAT", b"PIC_", b"FILE"
TAR, TREE = b"TAR_", b"TREE"

Record = tuple[bytes, bytes]
_WHOSE = "the images' sidecars"


def pack(records: Iterable[Record]) -> bytes:
    """Records of an image as bytes."""
    return b"".join(kind + varint.pack(len(data)) + data for kind, data in records)


def unpack(data: bytes) -> list[Record]:
    """Inverse of `pack`.

    Raises:
        FormatError: damaged.
    """
    records, position = [], 0
    while position < len(data):
        kind = data[position : position + 4]
        content, position = _content(data, position + 4)
        records.append((kind, content))
    return records


def find(records: Iterable[Record], wanted: bytes) -> bytes | None:
    """The content of the first record of a kind."""
    return next((data for kind, data in records if kind == wanted), None)


def pack_file(name: str, content: bytes) -> Record:
    """A file that is no image as a record."""
    coded = name.encode(errors="surrogateescape")
    return FILE, varint.pack(len(coded)) + coded + content


def unpack_file(data: bytes) -> tuple[str, bytes]:
    """Name and content of a file that is no image.

    Raises:
        FormatError: damaged.
    """
    name, position = _content(data, 0)
    return name.decode(errors="surrogateescape"), data[position:]


def pack_all(of_images: Sequence[bytes]) -> bytes:
    """The sidecars of all images, in order; b"" where all are empty."""
    if not any(of_images):
        return b""
    return b"".join(varint.pack(len(data)) + data for data in of_images)


def unpack_all(data: bytes, count: int) -> list[bytes] | None:
    """Inverse of `pack_all` for `count` images; None where all sidecars are empty.

    Raises:
        FormatError: the bytes are damaged, or hold more or fewer sidecars.
    """
    if not data:
        return None
    records, position = [], 0
    for _ in range(max(count, 1)):
        content, position = _content(data, position)
        records.append(content)
    if position != len(data):
        raise FormatError(f"{_WHOSE} is of more images than there are")
    return records


def _content(data: bytes, position: int) -> tuple[bytes, int]:
    size, position = varint.unpack(data, position, _WHOSE)
    if position + size > len(data):
        raise FormatError(f"{_WHOSE} is cut short")
    return data[position : position + size], position + size
