"""Modes, times, empty folders and links of a folder come back, and nothing leads out of it."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from round_trip import through

from bitsback.errors import FormatError, InputError
from bitsback.format import sidecar
from bitsback.images.image_set import ImageSet, bare, part
from bitsback.images.manifest import FilesManifest
from bitsback.images.parts import Lost
from bitsback.keeping.rule import Policy
from bitsback.sources import tree
from bitsback.sources.read import read_images
from bitsback.sources.writers import write_images

RNG = np.random.default_rng(8)


@pytest.fixture
def colour(build_model):
    return build_model(channels=3, likelihood="logistic", mixtures=2)


@pytest.fixture
def source(tmp_path):
    """A folder with all that a folder may have."""
    root = tmp_path / "in"
    for name in ("empty/too", "a/b", "closed"):
        (root / name).mkdir(parents=True)
    for number, name in enumerate(("a/1.png", "a/b/2.png", "notes.txt", "run.sh", "closed/x")):
        if name.endswith("png"):
            Image.fromarray(RNG.integers(0, 256, (8, 9, 3), np.uint8)).save(root / name)
        else:
            (root / name).write_text(name)
        os.utime(root / name, ns=(0, 1_600_000_000_123_456_789 + number))
    (root / "run.sh").chmod(0o755)
    (root / "notes.txt").chmod(0o400)
    (root / "a/link.png").symlink_to("1.png")
    (root / "a/b/up.png").symlink_to("../1.png")
    (root / "to a folder").symlink_to("a/b")
    (tmp_path / "outside.txt").write_text("outside")
    (root / "out.txt").symlink_to(tmp_path / "outside.txt")
    for number, name in enumerate(("a/link.png", "a/b/up.png", "to a folder")):
        os.utime(root / name, ns=(0, 1_400_000_000_000_000_002 + number), follow_symlinks=False)
    (root / "closed").chmod(0o500)
    for name in ("empty/too", "empty", "a/b", "a", "closed"):
        os.utime(root / name, ns=(0, 1_500_000_000_000_000_001))
    return root


def facts(root: Path, times: bool = True) -> dict[str, tuple]:
    found = {}
    for path in (root, *root.rglob("*")):
        name, info = path.relative_to(root).as_posix(), path.lstat()
        if path.is_symlink():
            found[name] = ("link", os.readlink(path), info.st_mtime_ns if times else None)
        else:
            time = info.st_mtime_ns if times else None
            found[name] = (path.is_dir(), stat.S_IMODE(info.st_mode), time)
    return found


@pytest.mark.parametrize("chunk", [1, None])
def test_a_folder_comes_back_with_all_that_it_has(tmp_path, source, colour, chunk):
    source.chmod(0o750)
    os.utime(source, (1e9, 1e9))
    through(source, tmp_path / "out", colour, chunk=chunk)
    before, after = facts(source), facts(tmp_path / "out")
    assert before.pop("out.txt")[0] == "link"
    assert after.pop("out.txt")[0] is False  # what it leads to
    assert (tmp_path / "out/out.txt").read_text() == "outside"
    assert before == after
    assert (tmp_path / "out/to a folder/2.png").is_file()


def test_times_are_left_out_if_asked(tmp_path, source, colour):
    through(source, tmp_path / "out", colour, Policy(times=False))
    before, after = facts(source, times=False), facts(tmp_path / "out", times=False)
    before.pop("out.txt"), after.pop("out.txt")
    assert before == after
    assert (tmp_path / "out/notes.txt").stat().st_mtime_ns > 1_700_000_000 * 10**9


def test_empty_folders_alone_come_back(tmp_path, colour):
    (tmp_path / "in/a/b").mkdir(parents=True)
    through(tmp_path / "in", tmp_path / "out", colour)
    assert facts(tmp_path / "in") == facts(tmp_path / "out")


def test_no_program_becomes_one_of_another_user(tmp_path, colour):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x").write_text("x")
    (tmp_path / "in/x").chmod(0o4755)
    through(tmp_path / "in", tmp_path / "out", colour)
    assert stat.S_IMODE((tmp_path / "out/x").stat().st_mode) == 0o755


def test_a_set_that_lost_a_part_keeps_its_links(tmp_path, source):
    images = read_images([source])
    block = ImageSet([], False, images.manifest.part(0, 0), sidecars=[images.sidecars[0]])
    only = [(kind, data) for kind, data in sidecar.unpack(block.sidecars[0]) if kind == b"TREE"]
    first = ImageSet([], False, block.manifest, sidecars=[sidecar.pack(only)])
    write_images([first, Lost(2)], 2, tmp_path / "out")
    assert os.readlink(tmp_path / "out/a/link.png") == "1.png"
    assert (tmp_path / "out/empty/too").is_dir()


@pytest.mark.parametrize("lost", [{1}, {3}, {1, 3}])
def test_what_is_salvaged_has_its_modes_and_times(tmp_path, lost):
    (tmp_path / "in").mkdir()
    for number in range(4):
        path = tmp_path / "in" / f"{number}.png"
        Image.fromarray(np.full((5, 5), number, np.uint8)).save(path)
        path.chmod(0o600 + number)
        os.utime(path, (10**9 + number,) * 2)
    images = read_images([tmp_path / "in"])
    parts = [Lost(1) if n in lost else part(images, n, n + 1) for n in range(4)]
    told: list[str] = []
    write_images(parts, 4, tmp_path / "out", told.append)
    before, after = facts(tmp_path / "in"), facts(tmp_path / "out")
    known = {".", "0.png", *({"2.png", "3.png"} if lost == {1} else {"1.png", "2.png"})}
    known = known if len(lost) == 1 else {".", "0.png"}
    assert {name: before[name] for name in known} == {name: after[name] for name in known}
    unknown = ["modes and times of 1 files between damaged chunks are not known"]
    assert told == (unknown if len(lost) == 2 else [])


def test_a_lost_beginning_is_told_of(tmp_path):
    for number in range(2):
        Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / f"{number}.png")
    images = read_images([tmp_path])
    told: list[str] = []
    write_images([Lost(1), part(images, 1, 2)], 2, tmp_path / "out", told.append)
    assert [each.split(",")[0] for each in told] == ["modes"]


def of_tree(tmp_path, **changes) -> None:
    """Write a forged tree with one file, x/y."""
    fields = {"modes": [[1, 0o644]], "folders": [], "links": []} | changes
    records = [(sidecar.TREE, json.dumps(fields).encode()), sidecar.pack_file("x/y", b"z")]
    manifest = FilesManifest("folder", (), (), ())
    images = ImageSet([], False, manifest, sidecars=[sidecar.pack(records)])
    write_images([images], 0, tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [
        {"links": [["a", "/etc/passwd"]]},
        {"links": [["a", "../b"]]},
        {"links": [["a", "b/../../c"]]},
        {"links": [["x/a", "../../c"]]},
        {"links": [["../a", "b"]]},
        {"links": [["a", ""]]},
        {"links": [["x/y", "x"]]},
        {"links": [["a", "x"], ["a/b", "y"]]},
        {"links": [["x/y/z", "x"]]},
        {"links": [["p/q", ".."], ["p/q/l", "../../z"]]},
        {"folders": [["../a", 493]]},
        {"folders": [["/a", 493]]},
        {"folders": [["x/y", 493]]},
        {"folders": [["a", 493, 1, 2]]},
        {"modes": []},
        {"modes": [[1 << 60, 420]]},
        {"modes": [[-1, 420], [2, 420]]},
        {"modes": "x"},
        {"times": [1 << 70]},
        {"times": [True]},
        {"links": [["a", "b"]], "link_times": [1, 2]},
        {"links": [["a", "b"]], "link_times": [1 << 70]},
        {"root": 493},
        {"root": [493, 1, 2]},
        {"root": [493, 1 << 70]},
    ],
)
def test_a_forged_tree_writes_nothing(tmp_path, changes):
    with pytest.raises(FormatError):
        of_tree(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,0123456789modestlinkf', max_size=60))
def test_junk_is_a_format_error(data):
    with pytest.raises(FormatError):
        tree.unpack(data if isinstance(data, bytes) else data.encode())


def test_links_that_cannot_be_kept_are_told_of(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x").write_text("x")
    (tmp_path / "in/broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in/up").symlink_to(tmp_path)
    with pytest.raises(
        InputError, match=r"broken is a link to what does not exist; .*up is neither"
    ):
        read_images([tmp_path / "in"])


def test_links_to_nothing_come_back(tmp_path, colour):
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/x").write_text("x")
    (tmp_path / "in/a/broken").symlink_to("../nowhere")
    (tmp_path / "in/circle").symlink_to("circle")
    through(tmp_path / "in", tmp_path / "out", colour)
    assert facts(tmp_path / "in") == facts(tmp_path / "out")


def test_a_folder_of_text_is_one_block(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    images = read_images([tmp_path])
    (block,) = images.blocks
    kinds = [kind for kind, _ in sidecar.unpack(bare(images, block).sidecars[0])]
    assert kinds == [sidecar.TREE, sidecar.FILE]
