"""Figures as matplotlib lays them out: images in rows with labels, curves, bars."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_INCH = 0.62  # of an image's side
_MARGIN = 1.25  # inches, of the rows' labels
_GAP = 0.12  # inches, between groups of columns
_DPI = 150


def rows(
    labelled: Sequence[tuple[str, np.ndarray]],
    title: str,
    columns: Sequence[tuple[str, int]] = (),
    inch: float = _INCH,
) -> Figure:
    """Rows of images, each with a label at its left.

    Args:
        labelled: label and images, (n, H, W, C) uint8, of each row; n the same in all.
        columns: headings and how many images each stands over, from the left on.
        inch: side of an image.
    """
    count, height, width = labelled[0][1].shape[:3]
    cell = inch * np.array([width, height]) / max(width, height)
    # Inches from the left: a gap before each heading's images but the first ones.
    begins = np.cumsum([0, *(many for _, many in columns)])
    gaps = np.searchsorted(begins[1:-1], np.arange(count), "right") * _GAP
    places = _MARGIN + np.arange(count) * cell[0] + gaps
    top = 0.42 + 0.24 * bool(columns)
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
    for (heading, many), begin in zip(columns, begins, strict=False):
        middle = (places[begin] + places[begin + many - 1] + cell[0]) / 2
        at = (middle / size[0], 1 - (top - 0.08) / size[1])
        figure.text(*at, heading, ha="center", va="bottom", size=7)
    return figure


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (n, H, W, C) as rows of a sheet, (n // columns, columns, H, W, C)."""
    return images.reshape(-1, columns, *images.shape[1:])


def panels(count: int, title: str) -> tuple[Figure, list]:  # type: ignore[type-arg]
    """A figure of panels side by side, with their axes."""
    figure = Figure((4.2 * count, 3.4), dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots(1, count, squeeze=False)[0].tolist()
    for each in axes:
        each.tick_params(labelsize=7)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes
