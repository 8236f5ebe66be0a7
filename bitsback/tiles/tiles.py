"""Images of any size as equal tiles, and back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError, InputError


def count(shapes: Sequence[tuple[int, int, int]], tile: tuple[int, int]) -> int:
    """Number of tiles that images need: the sum of ceil(H / th) * ceil(W / tw).

    Args:
        shapes: (H, W, C) of each image, in pixels.
        tile: (th, tw), in pixels.

    Returns:
        The number of tiles that `cut` makes.
    """
    return sum(rows * cols for rows, cols in (grid(shape, tile) for shape in shapes))


def cut(images: Sequence[NDArray[np.uint8]], tile: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut images into tiles: image by image, row-major.

    Edges that do not fill a tile are padded at the right and bottom by repeating the last pixel.

    Args:
        images: (H, W, C) uint8 each, all with the same C; at least one.
        tile: (th, tw), in pixels.

    Returns:
        (N, th, tw, C) uint8.

    Raises:
        InputError: no images, or images that differ in channels.
    """
    if not images:
        raise InputError("there are no images to cut into tiles")
    channels = images[0].shape[2]
    if any(image.shape[2] != channels for image in images):
        raise InputError("images cut together must have equally many channels")
    height, width = tile
    shapes = [_shape(image) for image in images]
    tiles = np.empty((count(shapes, tile), height, width, channels), np.uint8)
    first = 0
    for image, shape in zip(images, shapes, strict=True):
        rows, cols = grid(shape, tile)
        missing = (rows * height - shape[0], cols * width - shape[1])
        padded = np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        split = padded.reshape(rows, height, cols, width, channels).swapaxes(1, 2)
        last = first + rows * cols
        tiles[first:last] = split.reshape(rows * cols, height, width, channels)
        first = last
    return tiles


def join(
    tiles: NDArray[np.uint8], shapes: Sequence[tuple[int, int, int]]
) -> list[NDArray[np.uint8]]:
    """Put tiles together again and drop the padding; the inverse of `cut`.

    Args:
        tiles: (N, th, tw, C) uint8.
        shapes: (H, W, C) of each image, in pixels.

    Returns:
        The images, (H, W, C) uint8 each.

    Raises:
        FormatError: the tiles are not those of images with these shapes.
    """
    height, width, channels = tiles.shape[1:]
    if count(shapes, (height, width)) != len(tiles):
        raise FormatError("the number of tiles does not fit the images' sizes")
    if any(shape[2] != channels for shape in shapes):
        raise FormatError("the tiles' channels do not fit the images'")
    images = []
    first = 0
    for shape in shapes:
        rows, cols = grid(shape, (height, width))
        part = tiles[first : first + rows * cols]
        split = part.reshape(rows, cols, height, width, channels).swapaxes(1, 2)
        whole = split.reshape(rows * height, cols * width, channels)
        images.append(np.ascontiguousarray(whole[: shape[0], : shape[1]]))
        first += rows * cols
    return images


def values(shapes: Sequence[tuple[int, int, int]], tile: tuple[int, int]) -> NDArray[np.int64]:
    """How many values of the images every tile of `cut` holds, its padding left out.

    Args:
        shapes: (H, W, C) of each image, in pixels.
        tile: (th, tw), in pixels.

    Returns:
        (N,) int64.
    """
    counts = []
    for shape in shapes:
        sides = [
            np.minimum(size, whole - size * np.arange(count))
            for size, whole, count in zip(tile, shape, grid(shape, tile), strict=False)
        ]
        counts.append(shape[2] * np.outer(*sides).ravel())
    return np.concatenate(counts)


def grid(shape: Sequence[int], tile: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles that an image of shape (H, W, ...) needs."""
    return -(-shape[0] // tile[0]), -(-shape[1] // tile[1])


def _shape(image: NDArray[np.uint8]) -> tuple[int, int, int]:
    height, width, channels = image.shape
    return height, width, channels
