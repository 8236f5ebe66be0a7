"""Files take the place of pixels that took more: a set is never larger than its files."""

import io
import itertools
import tarfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.chunks import carrying, trials
from bitsback.chunks.plan import Settings
from bitsback.coding.model import NO_MODEL
from bitsback.images.outcomes import LARGER
from bitsback.keeping.rule import Policy
from bitsback.sources.read import read_images
from bitsback.sources.writers import write_images

odd_kinds = pytest.importorskip("odd_kinds")

A_FILE, A_CHUNK, A_SET = 24, 90, 90  # bytes, beside content and name; docs/odd-files.md has them
SIDES = [(1, 1), (3, 5), (16, 16), (33, 20)]


def drawn(kind: str, side: tuple[int, int], number: int) -> tuple[str, bytes]:
    """A file's suffix and bytes."""
    random = np.random.default_rng(number)
    match kind:
        case "noise":
            return ".png", odd_kinds.by_zlib(random.integers(0, 256, (*side, 3), np.uint8), 2)
        case "icon":
            flat = np.full((*side, 4), number % 256, np.uint8)
            return ".png", odd_kinds.by_zlib(flat, 6, level=9, filters="0")
        case "stored":
            return ".png", odd_kinds.by_zlib(odd_kinds.smooth(*side, 3), 2, level=0)
        case "gray":
            return ".pgm", b"P5 %d %d 255\n" % side[::-1] + bytes(side[0] * side[1])
        case "deep":
            return ".png", odd_kinds.by_zlib(odd_kinds.smooth(*side, 1, highest=65535), 0, 16)
        case "palette":
            return ".png", odd_kinds.palette()
        case "jpeg":
            return ".jpg", odd_kinds.jpeg()
    return ".txt", random.bytes(number % 50)


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@settings(max_examples=12, deadline=None)
@given(
    kinds=st.lists(
        st.tuples(
            st.sampled_from(["noise", "icon", "stored", "gray", "deep", "palette", "jpeg", ".txt"]),
            st.sampled_from(SIDES),
        ),
        min_size=1,
        max_size=8,
    ),
    chunk=st.sampled_from([None, 1, 3]),
    chained=st.booleans(),
)
@example([("noise", (40, 40)), ("icon", (40, 40))] * 3, None, True)
def test_a_folder_is_never_larger_than_its_files(tmp_path_factory, colour, kinds, chunk, chained):
    folder = tmp_path_factory.mktemp("set")
    (folder / "in").mkdir()
    for number, (kind, side) in enumerate(kinds):
        suffix, data = drawn(kind, side, number)
        (folder / "in" / f"{number}{suffix}").write_bytes(data)
    images = read_images([folder / "in"], Policy(times=False))
    # Hopeless, so that the model codes all it can.
    found = (lambda *_: trials.HOPELESS) if chained else trials.sample
    with mock.patch.object(trials, "sample", found):
        packed = compress_set(images, colour, chunk=chunk, settings=Settings(check="all"))
    before = files_in(folder / "in")
    most = sum(len(data) + len(name) + A_FILE for name, data in before.items()) + A_SET
    with Reader(io.BytesIO(packed.data), lambda *_: colour) as reader:
        assert len(packed.data) <= most + A_CHUNK * len(reader.header.chunks)
        write_images(reader.restored(), len(reader), folder / "out")
        assert len(reader) == len(packed.kept.coded) == packed.report.images
    assert files_in(folder / "out") == before
    assert len(packed.kept.coded) + len(packed.kept.carried) == len(before)


def test_only_the_files_that_take_less_are_carried(tmp_path, colour):
    (tmp_path / "in").mkdir()
    for number in range(6):
        kind = "icon" if number in (1, 4) else "stored"
        suffix, data = drawn(kind, (40, 40), number)
        (tmp_path / "in" / f"{number}{suffix}").write_bytes(data)
    images = read_images([tmp_path / "in"], Policy(times=False))
    packed = compress_set(images, colour)
    late = [each.name for each in packed.kept.carried]
    assert late == ["1.png", "4.png"]
    assert {each.reason for each in packed.kept.carried} == {LARGER}
    assert len(packed.data) < len(
        compress_set(images, colour, settings=Settings(always_chain=True)).data
    )
    with Reader(io.BytesIO(packed.data), lambda *_: colour) as reader:
        write_images(reader.restored(), len(reader), tmp_path / "out")
    assert files_in(tmp_path / "out") == files_in(tmp_path / "in")


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_carried_files_keep_their_places(tmp_path, kind):
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.txt", "b.png", "c.png", "d.csv", "e.csv", "f.png", "g.txt"):
        data = drawn("noise", (3, 5), len(name))[1] if name.endswith("png") else name.encode()
        (source / name).write_bytes(data)
    if kind == "tar":
        with tarfile.open(tmp_path / "in.tar", "w") as file:
            for path in sorted(source.iterdir()):
                file.add(path, path.name)
        source = tmp_path / "in.tar"
    images = read_images([source])
    assert len(images.pixels) == 3
    for count in range(4):
        for numbers in itertools.combinations(range(3), count):
            left = carrying.carried(images, frozenset(numbers))
            assert len(left.pixels) == 3 - count
            output = tmp_path / f"out{numbers}{source.suffix}"
            write_images([left], len(left.pixels), output)
            if kind == "tar":
                assert output.read_bytes() == source.read_bytes()
            else:
                assert files_in(output) == files_in(source)


def test_what_is_tried_follows_from_what_pixels_took(tmp_path):
    for number in range(3):
        data = drawn("noise", (16, 16), number)[1]
        (tmp_path / f"{number}.png").write_bytes(data)
    images = read_images([tmp_path])
    sizes = np.array([len(data) for data in images.originals])
    beside = 8 * np.array([len(data) for data in images.each_sidecar])

    def choices(bits, size):
        return list(carrying.choices(images, bits, size, 10**6))

    cheap, dear = 8.0 * sizes - beside - 80, 8.0 * sizes + 8000
    assert choices(cheap, 10**6 + 10) == []
    assert choices(np.where([0, 1, 0], dear, cheap), 10**6) == [frozenset({1})]
    assert choices(dear, 10**6) == [frozenset({0, 1, 2})]
    # What the chunk took beside its payload is more than the files, though no image is dear.
    assert choices(cheap, 10**6 + int(sizes.sum())) == [frozenset({0, 1, 2})]
    # A gain that the whole chunk hardly shows is not worth another try.
    assert choices(np.where([0, 1, 0], dear, cheap), 10**9)[:1] != [frozenset({1})]


def test_a_header_that_becomes_shorter_leaves_no_gap(tmp_path, colour, monkeypatch):
    monkeypatch.setattr(trials, "sample", lambda *_: trials.HOPELESS)
    (tmp_path / "in").mkdir()
    for number in range(130):  # two bytes as a number of images, of which fewer are left
        data = drawn(*(("stored", (12, 12)) if number % 13 else ("icon", (40, 40))), number)[1]
        (tmp_path / "in" / f"{number:03}.png").write_bytes(data)
    packed = compress_set(read_images([tmp_path / "in"]), colour)
    with Reader(io.BytesIO(packed.data), lambda *_: colour) as reader:
        assert len(reader) < 128
        write_images(reader.restored(), len(reader), tmp_path / "out")
    assert files_in(tmp_path / "out") == files_in(tmp_path / "in")


def test_files_alone_need_no_model(tmp_path):
    for name in ("a.jpg", "b.txt"):
        (tmp_path / name).write_bytes(odd_kinds.jpeg())
    packed = compress_set(read_images([tmp_path]), NO_MODEL)
    with Reader(io.BytesIO(packed.data), None) as reader:
        assert reader.header.model == ""
        assert next(iter(reader.salvaged([]))).sidecars is not None
        write_images(reader.restored(), 0, tmp_path / "out")
    assert (tmp_path / "out" / "a.jpg").read_bytes() == odd_kinds.jpeg()


def test_arrays_and_recoded_files_are_never_carried(tmp_path, colour):
    (tmp_path / "a.jpg").write_bytes(odd_kinds.jpeg())
    packed = compress_set(read_images([tmp_path], Policy(recode_lossy=True)), colour)
    assert packed.kept.recoded == 1
    assert len(packed.data) > len(odd_kinds.jpeg())
    with pytest.raises(ValueError, match="no files"):
        carrying.carried(read_images([tmp_path], Policy("samples")), frozenset())
