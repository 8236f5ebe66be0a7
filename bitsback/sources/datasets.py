"""One way in for images wherever they lie, which `bitsback.compress` and `rate` take too.

read("photos/"), read("shard.tar"), read("cifar10.zarr"), read(["a.png", "b.png"])
read(array), read(zarr.open("cifar10.zarr"))
read(torchvision.datasets.MNIST(...)), read(datasets.load_dataset("mnist")["test"])
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitsback.errors import InputError
from bitsback.images.image_set import ImageSet, from_array

_COLUMNS = ("image", "img", "images")


def read(source: Any) -> ImageSet:
    """Images as the set of images that is compressed.

    Args:
        source: the path of a .npy, .npz, tar (WebDataset), Zarr array, image file or folder, or a
            list of paths of image files; an array; a Zarr array; or a data set (see `images_of`).
            What has a path, and a Zarr array, is read a chunk at a time when it is coded.

    Raises:
        InputError: there are no images, or of a kind that cannot be kept exactly.
    """
    from . import read as inputs

    if isinstance(source, str | Path):
        return inputs.read_images([Path(source)])
    if isinstance(source, list | tuple) and source and isinstance(source[0], str | Path):
        return inputs.read_images([Path(path) for path in source])
    if isinstance(source, np.ndarray):
        return from_array(source)
    if all(hasattr(source, name) for name in ("shape", "dtype", "chunks")):
        return inputs.from_zarr(source, "the array")
    return from_array(images_of(source))


def images_of(source: Any) -> np.ndarray:
    """The images of a data set: anything with a length and items.

    Args:
        source: an array; a torchvision-style data set, whose items are images or tuples that begin
            with one; a Hugging Face data set, whose items have a column "image", "img" or "images".
            An image is a PIL image or an array: (H, W), (H, W, C), or a tensor (C, H, W).

    Returns:
        (N, H, W) or (N, H, W, C) uint8 or bool.

    Raises:
        InputError: there are none, of several sizes, or of another kind.
    """
    if isinstance(source, np.ndarray):
        return source
    found = list(_images(source))
    if not found:
        raise InputError("the data set has no images")
    shapes = {image.shape for image in found}
    if len(shapes) > 1:
        raise InputError("images of different sizes or kinds make no array: compress them as files")
    return np.stack(found)


def _images(source: Any) -> Iterator[np.ndarray]:
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        raise InputError(f"a data set has a length and items; {type(source).__name__} has not")
    for number in range(len(source)):
        yield _image(source[number])


def _image(item: Any) -> np.ndarray:
    if isinstance(item, Mapping):
        column = next((name for name in _COLUMNS if name in item), None)
        if column is None:
            raise InputError(f"no column of images among {', '.join(map(str, item))}")
        item = item[column]
    elif isinstance(item, tuple | list) and item:
        item = item[0]
    image = np.asarray(item)
    if image.ndim == 3 and hasattr(item, "permute"):  # a torch tensor, (C, H, W)
        image = image.transpose(1, 2, 0)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.dtype not in (np.uint8, np.bool_) or image.ndim not in (2, 3):
        raise InputError(
            f"images are uint8 or bool, not {image.dtype} of shape {image.shape}: "
            "give the data set without a transform"
        )
    return image
