"""Files that Pillow reads otherwise than they are come back as they were, or are refused."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bitsback.cli import main
from bitsback.errors import InputError
from bitsback.images.image_set import from_array, to_array
from bitsback.sources.datasets import images_of
from bitsback.sources.read import read_images

RNG = np.random.default_rng(7)


def levels(*shape, highest=255):
    return RNG.integers(0, highest + 1, shape, np.uint8 if highest < 256 else np.uint16)


def png(array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_the_command_line_says_what_travels_as_it_is(tmp_path, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(levels(9, 8, 3)).save(tmp_path / "in" / "plain.png")
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(levels(9, 8, 3)).save(tmp_path / "in" / name)
    words = ["bitsback", "compress", tmp_path / "in", "-o", tmp_path / "x.bb", "--dry-run"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    lines = capsys.readouterr().err.splitlines()
    (line,) = (line for line in lines if "travels as it is" in line)
    assert line.endswith("a.jpg and 1 more: is a JPEG")


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub2").mkdir()
    Image.fromarray(levels(8, 8, 3)).save(tmp_path / "a.png")
    real = os.scandir

    def scandir(path):
        if "sub" in Path(path).name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"sub cannot be read.*; .*sub2 cannot be read"):
        read_images([tmp_path])


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_second_array_in_a_npy_is_an_error(tmp_path, order):
    with (tmp_path / "two.npy").open("wb") as file:
        for _ in range(2):
            np.save(file, np.asarray(levels(3, 8, 8), order=order))
    with pytest.raises(InputError, match="after its array"):
        read_images([tmp_path / "two.npy"])


@pytest.mark.parametrize("order", ["C", "F"])
def test_bytes_of_a_bool_are_true_or_false(tmp_path, order):
    array = np.asarray(levels(5, 4, 4, highest=3), order=order).view(np.bool_)
    np.save(tmp_path / "x.npy", array)
    wanted = array.view(np.uint8) != 0
    for images in (read_images([tmp_path / "x.npy"]), from_array(array)):
        assert images.binary
        np.testing.assert_array_equal(np.stack(list(images.pixels))[..., 0], wanted)
        np.testing.assert_array_equal(to_array(images), wanted)


def test_what_numpy_would_drop_is_refused():
    masked = np.ma.masked_greater(levels(2, 4, 4), 100)
    palette = Image.fromarray(levels(4, 4)).convert("P")
    ink = Image.fromarray(levels(4, 4, 3)).convert("CMYK")
    with pytest.raises(InputError, match="mask"):
        from_array(masked)
    with pytest.raises(InputError, match="mask"):
        images_of([masked])
    clear = Image.fromarray(levels(4, 4, 3))
    clear.info["transparency"] = (0, 0, 0)
    for image, beside in ((palette, "getpalette"), (ink, "'CMYK'"), (clear, "transparency")):
        with pytest.raises(InputError, match=rf"np\.asarray\(image\).*{beside}"):
            images_of([image])
    with pytest.raises(InputError, match="train, test"):
        images_of({"train": [1], "test": [2]})


@pytest.mark.parametrize("kind", ["two in one", "a damaged header"])
def test_members_after_the_first_end_of_a_tar_are_not_dropped(tmp_path, kind):
    import tarfile

    def archive(names):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as out:
            for name in names:
                data = png(levels(8, 8, 3))
                info = tarfile.TarInfo(name)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
        return file.getvalue()

    if kind == "two in one":
        data = archive(["a.png"]) + archive(["b.png"])
    else:
        whole = bytearray(archive(["a.png", "b.png", "c.png"]))
        whole[whole.index(b"b.png") + 148] ^= 0x55  # of the header's checksum
        data = bytes(whole)
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(InputError, match="what follows would be lost"):
        read_images([tmp_path / "x.tar"])


def test_all_files_that_cannot_be_read_are_told_at_once(tmp_path, monkeypatch):
    for name in ("a.png", "b.txt", "c.png", "d.png"):
        (tmp_path / name).write_bytes(png(levels(8, 8, 3)))
    real = Path.open

    def open_(path, *words):
        if path.name in ("b.txt", "d.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *words)

    monkeypatch.setattr(Path, "open", open_)
    with pytest.raises(InputError) as caught:
        read_images([tmp_path])
    first, second = str(caught.value).split("; ")
    assert "b.txt cannot be read: Permission denied" in first
    assert "d.png cannot be read: Permission denied" in second


def test_closed_folders_closed_files_and_what_is_no_file_are_told_at_once(tmp_path, monkeypatch):
    for name in ("a.png", "shut/b.png", "closed/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(levels(8, 8, 3)))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone.png").symlink_to(tmp_path.parent / "nothing.png")
    scandir, open_, stat_ = os.scandir, Path.open, Path.stat

    def refuse(condition, path):
        if condition:
            raise PermissionError(13, "Permission denied", str(path))

    def scanned(path):
        refuse(Path(path).name == "closed", path)
        return scandir(path)

    def opened(path, *words):
        refuse(path.name == "a.png", path)
        return open_(path, *words)

    def found(path, **words):  # of a folder whose names can be read, but not what they stand for
        refuse(path.name == "b.png", path)
        return stat_(path, **words)

    monkeypatch.setattr(os, "scandir", scanned)
    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(Path, "stat", found)
    with pytest.raises(InputError) as caught:
        read_images([tmp_path])
    assert [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).split("; ")] == [
        "a.png cannot be read: Permission denied",
        "closed cannot be read: Permission denied",
        "gone.png is a link to what does not exist",
        "pipe is neither a file nor a folder, or a link to a folder",
        "shut/b.png cannot be read: Permission denied",
    ]


def test_all_missing_and_closed_files_of_a_list_are_told_at_once(tmp_path, monkeypatch):
    names = [tmp_path / name for name in ("a.png", "b.png", "c.png", "d.png")]
    names[1].write_bytes(png(levels(8, 8, 3)))
    names[2].write_bytes(png(levels(8, 8, 3)))
    real = Path.open

    def open_(path, *words):
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *words)

    monkeypatch.setattr(Path, "open", open_)
    with pytest.raises(InputError) as caught:
        read_images(names)
    assert [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).split("; ")] == [
        "a.png does not exist",
        "b.png cannot be read: Permission denied",
        "d.png does not exist",
    ]
    with pytest.raises(InputError, match=r"b\.png cannot be read: Permission denied$"):
        read_images([names[1]])
