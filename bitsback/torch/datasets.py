"""A bitsback file as a PyTorch data set, and batches that decode every chunk once.

    dataset = ImageDataset("cifar10.bb")
    batches = ChunkBatchSampler(dataset, 64, workers=2)
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=2)

Reading one image decodes its whole chunk. A data set keeps the last few decoded chunks, but batches
drawn from all over the file would still decode a chunk for each image. The sampler therefore
shuffles the order of the chunks, then the images of a few chunks among themselves, and gives each
worker chunks of its own.
"""

import bisect
import itertools
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from bitsback import api
from bitsback.archive.reader import Reader
from bitsback.errors import FormatError, InputError
from bitsback.format import header as container
from bitsback.images.arrays.stored import ArraysManifest
from bitsback.images.image_set import NO_IMAGES, ImageSet, part, to_stack
from bitsback.images.parts import ImageFile, in_order
from bitsback.keeping.coded import NotKept
from bitsback.keeping.rule import SHOWN, Rule

Transform = Callable[[torch.Tensor], Any]

# torch computes little with unsigned integers of more than 8 bits.
_KINDS: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.uint8),
    "uint16": np.dtype(np.int32),
    "uint32": np.dtype(np.int64),
}


@dataclass(frozen=True)
class _Chunk:
    """A decoded chunk, and its images and image files in order."""

    images: ImageSet
    items: tuple[int | ImageFile, ...]


class ImageDataset(Dataset[Any]):
    """The images of a file, map-style: `dataset[i]` is a uint8 tensor (C, H, W), int32 of 16 bits.

    Of arrays of other integers it has their dtype, int64 of uint32. Image files that travel as they
    are, such as JPEGs, are images of it, too, in the order of the set. They are decoded as they
    would be coded; of other formats Pillow shows the pixels, of an animation or an MPO the first
    image, and none is turned by its EXIF. Files of a version before 8 do not count image files that
    travel as they are: of these it has the coded images, and a warning says so.

    Args:
        path: of a file written by `bitsback.compress`.
        model: the model that wrote it, if it does not ship: a name or a folder.
        chunks: how many decoded chunks each process keeps.
        transform: called with each image, and gives what the data set gives.

    Raises:
        InputError: the file cannot be read, has no image, or `chunks` is below 1; of one image: it
            is a file whose pixels are no levels of gray or RGB, or a damaged one, as its name says.
        FormatError: not a bitsback file; of one image: it is damaged.
    """

    def __init__(
        self,
        path: str | Path,
        model: str | Path | None = None,
        chunks: int = 2,
        transform: Transform | None = None,
    ) -> None:
        if chunks < 1:
            raise InputError(f"a data set keeps at least one chunk, not {chunks}")
        self.path, self.model, self.chunks, self.transform = Path(path), model, chunks, transform
        self._told = False
        with api.open(self.path, model) as reader:
            #: numbers of each chunk's images
            sizes = [entry.images + entry.image_files for entry in reader.header.chunks]
            self._all_counted = reader.header.format_version >= container.COUNTS
            bare = sum(not entry.images for entry in reader.header.chunks)
        ends = itertools.accumulate(sizes)
        self.ranges = tuple(range(end - size, end) for size, end in zip(sizes, ends, strict=True))
        if not len(self):
            raise InputError(NO_IMAGES)
        if bare and not self._all_counted:
            self._tell(f"{bare} chunks hold files that travel as they are, which are no tensors")
        self._forget()

    def _tell(self, what: str) -> None:
        if not self._told:
            warnings.warn(f"{self.path}: {what}", stacklevel=3)
        self._told = True

    def __len__(self) -> int:
        return self.ranges[-1].stop if self.ranges else 0

    def __getitem__(self, number: int) -> Any:
        index = range(len(self))[number]
        chunk = bisect.bisect_right(self.ranges, index, key=lambda numbers: numbers.start) - 1
        image = self._decoded(chunk, index - self.ranges[chunk].start)
        return image if self.transform is None else self.transform(image)

    def __del__(self) -> None:
        if vars(self).get("_reader") is not None:
            self.close()

    def close(self) -> None:
        """Close the file and forget its chunks; the next image opens it again."""
        if self._reader is not None:
            self._reader.close()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        """What a worker gets: it opens the file, and decodes, by itself."""
        own = ("_kept", "_reader", "_process", "_lock")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def _forget(self) -> None:
        self._kept: OrderedDict[int, _Chunk] = OrderedDict()  # the last used one last
        self._reader: Reader | None = None
        self._process = 0
        self._lock = threading.RLock()  # a thread at a time decodes

    def _decoded(self, chunk: int, place: int) -> torch.Tensor:
        with self._lock:
            decoded = self._kept.pop(chunk, None) or self._decode(chunk)
            self._kept[chunk] = decoded
            if len(self._kept) > self.chunks:
                self._kept.popitem(last=False)
        item = decoded.items[place]
        if isinstance(item, ImageFile):
            return _tensor(_shown(item, decoded.images.binary).transpose(2, 0, 1))
        image = part(decoded.images, item, item + 1)
        pixels, manifest = to_stack(image)[0], image.manifest
        first = isinstance(manifest, ArraysManifest) and next(manifest.runs())[0].axes == "chw"
        if pixels.ndim == 2:
            pixels = pixels[None]
        elif not first:
            pixels = pixels.transpose(2, 0, 1)
        return _tensor(pixels)

    def _decode(self, chunk: int) -> _Chunk:
        # A file that was open before a fork would share its place with the other process.
        if self._reader is None or self._process != os.getpid():
            self._reader, self._process = api.open(self.path, self.model), os.getpid()
        images = self._reader.chunk(chunk).images
        items = tuple(in_order(images))
        if not self._all_counted:
            files = [item.name for item in items if isinstance(item, ImageFile)]
            items = tuple(range(len(images.pixels)))
            if files:
                self._tell(f"image files travel as they are and are no tensors, such as {files[0]}")
        if len(items) != len(self.ranges[chunk]):
            raise FormatError(f"{self.path}: chunk {chunk} has other images than its index counts")
        return _Chunk(images, items)


def _shown(file: ImageFile, binary: bool) -> NDArray[np.uint8 | np.uint16]:
    """The levels of an image file, (H, W, C).

    Args:
        binary: whether images of 1 bit are 0 and 1, as the coded ones of the chunk are.

    Raises:
        InputError: it has none.
    """
    try:
        found = Rule(SHOWN).examine(file.content)
    except NotKept as error:
        raise InputError(f"{file.name} is no image of levels: it {error}") from error
    return found.levels * np.uint8(255) if found.mode == "1" and not binary else found.levels


def _tensor(pixels: NDArray[Any]) -> torch.Tensor:
    native = pixels.dtype.newbyteorder("=")
    kind = _KINDS.get(native.name, native)
    return torch.from_numpy(np.ascontiguousarray(pixels).astype(kind, copy=False))


class ChunkBatchSampler(Sampler[list[int]]):
    """Batches of image numbers, shuffled, from a few chunks at a time.

    Batch number i is of chunks that belong to worker i mod `workers`, which is the one that a
    DataLoader gives it to. Every image comes once in an epoch; the last batches of a worker may be
    smaller.

    Args:
        dataset: whose chunks are drawn from.
        size: images per batch.
        workers: of the DataLoader; 0 and 1 are the same.
        seed: of the order, with the number of the epoch (`set_epoch`).

    Raises:
        InputError: a batch holds less than one image.
    """

    def __init__(self, dataset: ImageDataset, size: int, workers: int = 0, seed: int = 0) -> None:
        if size < 1 or workers < 0:
            raise InputError("batches hold at least one image, and workers are 0 or more")
        self.dataset, self.size, self.workers, self.seed = dataset, size, max(1, workers), seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another order, for another epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(len(self.dataset.ranges))
        mine = [
            self._batches(order[i :: self.workers].tolist(), random) for i in range(self.workers)
        ]
        waiting = mine
        while waiting:
            for batches in tuple(waiting):
                batch = next(batches, None)
                if batch is None:
                    waiting.remove(batches)  # the others' last chunks may be decoded twice
                else:
                    yield batch

    def _batches(self, chunks: Sequence[int], random: np.random.Generator) -> Iterator[list[int]]:
        together = self.dataset.chunks
        for begin in range(0, len(chunks), together):
            some = [self.dataset.ranges[chunk] for chunk in chunks[begin : begin + together]]
            numbers = random.permutation(np.concatenate(some))
            for first in range(0, len(numbers), self.size):
                yield numbers[first : first + self.size].tolist()
