"""Data sets of other libraries, such as torchvision and Hugging Face, as arrays of images."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import InputError

_COLUMNS = ("image", "img", "images")
# Of PIL images whose arrays are their levels.
_MODES = ("1", "L", "LA", "RGB", "RGBA", "I", "I;16", "I;16L", "I;16B")


class DataSet(Protocol):
    """Items by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> object: ...


Values = NDArray[np.integer[Any] | np.bool_]


def images_of(source: object) -> Values:
    """The images of a data set: anything with a length and items.

    Args:
        source: an array; a torchvision-style data set, whose items are images or tuples that begin
            with one; a Hugging Face data set, whose items have a column "image", "img" or "images".
            An image is a PIL image or an array of integers or bool: (H, W), (H, W, C), or a
            tensor (C, H, W). Of PIL images the levels are taken, not the metadata.

    Returns:
        (N, H, W) or (N, H, W, C) in the images' dtype.

    Raises:
        InputError: there are none, of several sizes, or of another kind.
    """
    if isinstance(source, np.ndarray):
        return source
    if not _is_data_set(source):
        raise InputError(f"a data set has a length and items; {type(source).__name__} has not")
    if isinstance(source, Mapping):
        names = ", ".join(map(str, source))
        raise InputError(f"a dictionary of data sets ({names}): give one of them")
    images = list(_images(source))
    if not images:
        raise InputError("the data set has no images")
    if len({image.shape for image in images}) > 1:
        raise InputError("images of different sizes or kinds make no array: compress them as files")
    # Without a dtype NumPy would change the byte order.
    return np.stack(images, dtype=images[0].dtype)


def _is_data_set(source: object) -> TypeGuard[DataSet]:
    return hasattr(source, "__len__") and hasattr(source, "__getitem__")


def _images(source: DataSet) -> Iterator[Values]:
    for number in range(len(source)):
        yield _image(source[number])


def _image(item: object) -> Values:
    if isinstance(item, Mapping):
        column = next((name for name in _COLUMNS if name in item), None)
        if column is None:
            raise InputError(f"no column of images among {', '.join(map(str, item))}")
        item = item[column]
    elif isinstance(item, tuple | list) and item:
        item = item[0]
    mode = getattr(item, "mode", None)
    if isinstance(mode, str) and mode not in _MODES:
        # Floats are no images, but their bytes are.
        samples = "np.asarray(image)" + ".view(np.uint8)" * (mode == "F")
        raise InputError(
            f"an image has mode {mode}, which an array does not tell: compress the image files "
            f"themselves, or give the samples, {samples}, and keep beside them {_kept(mode)}"
        )
    if isinstance(mode, str) and "transparency" in getattr(item, "info", {}):
        raise InputError(
            "an image has a transparent colour, which an array does not tell: compress the image "
            "files themselves, or give the samples, np.asarray(image), and keep beside them "
            "image.info['transparency']"
        )
    if np.ma.is_masked(item):
        raise InputError("an image has a mask; give its data and its mask, each by itself")
    image = np.asarray(item)
    if image.ndim == 3 and hasattr(item, "permute"):  # a torch tensor, (C, H, W)
        image = image.transpose(1, 2, 0)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.dtype.kind not in "bui" or image.ndim not in (2, 3):
        raise InputError(
            f"images are integers or bool, not {image.dtype} of shape {image.shape}: "
            "give the data set without a transform"
        )
    return image


def _kept(mode: str) -> str:
    """What else than samples a PIL image of a mode consists of."""
    return f"the mode, {mode!r}" + (
        ", and the palette, image.getpalette('RGBA')" if mode in ("P", "PA") else ""
    )
