"""Every odd kind of file comes back; docs/odd-files.md says how, and holds what this test finds."""

import io
from pathlib import Path

import numpy as np
import pytest
import round_trip
from PIL import Image

from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.chunks.plan import Settings
from bitsback.images.image_set import ImageSet
from bitsback.keeping.rule import Policy
from bitsback.sources.read import read_images
from bitsback.sources.writers import write_images

pytest.importorskip("imagecodecs")
tifffile = pytest.importorskip("tifffile")
odd_kinds = pytest.importorskip("odd_kinds")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "odd-files.md"
HEAD = """# Odd files

The table shows what comes back of {count} kinds of file by default, as
`tests/sources/test_odd_table.py` finds it. The test makes every file, compresses a folder of them
all, decompresses it and compares.
It fails if a byte differs and the table does not say so, or if this page is not its output.

*Coded*: the file's pixels go through the model, and a recipe makes the file from them. *As it is*:
the file's bytes travel in the payload, packed with xz where that is smaller. A file whose pixels
would take more than the file itself travels as it is, too, so a set is never larger than its files,
their names and a few bytes for each ([Pipelines](pipelines.md#what-comes-back-of-a-file) has the
rule). The test turns this last step off, since its model knows no images.

| file | comes back | how |
|---|---|---|
"""


def trees(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def make(folder: Path) -> None:
    for name, build in odd_kinds.KINDS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(build())


def through(folder: Path, output: Path, model, policy=Policy()) -> ImageSet:  # noqa: B008
    images = read_images([folder], policy)
    # An untrained model makes more of pixels than their files are.
    data = compress_set(images, model, settings=Settings(always_chain=True)).data
    told: list[str] = []
    with Reader(io.BytesIO(data), lambda *_: model) as reader:
        write_images(reader.restored(), len(reader), output, told.append)
    assert told == []
    return images


def page(images: ImageSet, before: dict[str, bytes], after: dict[str, bytes]) -> str:
    reasons = {each.name: each.reason for each in images.kept.carried}
    lines = []
    for name in odd_kinds.KINDS:
        comes = "byte for byte" if before[name] == after[name] else "same samples, other bytes"
        how = "coded"
        if name in reasons:
            how = f"as it is: {reasons[name] or 'is no image'}"
        shown = name if len(name) < 100 else f"a name of {len(name)} bytes that ends in {name[-4:]}"
        lines.append(f"| {shown} | {comes} | {how} |\n")
    return HEAD.format(count=len(lines)) + "".join(lines)


@pytest.fixture
def colour(build_model):
    return build_model(channels=3, likelihood="logistic", mixtures=2)


def test_the_page_says_what_comes_back(tmp_path, colour):
    make(tmp_path / "in")
    images = through(tmp_path / "in", tmp_path / "out", colour)
    before, after = trees(tmp_path / "in"), trees(tmp_path / "out")
    assert before.keys() == after.keys()
    found = page(images, before, after)
    assert found == PAGE.read_text()
    others = {name for name in before if before[name] != after[name]}
    assert len(others) == images.kept.samples
    for name in others:
        assert_same_samples(before[name], after[name])


def assert_same_samples(one: bytes, other: bytes) -> None:
    """By readers that took no part: tifffile's codecs for the samples, a walk of the chunks."""
    import imagecodecs

    if one[:4] == b"RIFF":
        webps = [imagecodecs.webp_decode(each) for each in (one, other)]
        np.testing.assert_array_equal(*webps)
        return
    if one[:2] in (b"II", b"MM"):
        tiffs = [tifffile.TiffFile(io.BytesIO(each)).pages[0] for each in (one, other)]
        np.testing.assert_array_equal(*[page.asarray() for page in tiffs])
        moved = {"StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts"}
        tags = [{t.name: t.value for t in page.tags if t.name not in moved} for page in tiffs]
        assert tags[0] == tags[1]
        return
    np.testing.assert_array_equal(*[png_samples(each) for each in (one, other)])
    assert beside(one) == beside(other)


def png_samples(data: bytes) -> np.ndarray:
    """Of a file that libpng refuses, what Pillow sees."""
    import imagecodecs

    try:
        return imagecodecs.png_decode(data)
    except imagecodecs.PngError:
        return np.array(Image.open(io.BytesIO(data)))


def beside(data: bytes) -> list[bytes]:
    """All of a PNG but its IDAT chunks."""
    parts, position = [data[:8]], 8
    while position + 8 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if kind != b"IDAT":
            parts.append(data[position:end])
        position = end if kind != b"IEND" else len(data)
        if kind == b"IEND":
            parts.append(data[end:])
    return parts


def test_whoever_asks_for_bytes_gets_bytes(tmp_path, colour):
    make(tmp_path / "in")
    images = through(tmp_path / "in", tmp_path / "out", colour, Policy("files"))
    assert images.kept.samples == images.kept.recoded == 0
    assert images.kept.exact > 20
    assert trees(tmp_path / "in") == trees(tmp_path / "out")


def test_whoever_asks_for_samples_gets_samples(tmp_path, colour):
    make(tmp_path / "in")
    images = through(tmp_path / "in", tmp_path / "out", colour, Policy("samples"))
    before, after = trees(tmp_path / "in"), trees(tmp_path / "out")
    assert before.keys() == after.keys()
    others = {name for name in before if before[name] != after[name]}
    assert images.kept.samples >= len(others) > 15
    for name in others:
        assert_same_samples(before[name], after[name])


@pytest.mark.parametrize("name", odd_kinds.KINDS)
def test_one_alone_comes_back(tmp_path, colour, name):
    path = tmp_path / Path(name).name
    path.write_bytes(odd_kinds.KINDS[name]())
    if path.suffix == ".npy":
        return
    images = round_trip.through(path, tmp_path / f"out{path.suffix}", colour)
    if not images.kept.samples:
        assert (tmp_path / f"out{path.suffix}").read_bytes() == path.read_bytes()


if __name__ == "__main__":
    import tempfile

    from bitsback.api import load_model

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make(root / "in")
        found = through(root / "in", root / "out", load_model("photo-fast"))
        PAGE.write_text(page(found, trees(root / "in"), trees(root / "out")))
