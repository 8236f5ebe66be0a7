"""The last line of `compress` and `decompress`, and the same facts as JSON."""

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitsback.images.outcomes import Kept


@dataclasses.dataclass(frozen=True)
class Files:
    """How many files of a folder, a tar or a list come back in which way.

    Args:
        exact: byte for byte, from their pixels.
        samples: with the same samples and metadata, in other bytes.
        recoded: lossy files, as PNG of the pixels that they decode to.
        carried: byte for byte, since they travel as they are.
    """

    exact: int
    samples: int
    recoded: int
    carried: int

    def __str__(self) -> str:
        counts = (
            (self.exact, "byte for byte"),
            (self.samples, "same samples in other bytes"),
            (self.recoded, "lossy as PNG"),
            (self.carried, "carried as they were"),
        )
        (first, *rest) = [f"{count:,} {how}" for count, how in counts if count]
        number, _, how = first.partition(" ")
        return ", ".join([f"{number} file{'s' * (number != '1')} {how}", *rest])


def files_of(kept: "Kept") -> Files | None:
    """The counts of a set; None of one that has no files."""
    files = Files(kept.exact, kept.samples, kept.recoded, len(kept.carried))
    return files if any(dataclasses.astuple(files)) else None


@dataclasses.dataclass(frozen=True)
class Compressed:
    """What `compress` did.

    Args:
        output: the file that was written; "-" for standard output.
        images: that were coded.
        input_bytes: of the input on the disk, a folder's with all its files.
        output_bytes: of the output.
        ratio: of input_bytes to output_bytes.
        bits_per_dim: of the output, per sub-pixel of its images; None if files travel as they are,
            whose bytes are no image's.
        seconds: that it took.
        model: the model's name; "" where no image is coded.
        files: how the files of a folder, a tar or a list come back; None for arrays.
        model_share: of the values, the share that went through the model; a classical code that
            was smaller took the others.
    """

    output: str
    images: int
    input_bytes: int
    output_bytes: int
    ratio: float
    bits_per_dim: float | None
    seconds: float
    model: str
    files: Files | None
    model_share: float

    def __str__(self) -> str:
        sizes = f"{self.input_bytes:,} to {self.output_bytes:,} bytes ({self.ratio:.2f} to 1)"
        rate = "" if self.bits_per_dim is None else f"{self.bits_per_dim:.4f} bits/dim, "
        line = (
            f"{self.output}: {_images(self.images)}, {sizes}, {rate}"
            f"{self.seconds:.1f} s, {_model(self.model)}"
        )
        if self.model_share < 1:
            line += f" ({1 - self.model_share:.1%} in a classical code, which was smaller)"
        return line if self.files is None else f"{line}; {self.files}"


@dataclasses.dataclass(frozen=True)
class Decompressed:
    """What `decompress` did.

    Args:
        output: the file or folder that was written; "-" for standard output.
        images: of the file.
        input_bytes: of the compressed file.
        output_bytes: of the output on the disk, a folder's with all its files.
        ratio: of output_bytes to input_bytes.
        seconds: that it took.
        model: the model's name; "" where no image is coded.
        lost_images: that `--salvage` could not decode.
        damage: a sentence for each damaged chunk.
    """

    output: str
    images: int
    input_bytes: int
    output_bytes: int
    ratio: float
    seconds: float
    model: str
    lost_images: int
    damage: tuple[str, ...]

    def __str__(self) -> str:
        sizes = f"{self.input_bytes:,} to {self.output_bytes:,} bytes (1 to {self.ratio:.2f})"
        lost = f"; {self.lost_images:,} lost" if self.lost_images else ""
        return (
            f"{self.output}: {_images(self.images)}, {sizes}, {self.seconds:.1f} s, "
            f"{_model(self.model)}{lost}"
        )


def to_json(summary: Compressed | Decompressed) -> str:
    """One JSON object."""
    return json.dumps(dataclasses.asdict(summary))


def size_on_disk(paths: Iterable[Path]) -> int:
    """Bytes of files, and of all files in folders."""
    total = 0
    for path in paths:
        if path.is_dir():
            for folder, _, names in os.walk(path):
                total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
        else:
            total += path.stat().st_size
    return total


def _model(name: str) -> str:
    return f"model {name}" if name else "no model"


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
