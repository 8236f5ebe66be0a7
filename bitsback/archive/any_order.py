"""Sets whose images may come back in any order: what comes back beside them, such as labels."""

import dataclasses

import numpy as np

from bitsback.chunks import order
from bitsback.errors import InputError
from bitsback.images.image_set import ImageSet
from bitsback.images.manifest import ArrayManifest, NpzManifest
from bitsback.sources import npy


def with_companions(images: ImageSet, bounds: list[tuple[int, int]]) -> ImageSet:
    """The set, the other arrays of its .npz sorted as the images of each chunk will be.

    An array with an entry for each image, such as labels, follows the images; others stay as they
    are. The images are read once for this.

    Args:
        bounds: images first..end - 1 of each chunk.

    Raises:
        InputError: the images are files, or have low bits beside them.
    """
    if images.sidecars is not None or not isinstance(images.manifest, ArrayManifest):
        raise InputError("only arrays of 8-bit or binary images can be coded in any order")
    if not isinstance(images.manifest, NpzManifest):
        return images
    others, count = npy.unpack_arrays(images.extra), len(images.pixels)
    followers = [name for name, each in others.items() if each.shape[:1] == (count,)]
    if not followers:
        return images
    numbers = np.concatenate(
        [begin + order.canonical(images.pixels[begin:end]) for begin, end in bounds]
    )
    others |= {name: others[name][numbers] for name in followers}
    return dataclasses.replace(images, extra=npy.pack_arrays(others))
