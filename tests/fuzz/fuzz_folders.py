"""Folders of odd image files by the thousand: every one comes back, or is told of.

    PYTHONPATH=tests:tests/fuzz:tests/sources python tests/fuzz/fuzz_folders.py --folders 1000

Folder NUMBER of a seed is always the same. Each is compressed, decompressed and compared with what
went in: the same names, and the same bytes, but of files that were counted as the same samples,
whose samples, chunks and tags are compared by other readers. Where files may travel as they are,
the archive is no larger than they are with their names. Otherwise the folder is kept, and the exit
code is 1.
"""

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path
from random import Random

import numpy as np
import odd_kinds
from test_odd_table import assert_same_samples, trees

from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.coding.model import LoadedModel
from bitsback.keeping.rule import WAYS, Policy
from bitsback.sources.read import read_images
from bitsback.sources.writers import write_images

CHUNKS = [b"tEXt", b"prVt", b"prVT", b"eXIf", b"iCCP", b"tRNS", b"PLTE", b"bKGD", b"IDAT", b"acTL"]
GARBAGE = [b"\0", b"more", bytes(900), b"\x89PNG\r\n\x1a\n", b"II*\0", b"P5\n1 1\n255\n0"]


def drawn_png(random: Random) -> bytes:
    """A PNG of any mode and depth, by zlib with any settings, with strange chunks."""
    colour = random.choice([0, 0, 2, 2, 3, 4, 6])
    depths = {0: [1, 2, 4, 8, 8, 16], 3: [1, 2, 4, 8, 8]}
    depth = random.choice(depths.get(colour, [8, 8, 8, 16]))
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    height, width = random.randrange(1, 40), random.randrange(1, 40)
    highest = (1 << depth) - 1
    if random.random() < 0.5:
        samples = odd_kinds.smooth(height, width, channels, highest=highest)
    else:
        numbers = np.random.default_rng(random.randrange(1 << 30))
        kind = np.uint16 if depth == 16 else np.uint8
        samples = numbers.integers(0, highest + 1, (height, width, channels), kind)
    before = b""
    if colour == 3:
        before = odd_kinds.chunk(b"PLTE", random.randbytes(3 * random.randrange(1, highest + 2)))
    for _ in range(random.choice([0, 0, 1, 3])):
        content = random.randbytes(random.choice([0, 1, 7, 40]))
        before += odd_kinds.chunk(random.choice(CHUNKS), content)
    return odd_kinds.by_zlib(
        samples,
        colour,
        depth,
        level=random.randrange(10),
        strategy=random.randrange(5),
        memory=random.randrange(1, 10),
        sizes=random.choice([1, 7, 100, 8192, 1 << 30]),
        filters=random.choice(["cycle", "0", "1", "2", "3", "4"]),
        interlaced=random.choice([0, 0, 1]),
        behind=random.choice([b"", b"", b"x"]),
        before=before,
    )


def drawn_file(random: Random) -> bytes:
    """Any file: a drawn PNG or an odd kind, perhaps damaged."""
    if random.random() < 0.5:
        data = drawn_png(random)
    else:
        data = random.choice(list(odd_kinds.KINDS.values()))()
    match random.randrange(8):
        case 0:
            data = data[: random.randrange(len(data) + 1)]
        case 1:
            data += random.choice(GARBAGE)
        case 2 if data:
            place = random.randrange(len(data))
            data = (
                data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
            )
        case 3 if data:  # in the header, where most fields are
            place = random.randrange(min(len(data), 60))
            data = data[:place] + random.randbytes(random.choice([1, 2, 4])) + data[place + 1 :]
    return data


SUFFIXES = [".png", ".tif", ".jpg", ".bmp", ".pgm", ".webp", ".npy", ".txt", ""]


def check(number: int, seed: int, folder: Path, model: LoadedModel) -> None:
    """Make a folder, send it through an archive, and compare; raises where a file is lost."""
    random = Random(f"{seed}/{number}")
    for name in range(random.randrange(1, 8)):
        path = folder / "in" / random.choice(["", "a", "a/b"]) / f"{name}{random.choice(SUFFIXES)}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawn_file(random))
    keep = random.choice(WAYS)
    images = read_images([folder / "in"], Policy(keep))
    packed = compress_set(images, model, chunk=random.choice([None, 1, 2]))
    told: list[str] = []
    with Reader(io.BytesIO(packed.data), lambda *_: model) as reader:
        write_images(reader.restored(), len(reader), folder / "out", told.append)
        chunks = len(reader.header.chunks)
    before, after = trees(folder / "in"), trees(folder / "out")
    assert before.keys() == after.keys(), (number, "names")
    assert not told, told
    others = [name for name in before if before[name] != after[name]]
    assert len(others) <= images.kept.samples, (number, others)
    assert keep != "files" or not others
    root = folder / "in"
    below = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir()]
    sizes = {name: len(data) for name, data in before.items()} | dict.fromkeys(below, 0)
    most = sum(size + len(name) + 48 for name, size in sizes.items()) + 90
    assert keep == "samples" or len(packed.data) <= most + 90 * chunks, (number, most)
    for name in others:
        assert_same_samples(before[name], after[name])
    count = images.kept.exact + images.kept.samples + len(images.kept.carried)
    assert count == len(before)
    assert not [each for each in images.kept.carried if "could not be" in each.reason]


def main() -> int:
    """The command line."""
    from bitsback.api import load_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    model = load_model("photo-fast", "cpu")
    for number in range(words.first, words.first + words.folders):
        folder = Path(tempfile.mkdtemp())
        try:
            check(number, words.seed, folder, model)
        except Exception as error:  # whatever it is, it is a finding
            print(f"folder {number} of seed {words.seed}, kept in {folder}: {error!r}")
            return 1
        shutil.rmtree(folder)
    print(f"{words.folders} folders came back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
