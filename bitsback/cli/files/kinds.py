"""Which kind a file is: of images that come back, or of their first latents alone."""

from pathlib import Path
from typing import TYPE_CHECKING

from bitsback.errors import FormatError

if TYPE_CHECKING:
    from bitsback.lossy.container import LossyHeader

_MOST_BYTES = 1 << 26  # of a lossy file; larger ones are not read to learn their kind


def lossy_file(path: Path) -> "tuple[LossyHeader, bytes] | None":
    """The header and the bytes of a lossy file, whose checksum holds; None of any other file.

    Raises:
        OSError: it cannot be read.
    """
    from bitsback.format.header import MAGIC
    from bitsback.lossy import container

    if path.stat().st_size > _MOST_BYTES:
        return None
    data = path.read_bytes()
    if data.startswith(MAGIC):
        return None
    try:
        return container.unpack(data)[0], data
    except FormatError:
        return None
