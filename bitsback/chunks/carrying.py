"""Files whose pixels took more than the files themselves, which travel as they are after all.

What pixels take is known once they are coded. So a chunk is coded first. Then the files are found
that take less than their pixels and recipes took, and the chunk is coded again without the pixels
of these, if that saves more than a thousandth of it. A chunk that is still larger than its files
becomes a chunk of files alone. The smallest of these is written, so a set never takes more than its
files, their names and a few bytes for each file and chunk.
"""

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitsback.format import sidecar, xz
from bitsback.format.sidecar import Record
from bitsback.images.image_set import ImageSet
from bitsback.images.manifest import FilesManifest

_LEAST, _SHARE = 32, 1 / 1024  # bytes, and share of a chunk, that another try must save
_PRESET = 6  # of a payload
_XZ_GAIN = 2.0  # files are hardly ever so much smaller in xz than in the fastest zlib
_OF_FILES = (sidecar.FILE, sidecar.TAR, sidecar.TREE)


def choices(
    images: ImageSet, bits: NDArray[np.float64], size: int, payload: int
) -> Iterator[frozenset[int]]:
    """Numbers of the images whose files could travel in place of their pixels, as ways to try.

    Args:
        images: a chunk's.
        bits: that the pixels of each took, (N,).
        size: of the chunk, bytes.
        payload: of these, the payload's.
    """
    if images.originals is None:
        return
    originals = list(images.originals)
    free = [number for number, data in enumerate(originals) if data]
    beside = np.array([len(sidecar.pack(_split(data)[2])) for data in images.each_sidecar])
    share = min(1.0, payload / max(1, len(images.packed)))
    costs = bits / 8 + share * beside
    files = {n: _packed_size(originals[n], costs[n], images.pixels[n].size) for n in free}
    larger = frozenset(number for number in free if costs[number] > files[number])
    saved = sum(costs[number] - files[number] for number in larger)
    if larger and len(larger) < len(free) and saved > max(_LEAST, _SHARE * size):
        yield larger
    others = sum(costs[number] for number in set(range(len(costs))) - set(free))
    taken = size - payload + share * beside.sum() - others
    if free and (len(larger) == len(free) or taken > sum(files.values())):
        yield frozenset(free)


def carried(images: ImageSet, numbers: frozenset[int]) -> ImageSet:
    """The set whose images of these numbers are files beside the others, in their places.

    Raises:
        ValueError: it has no files.
    """
    manifest = images.manifest
    if images.originals is None or not isinstance(manifest, FilesManifest):
        raise ValueError("a set of arrays has no files")
    kept: list[int] = []
    sidecars: list[bytes] = []
    waiting: list[Record] = []
    for number, data in enumerate(images.each_sidecar):
        before, after, own = _split(data)
        if number in numbers:
            file = sidecar.pack_file(manifest.names[number], images.originals[number])
            waiting += [*before, file, *after]
            continue
        if waiting or before or after:
            own = [*waiting, *before, (sidecar.IMAGE, b""), *after, *own]
        kept.append(number)
        sidecars.append(sidecar.pack(own))
        waiting = []
    if waiting and kept:
        before, after, own = _split(sidecars[-1])
        sidecars[-1] = sidecar.pack([*before, (sidecar.IMAGE, b""), *after, *waiting, *own])
    elif waiting:
        sidecars.append(sidecar.pack(waiting))
    return ImageSet(
        [images.pixels[number] for number in kept],
        images.binary,
        manifest.picked(kept),
        sidecars=sidecars,
        is_new=True,
    )


def _split(data: bytes) -> tuple[list[Record], list[Record], list[Record]]:
    """A sidecar's records: of files before the image, of those after it, and of the image.

    The last header of a tar before an image is the image's own.
    """
    records = sidecar.unpack(data)
    mark = (sidecar.IMAGE, b"")
    place = records.index(mark) if mark in records else 0
    before, rest = records[:place], records[place:]
    after = [record for record in rest if record[0] in _OF_FILES]
    own = [record for record in rest if record[0] not in (*_OF_FILES, sidecar.IMAGE)]
    return before, after, own


def _packed_size(data: bytes, cost: float, values: int) -> int:
    """Bytes that a file takes in a payload.

    Args:
        cost: what its pixels took, bytes.
        values: of its pixels; a file of fewer bytes is packed already.
    """
    if len(data) < values:
        return len(data)
    quick = min(len(data), len(zlib.compress(data, 1)))
    return quick if quick > _XZ_GAIN * cost else min(quick, len(xz.compress(data, _PRESET)))
