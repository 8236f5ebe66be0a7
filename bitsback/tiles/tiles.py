"""Pictures of any size as equal tiles, and back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitsback.errors import FormatError, InputError


def count(shapes: Sequence[tuple[int, int, int]], tile: tuple[int, int]) -> int:
    """Number of tiles that pictures need: the sum of ceil(H / th) * ceil(W / tw).

    Args:
        shapes: (H, W, C) of each picture, in pixels.
        tile: (th, tw), in pixels.

    Returns:
        The number of tiles that `cut` makes.
    """
    return sum(rows * cols for rows, cols in (grid(shape, tile) for shape in shapes))


def cut(pictures: Sequence[NDArray[np.uint8]], tile: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut pictures into tiles: picture by picture, row-major.

    Edges that do not fill a tile are padded at the right and bottom by repeating the last pixel.

    Args:
        pictures: (H, W, C) uint8 each, all with the same C; at least one.
        tile: (th, tw), in pixels.

    Returns:
        (N, th, tw, C) uint8.

    Raises:
        InputError: no pictures, or pictures that differ in channels.
    """
    if not pictures:
        raise InputError("there are no pictures to cut into tiles")
    channels = pictures[0].shape[2]
    if any(picture.shape[2] != channels for picture in pictures):
        raise InputError("pictures cut together must have equally many channels")
    height, width = tile
    shapes = [_shape(picture) for picture in pictures]
    tiles = np.empty((count(shapes, tile), height, width, channels), np.uint8)
    first = 0
    for picture, shape in zip(pictures, shapes, strict=True):
        rows, cols = grid(shape, tile)
        missing = (rows * height - shape[0], cols * width - shape[1])
        padded = np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
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
        shapes: (H, W, C) of each picture, in pixels.

    Returns:
        The pictures, (H, W, C) uint8 each.

    Raises:
        FormatError: the tiles are not those of pictures with these shapes.
    """
    height, width, channels = tiles.shape[1:]
    if count(shapes, (height, width)) != len(tiles):
        raise FormatError("the number of tiles does not fit the pictures' sizes")
    if any(shape[2] != channels for shape in shapes):
        raise FormatError("the tiles' channels do not fit the pictures'")
    pictures = []
    first = 0
    for shape in shapes:
        rows, cols = grid(shape, (height, width))
        part = tiles[first : first + rows * cols]
        split = part.reshape(rows, cols, height, width, channels).swapaxes(1, 2)
        whole = split.reshape(rows * height, cols * width, channels)
        pictures.append(np.ascontiguousarray(whole[: shape[0], : shape[1]]))
        first += rows * cols
    return pictures


def values(shapes: Sequence[tuple[int, int, int]], tile: tuple[int, int]) -> NDArray[np.int64]:
    """How many values of the pictures every tile of `cut` holds, its padding left out.

    Args:
        shapes: (H, W, C) of each picture, in pixels.
        tile: (th, tw), in pixels.

    Returns:
        (N,) int64.
    """
    found = []
    for shape in shapes:
        sides = [
            np.minimum(size, whole - size * np.arange(count))
            for size, whole, count in zip(tile, shape, grid(shape, tile), strict=False)
        ]
        found.append(shape[2] * np.outer(*sides).ravel())
    return np.concatenate(found)


def grid(shape: Sequence[int], tile: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles that a picture of shape (H, W, ...) needs."""
    return -(-shape[0] // tile[0]), -(-shape[1] // tile[1])


def _shape(picture: NDArray[np.uint8]) -> tuple[int, int, int]:
    height, width, channels = picture.shape
    return height, width, channels
