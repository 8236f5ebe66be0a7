"""Layouts of figures in matplotlib: labelled rows of images, and panels for curves and bars."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_INCH = 0.62  # inches, an image's longer side
_MARGIN = 1.25  # inches, for the rows' labels
_DPI = 150


def rows(
    labelled: Sequence[tuple[str, NDArray[np.uint8]]],
    title: str,
    inch: float = _INCH,
) -> Figure:
    """Rows of images, each row with a label at its left.

    Args:
        labelled: each row's label and images (n, H, W, C); all rows have the same n.
        title: of the figure.
        inch: an image's longer side, inches.
    """
    count, height, width = labelled[0][1].shape[:3]
    cell = inch * np.array([width, height]) / max(width, height)
    places = _MARGIN + np.arange(count) * cell[0]  # inches from the left
    top = 0.42
    size = (places[-1] + cell[0] + 0.1, top + cell[1] * len(labelled) + 0.1)
    figure = Figure(size, dpi=_DPI)
    figure.suptitle(title, fontsize=9, y=1 - 0.12 / size[1], va="top")
    for number, (label, images) in enumerate(labelled):
        bottom = size[1] - top - (number + 1) * cell[1]
        at = ((_MARGIN - 0.06) / size[0], (bottom + cell[1] / 2) / size[1])
        figure.text(*at, label, ha="right", va="center", size=7)
        for place, image in zip(places, images, strict=True):
            box = np.array([place, bottom, cell[0] * 0.96, cell[1] * 0.96]) / (size * 2)
            axes = figure.add_axes(tuple(box.tolist()))
            show = image[:, :, 0] if image.shape[2] == 1 else image
            axes.imshow(show, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.axis("off")
    return figure


def grid(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Images (n, H, W, C) as rows of a sheet, (n // columns, columns, H, W, C)."""
    return images.reshape(-1, columns, *images.shape[1:])


def panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side, and their axes."""
    figure = Figure((4.2 * count, 3.4), dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=9)
    axes: list[Axes] = figure.subplots(1, count, squeeze=False)[0].tolist()
    for panel in axes:
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes
