"""Sets of files that an earlier version compressed come back, in every later version.

    PYTHONPATH=tests:tests/sources python tests/system/test_golden_sets.py

writes those that are missing; what is there is never written anew.
"""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import odd_kinds
import pytest
from PIL import Image

import bitsback
from bitsback.archive import reader
from bitsback.sources.writers import write_images

FOLDER = Path(__file__).parents[1] / "data"
TIME = 1_600_000_000_000_000_001
GRAY = (np.add.outer(np.arange(28) * 9, np.arange(28) * 5) % 256).astype(np.uint8)
LEVELS = np.add.outer(np.arange(20) * 997, np.arange(20) * 31).astype(np.uint16)
FILES = {
    "a.png": lambda: odd_kinds.by_zlib(GRAY, 0),
    "b.pgm": lambda: b"P5 28 28 255\n" + GRAY.tobytes() + b"behind",
    "deep.png": lambda: odd_kinds.by_zlib(LEVELS, 0, 16),
    "c.jpg": lambda: b"\xff\xd8\xff of no pixels",
    "sub/notes.txt": lambda: b"notes",
}


def make_folder(root: Path) -> None:
    for name, build in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(build())
        (root / name).chmod(0o640)
        os.utime(root / name, ns=(TIME, TIME))
    (root / "empty").mkdir()
    (root / "sub/link.png").symlink_to("../a.png")


def make_tar(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        for name, build in FILES.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.uid, info.uname = len(build()), 1_600_000_000.5, 7, "ann"
            out.addfile(info, io.BytesIO(build()))


def write() -> None:
    """The files that are missing."""
    import tempfile

    for name, make in (("folder-v8.bb", make_folder), ("tar-v8.bb", make_tar)):
        if not (FOLDER / name).exists():
            with tempfile.TemporaryDirectory() as folder:
                source = Path(folder, "in.tar" if "tar" in name else "in")
                make(source)
                (FOLDER / name).write_bytes(bitsback.compress(source, "mnist"))


def restored(name: str, output: Path) -> None:
    with reader.open_path(
        FOLDER / name,
        lambda model, sha256: bitsback.load_model(model, "cpu", "torch", sha256=sha256),
    ) as opened:
        assert f"-v{opened.header.format_version}." in name
        told: list[str] = []  # of another zlib, which these machines may have
        write_images(opened.restored(), len(opened), output, told.append)


def check(name: str, content: bytes) -> None:
    """A file is the one that was compressed; of a PNG at least its samples."""
    if not name.endswith("png"):
        assert content == FILES[name]()
        return
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(np.asarray(image), GRAY if name == "a.png" else LEVELS)


@pytest.mark.parametrize("version", [5, 8])
def test_a_folder_of_an_earlier_version_comes_back(tmp_path, version):
    restored(f"folder-v{version}.bb", tmp_path / "out")
    for name in FILES:
        path = tmp_path / "out" / name
        check(name, path.read_bytes())
        assert path.stat().st_mode & 0o777 == 0o640
        assert path.stat().st_mtime_ns == TIME
    assert (tmp_path / "out/empty").is_dir()
    assert os.readlink(tmp_path / "out/sub/link.png") == "../a.png"


@pytest.mark.parametrize("version", [5, 8])
def test_a_tar_of_an_earlier_version_comes_back(tmp_path, version):
    restored(f"tar-v{version}.bb", tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as file:
        infos = file.getmembers()
        assert [info.name for info in infos] == list(FILES)
        for info in infos:
            assert (info.mtime, info.uid, info.uname) == (1_600_000_000.5, 7, "ann")
            check(info.name, file.extractfile(info).read())


if __name__ == "__main__":
    write()
