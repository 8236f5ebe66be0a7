"""The sets whose figures the documentation has, found in a folder."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from bitsback.errors import InputError
from bitsback.images.image_set import ImageSet, first_images, from_array
from bitsback.keeping import rule
from bitsback.keeping.rule import Policy
from bitsback.sources import npy, read


@dataclasses.dataclass(frozen=True)
class StandardSet:
    """A set, and the models whose figures on it the documentation has.

    Args:
        name: as tables have it.
        place: of its .npz, or folder of image files, in the folder of all sets.
        models: names of shipped models, the usual one first.
        arrays: of the .npz, the first of which that is there is taken; none for a folder.
    """

    name: str
    place: str
    models: tuple[str, ...]
    arrays: tuple[str, ...] = ()

    def is_in(self, folder: Path) -> bool:
        """Whether a folder has the set."""
        return (folder / self.place).exists()

    def read(
        self, folder: Path, limit: int | None = None, policy: Policy = rule.PIXELS
    ) -> tuple[str, ImageSet]:
        """What was read, such as "MNIST test", and its images, or the first `limit` of them.

        Args:
            policy: how files come back.

        Raises:
            InputError: it is not there, or holds something else.
        """
        path, title = folder / self.place, self.name
        if self.arrays:
            stored, _ = npy.load_npz(path)
            found = [name for name in self.arrays if name in stored]
            if not found:
                raise InputError(f"{path} has no array {' or '.join(self.arrays)}")
            title, images = f"{self.name} {found[0]}", from_array(stored[found[0]])
        else:
            # Not all of a folder is read for the first files alone.
            files = sorted(path.iterdir())[:limit] if limit and path.is_dir() else [path]
            images = read.read_images(files, policy)
        return title, images if limit is None else first_images(images, limit)


SETS = (
    StandardSet("Omniglot", "omniglot.npz", ("omniglot",), ("test_binary", "test")),
    StandardSet("MNIST", "mnist.npz", ("mnist",), ("test",)),
    # Where nothing was held out of the training images, the test images stand for them.
    StandardSet("CIFAR-10", "cifar10.npz", ("photo", "photo-fast", "draw"), ("heldout", "test")),
    StandardSet("Kodak", "kodak", ("photo",)),
    StandardSet("McMaster", "mcmaster", ("photo",)),
    StandardSet("Set14", "set14", ("photo",)),
)


def parted(folder: Path) -> tuple[Sequence[StandardSet], Sequence[StandardSet]]:
    """The sets that a folder has, and those that it lacks."""
    there = [each for each in SETS if each.is_in(folder)]
    return there, [each for each in SETS if not each.is_in(folder)]
