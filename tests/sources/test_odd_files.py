"""Files that Pillow reads otherwise than they are come back as they were, or are refused."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.cli import main
from bitsback.errors import InputError
from bitsback.images.image_set import from_array, to_array
from bitsback.sources.datasets import images_of
from bitsback.sources.read import read_images
from bitsback.sources.writers import write_images

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("imagecodecs")
RNG = np.random.default_rng(7)


def levels(*shape, highest=255):
    return RNG.integers(0, highest + 1, shape, np.uint8 if highest < 256 else np.uint16)


def tiff(array, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def with_sub_ifd() -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as out:
        out.write(levels(32, 32, 3), photometric="rgb", subifds=1)
        out.write(levels(16, 16, 3), photometric="rgb")
    return file.getvalue()


def two_images() -> bytes:
    first, second = (Image.fromarray(levels(16, 16, 3)) for _ in range(2))
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    return file.getvalue()


def png(array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


ODD = {
    "planes of 16 bits.tif": lambda: tiff(
        levels(3, 24, 24, highest=65535), photometric="rgb", planarconfig="separate"
    ),
    "planes.tif": lambda: tiff(levels(3, 24, 24), photometric="rgb", planarconfig="separate"),
    "tiled planes.tif": lambda: tiff(
        levels(3, 32, 32), photometric="rgb", planarconfig="separate", tile=(16, 16)
    ),
    "near infrared.tif": lambda: tiff(levels(24, 24, 4), photometric="rgb", extrasamples=[0]),
    "five bands.tif": lambda: tiff(levels(24, 24, 5), photometric="rgb"),
    "six bands.tif": lambda: tiff(levels(24, 24, 6), photometric="rgb"),
    "alpha and one.tif": lambda: tiff(levels(24, 24, 5), photometric="rgb", extrasamples=[2, 0]),
    "two alphas.tif": lambda: tiff(levels(24, 24, 5), photometric="rgb", extrasamples=[2, 2]),
    "gray and one.tif": lambda: tiff(
        levels(24, 24, 2), photometric="minisblack", extrasamples=[0], planarconfig="contig"
    ),
    "associated alpha.tif": lambda: tiff(levels(24, 24, 4), photometric="rgb", extrasamples=[1]),
    "signed.tif": lambda: tiff(levels(24, 24).view(np.int8)),
    "from white.tif": lambda: tiff(levels(24, 24), photometric="miniswhite"),
    "further images.tif": with_sub_ifd,
    "a jpeg inside.tif": lambda: tiff(
        levels(16, 16, 3), photometric="ycbcr", compression="jpeg", compressionargs={"level": 90}
    ),
    "luma and chroma.tif": lambda: tiff(levels(24, 24, 3), photometric="ycbcr"),
    "floats.tif": lambda: tiff(RNG.random((24, 24), np.float32)),
    "two images.jpg": two_images,
    "up to 100.pgm": lambda: b"P5\n4 4\n100\n" + bytes(levels(16, highest=100)),
    "up to 1000.pgm": lambda: (
        b"P5 # levels\n4 4\n1000\n" + levels(16, highest=1000).astype(">u2").tobytes()
    ),
    "in words, up to 9.ppm": lambda: b"P3\n1 1\n9\n1 2 3\n",
    "bytes behind.png": lambda: png(levels(8, 8, 3)) + b"more",
    "cut short.png": lambda: png(levels(64, 64, 3))[:-40],
    "no image.png": lambda: b"text",
}


def through(path, output, model):
    """Compress a folder, write it again; the sentences about what travels as it is."""
    images = read_images([path])
    data = compress_set(images, model).data
    with Reader(io.BytesIO(data), lambda *_: model) as reader:
        write_images(reader.restored(), len(reader), output)
    return images.kept.carried


@pytest.fixture
def colour(build_model):
    return build_model(channels=3, likelihood="logistic", mixtures=2)


def test_odd_files_come_back_byte_for_byte_from_a_folder(tmp_path, colour):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    plain = levels(9, 8, 3)
    Image.fromarray(plain).save(tmp_path / "in" / "plain.png")
    for number, (name, make) in enumerate(ODD.items()):
        (tmp_path / "in" / ("sub" if number % 2 else ".") / name).write_bytes(make())
    carried = through(tmp_path / "in", tmp_path / "out", colour)
    assert len(carried) == len(ODD)
    before, after = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "in", tmp_path / "out")
    )
    assert before.keys() == after.keys()
    for name, content in before.items():
        if name.name != "plain.png":
            assert after[name] == content, name
    with Image.open(tmp_path / "out" / "plain.png") as image:
        np.testing.assert_array_equal(np.asarray(image), plain)


def test_the_command_line_says_what_travels_as_it_is(tmp_path, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(levels(9, 8, 3)).save(tmp_path / "in" / "plain.png")
    (tmp_path / "in" / "five bands.tif").write_bytes(ODD["five bands.tif"]())
    words = ["bitsback", "compress", tmp_path / "in", "-o", tmp_path / "x.bb", "--dry-run"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    lines = capsys.readouterr().err.splitlines()
    (line,) = (line for line in lines if "travels as it is" in line)
    assert "five bands.tif" in line
    assert "ExtraSamples" in line


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_alone_is_refused_by_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(ODD[name]())
    with pytest.raises(InputError, match=name.split(".")[0]):
        read_images([path])
    with pytest.raises(InputError, match="no images that can be coded"):
        read_images([tmp_path])


def test_plain_kinds_are_still_coded(tmp_path):
    (tmp_path / "rgb.tif").write_bytes(tiff(levels(8, 8, 3), photometric="rgb"))
    (tmp_path / "rgba.tif").write_bytes(tiff(levels(8, 8, 4), photometric="rgb", extrasamples=[2]))
    (tmp_path / "gray.tif").write_bytes(tiff(levels(8, 8)))
    (tmp_path / "deep.tif").write_bytes(tiff(levels(8, 8, highest=65535)))
    (tmp_path / "gray.pgm").write_bytes(b"P5\n4 4\n255\n" + bytes(levels(16)))
    images = read_images([tmp_path])
    assert images.kept.carried == ()
    assert len(images.pixels) == 5


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    Image.fromarray(levels(8, 8, 3)).save(tmp_path / "a.png")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="sub cannot be read"):
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
    for image in (palette, ink):
        with pytest.raises(InputError, match=r"np\.asarray"):
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
