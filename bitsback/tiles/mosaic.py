"""Tiles side by side as one image, nearly square."""

import math

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int, int]
"""(n, h, w, C) of tiles."""


def join(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mosaic, (rows h, columns w, C) uint8, filled up with zeros.

    Args:
        tiles: (n, h, w, C) uint8.
    """
    n, height, width, channels = shape = shape_of(tiles)
    rows, columns = sides(shape)
    blank = np.zeros((rows * columns - n, height, width, channels), np.uint8)
    grid = np.concatenate([tiles, blank]).reshape(rows, columns, height, width, channels)
    return grid.swapaxes(1, 2).reshape(rows * height, columns * width, channels)


def split(joined: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Inverse of `join`, given the shape of the tiles."""
    n, height, width, channels = shape
    rows, columns = sides(shape)
    grid = joined.reshape(rows, height, columns, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * columns, height, width, channels)[:n].copy()


def sides(shape: Shape) -> tuple[int, int]:
    """Rows and columns of the tiles in their mosaic."""
    n, height, width, _ = shape
    columns = min(n, math.isqrt(max(n * height // width - 1, 0)) + 1)
    return -(-n // columns), columns


def shape_of(tiles: NDArray[np.uint8]) -> Shape:
    """The shape of a stack of tiles."""
    n, height, width, channels = tiles.shape
    return n, height, width, channels
