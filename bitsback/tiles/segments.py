"""Images as runs of equal tiles, the segments of a file: colour first, then gray."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from bitsback.coding.model import LoadedModel, Pixels
from bitsback.errors import InputError
from bitsback.images.image_set import ImageSet
from bitsback.tables.latent_grid import NIL

from . import channels as planes
from . import tiles
from .padding import ImageRun, Layout, fill_passes, image_runs

_LEAST_TILES = 48
_MOST_PADDING = 1.25


@dataclasses.dataclass(frozen=True)
class Run:
    """The tiles of a segment.

    Args:
        tiles: (n, h, w, C) uint8, C 1 or 3.
        gray: whether they are gray but the model has three channels.
        images: as of a `Segment`.
    """

    tiles: np.ndarray
    gray: bool
    images: tuple[ImageRun, ...] = ()

    def batch(self, where: slice | np.ndarray) -> np.ndarray:
        """Tiles as the model takes them, (B, C of the model, h, w)."""
        x = self.tiles[where].transpose(0, 3, 1, 2)
        return np.ascontiguousarray(np.repeat(x, 3, 1) if self.gray else x)


def tile_side(images: ImageSet, loaded: LoadedModel) -> int:
    """The largest of the model's tiles that spends little time beyond the images' edges.

    Larger tiles have fewer edges, at which the network knows less; but a chain needs many tiles
    to earn back its initial bits, if its model has any latents.
    """
    has_latents = any((group.log_width != NIL).any() for group in loaded.model.groups)
    fewest = _LEAST_TILES if has_latents else 1
    shapes = [plane.shape for image in images.pixels for plane in planes.split(image)]
    padded = {t: tiles.count(shapes, (t, t)) * t * t for t in loaded.tiles}
    least = min(padded.values())
    good = [
        t for t, area in padded.items() if area <= _MOST_PADDING * least and area >= fewest * t * t
    ]
    return max(good, default=loaded.tiles[0])


def runs_of(images: ImageSet, loaded: LoadedModel, side: int) -> list[Run]:
    """Cut images into square tiles of one size, colour before gray.

    What lies beyond the edges repeats the last pixels, as suits a classical code.

    Raises:
        InputError: the model cannot code such images.
    """
    if loaded.binary and not images.binary:
        raise InputError(
            f"model {loaded.name!r} codes binary images (0 and 1) only: "
            "use a model of 8-bit images, such as photo"
        )
    found = []
    every = [plane for pixels in images.pixels for plane in planes.split(pixels)]
    for channels in (3, 1):
        same = [plane for plane in every if plane.shape[2] == channels]
        if not same:
            continue
        if channels > loaded.channels:
            raise InputError(
                f"model {loaded.name!r} codes gray images only: use a colour model, such as photo"
            )
        cut = tiles.cut(same, (side, side))
        sizes = image_runs([p.shape[:2] for p in same], side, side)
        found.append(Run(cut, channels < loaded.channels, sizes))
    return found


def with_edges(run: Run, passes: Sequence[Pixels]) -> Run:
    """The run with what a chain puts beyond the edges; itself if there is nothing."""
    layout = Layout(run.images, *run.tiles.shape[1:3])
    extents = layout.extents(range(len(run.tiles)))
    if extents is None:
        return run
    found = run.tiles.copy()
    fill_passes(found.transpose(0, 3, 1, 2), extents, passes)
    return dataclasses.replace(run, tiles=found)
