"""Image data sets of other libraries, as one array of images.

images_of(torchvision.datasets.MNIST(...)), images_of(datasets.load_dataset("mnist")["test"])
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .errors import InputError

_COLUMNS = ("image", "img", "images")


def images_of(source: Any) -> np.ndarray:
    """The images of a data set: anything with a length and items.

    Args:
        source: an array; a torchvision-style data set, whose items are images or tuples that begin
            with one; a Hugging Face data set, whose items have a column "image", "img" or "images".
            An image is a PIL picture or an array: (H, W), (H, W, C), or a tensor (C, H, W).

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
