"""What is read is written: the same arrays, names, modes and pixels, or a clear refusal."""

import dataclasses
import errno
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from bitsback.errors import FormatError, InputError
from bitsback.format.payload import pack_payload, unpack_payload
from bitsback.images import png
from bitsback.images.image_set import (
    ImageSet,
    first_images,
    from_array,
    from_payload,
    part,
    to_array,
    to_stack,
)
from bitsback.images.manifest import ArrayManifest, FilesManifest, NpzManifest, from_json
from bitsback.images.parts import Lost, join
from bitsback.sources.atomic_files import atomic_folder, atomic_write
from bitsback.sources.read import read_images
from bitsback.sources.writers import write_images

RNG = np.random.default_rng(7)
sides = st.integers(1, 5)
shapes = st.one_of(
    st.tuples(sides, sides),
    st.tuples(sides, sides, sides),
    st.tuples(sides, sides, sides, st.integers(1, 4)),
)


def pixels(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


def through_a_file(images):
    """The set as a decoder sees it: images from the model, the rest from the payload."""
    payload = pack_payload(images.manifest.to_json(), images.packed, b"")
    fields, packed, _ = unpack_payload(payload)
    manifest = from_json(fields)
    assert manifest == images.manifest
    shapes = [pixels.shape for pixels in images.pixels]
    assert manifest.image_shapes(len(shapes)) == shapes
    pixels_of = [pixels.copy() for pixels in images.pixels]
    return from_payload(pixels_of, images.binary, manifest, packed)


def write(images, output):
    write_images([images], len(images.pixels), output)


def roundtrip(paths, output):
    images = read_images(paths)
    write(through_a_file(images), output)
    return images


@settings(max_examples=150, deadline=None)
@given(st.one_of(hnp.arrays(np.uint8, shapes), hnp.arrays(np.bool_, shapes)))
def test_arrays_come_back(array):
    images = from_array(array)
    assert all(p.ndim == 3 and 1 <= p.shape[2] <= 4 for p in images.pixels)
    assert sum(image.size for image in images.pixels) == array.size
    one_channel = images.pixels[0].shape[2] == 1
    assert images.binary == (one_channel and int(array.max()) <= 1)
    back = to_array(through_a_file(images))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_npy_comes_back(tmp_path):
    array = pixels(4, 6, 5, 3) > 99
    np.save(tmp_path / "a.npy", array)
    roundtrip([tmp_path / "a.npy"], tmp_path / "b.npy")
    back = np.load(tmp_path / "b.npy")
    assert back.dtype == bool
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_comes_back_with_all_arrays_in_order(tmp_path, save):
    arrays = {
        "labels": np.arange(9, dtype=">i2"),
        "big": pixels(90, 28, 28) // 64,
        "names": np.array(["é", "bb"]),
        "weights": np.asfortranarray(RNG.normal(size=(50, 60))),
        "mask": pixels(3, 3) > 7,
        "scalar": np.float32(2.5),
    }
    save(tmp_path / "a.npz", **arrays)
    images = roundtrip([tmp_path / "a.npz"], tmp_path / "b.npz")
    assert images.manifest.name == "big"
    with np.load(tmp_path / "b.npz") as back:
        assert back.files == list(arrays)
        for name, array in arrays.items():
            assert back[name].dtype == np.asarray(array).dtype
            np.testing.assert_array_equal(back[name], array)
    sizes = [(tmp_path / name).stat().st_size for name in ("a.npz", "b.npz")]
    assert abs(sizes[0] - sizes[1]) < 0.1 * sizes[0]


def test_an_image_of_an_npz_is_found_by_name_before_size(tmp_path):
    np.savez(tmp_path / "a.npz", masks=pixels(50, 8), images=pixels(2, 8))
    assert read_images([tmp_path / "a.npz"]).manifest.name == "images"


def save_png(path, array, mode):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array if mode != "1" else array > 0).save(path)


def read_back(path):
    with Image.open(path) as image:
        return image.mode, np.array(image)


def test_a_folder_of_mixed_sizes_and_modes_comes_back(tmp_path):
    files = {"z.png": "L", "a/b/1.png": "RGB", "a/c.bmp": "RGB", "a é.tif": "L", "bits.png": "1"}
    for i, (name, mode) in enumerate(files.items()):
        shape = (4 + i, 9 - i, 3) if mode == "RGB" else (4 + i, 9 - i)
        array = pixels(*shape) if mode != "1" else pixels(*shape) % 2
        save_png(tmp_path / "in" / name, array, mode)
    images = roundtrip([tmp_path / "in"], tmp_path / "out")
    assert not images.binary
    assert list(images.manifest.names) == sorted(files)
    bits = images.pixels[sorted(files).index("bits.png")]
    assert set(np.unique(bits)) == {0, 255}
    written = [p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")]
    assert sorted(written) == sorted(files)
    for name, mode in files.items():
        found, array = read_back(tmp_path / "out" / name)
        assert found == mode
        np.testing.assert_array_equal(array, read_back(tmp_path / "in" / name)[1])


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".pnm"])
def test_one_file_comes_back_in_each_lossless_format(tmp_path, mode, suffix):
    array = pixels(7, 5, 3) if mode == "RGB" else pixels(7, 5)
    save_png(tmp_path / "a.png", array % 2 if mode == "1" else array, mode)
    images = roundtrip([tmp_path / "a.png"], tmp_path / f"b{suffix}")
    assert images.binary == (mode == "1")
    assert to_array(images).max() <= (1 if mode == "1" else 255)
    for found, expected in zip(
        read_back(tmp_path / f"b{suffix}"), read_back(tmp_path / "a.png"), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_several_files_make_a_folder_with_their_names(tmp_path):
    for name in ("p/a.png", "q/a.png", "q/b.png"):
        save_png(tmp_path / name, pixels(3, 4), "L")
    paths = [tmp_path / "q/b.png", tmp_path / "p/a.png", tmp_path / "q/a.png"]
    roundtrip(paths, tmp_path / "out")
    for path in paths:
        copy = tmp_path / "out" / path.relative_to(tmp_path)
        np.testing.assert_array_equal(read_back(copy)[1], read_back(path)[1])
    with pytest.raises(InputError, match="twice"):
        read_images([paths[0], paths[0]])


def test_a_palette_becomes_the_rgb_that_it_shows(tmp_path):
    image = Image.fromarray(pixels(6, 6, 3)).quantize(8)
    image.save(tmp_path / "a.png")
    roundtrip([tmp_path / "a.png"], tmp_path / "b.png")
    mode, array = read_back(tmp_path / "b.png")
    assert mode == "RGB"
    np.testing.assert_array_equal(array, np.array(image.convert("RGB")))


def test_decoded_jpegs_become_png_under_unique_names(tmp_path):
    folder = tmp_path / "in"
    for name in ("a.png", "a.jpg", "a.jpeg", "B.jpg"):
        save_png(folder / name, pixels(8, 8, 3), "RGB")
    images = roundtrip([folder], tmp_path / "out")
    names = dict(zip(sorted(p.name for p in folder.iterdir()), images.manifest.names, strict=True))
    assert names == {
        "a.png": "a.png",
        "a.jpg": "a.jpg.png",
        "a.jpeg": "a.jpeg.png",
        "B.jpg": "B.png",
    }
    for source, name in names.items():
        np.testing.assert_array_equal(
            read_back(tmp_path / "out" / name)[1], read_back(folder / source)[1]
        )


def sixteen_bit_ppm(path):
    path.write_bytes(b"P6 2 2 65535\n" + bytes(range(24)))


def sixteen_bit_png(path, colour=6):
    """A PNG of 1x1 pixel of 16 bits a channel; colour type 6 is RGBA, 2 RGB, 4 gray and alpha."""
    rows = zlib.compress(b"\0" + bytes(8))
    content = struct.pack(">IIBBBBB", 1, 1, 16, colour, 0, 0, 0)
    chunks = [(b"IHDR", content), (b"IDAT", rows), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(map(png._packed, chunks)))


def truncated_png(path):
    save_png(path.with_suffix(".full.png"), pixels(40, 40), "L")
    path.write_bytes(path.with_suffix(".full.png").read_bytes()[:500])


def two_frames(path):
    frames = [Image.fromarray(pixels(3, 3)) for _ in range(2)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.png", lambda p: None, "does not exist"),
        ("a.npy", lambda p: None, "does not exist"),
        ("a.png", lambda p: p.write_text("no image"), "not an image"),
        ("a.png", truncated_png, "cannot be read"),
        ("a.tif", lambda p: Image.new("CMYK", (2, 2)).save(p), "CMYK"),
        ("a.tif", lambda p: Image.new("F", (2, 2)).save(p), "mode F"),
        ("a.tif", two_frames, "several images"),
        ("a.ppm", sixteen_bit_ppm, "more than 8 bits"),
        ("a.png", sixteen_bit_png, "more than 8 bits"),
        ("a.npy", lambda p: p.write_text("no array"), "cannot be read"),
        ("a.npz", lambda p: p.write_text("no array"), "cannot be read"),
        ("a.npy", lambda p: np.save(p, np.array([{}], object)), "Python objects"),
        ("a.npy", lambda p: np.save(p, np.zeros((2, 3, 3), np.float32)), "float32"),
        ("a.npy", lambda p: np.save(p, np.full((2, 3, 3), np.nan)), "float64"),
        ("a.npy", lambda p: np.save(p, np.arange(18).reshape(2, 3, 3) << 20), "int64"),
        ("a.npy", lambda p: np.save(p, np.zeros(9, np.uint8)), "shape"),
        ("a.npy", lambda p: np.save(p, np.zeros((0, 3, 3), np.uint8)), "empty set"),
        ("a.npy", lambda p: np.save(p, np.zeros((2, 0, 3), np.uint8)), "without pixels"),
        ("a.npz", lambda p: np.savez(p), "no arrays"),
        ("a.npz", lambda p: np.savez(p, y=np.zeros((3, 3))), "float64"),
        ("a.npz", lambda p: np.savez(p, images=np.zeros((3, 3)), y=pixels(3, 3)), "float64"),
        ("a", Path.mkdir, "empty"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(InputError, match=words) as caught:
        read_images([tmp_path / name])
    assert name in str(caught.value)


def test_other_files_of_a_folder_come_back(tmp_path):
    others = {".hidden": b"h", "a/labels.csv": b"1,2\n" * 99, "a/m.json": b"{}", "z": RNG.bytes(80)}
    for name in ("a/b.png", "a/n", "c.png"):
        save_png(tmp_path / "in" / f"{name}.png", pixels(3, 3), "L")
        (tmp_path / "in" / f"{name}.png").rename(tmp_path / "in" / name)  # known by its content
    for name, content in others.items():
        (tmp_path / "in" / name).write_bytes(content)
    images = roundtrip([tmp_path / "in"], tmp_path / "out")
    assert images.manifest.names == ("a/b.png", "a/n.png", "c.png")
    back = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*")}
    assert {name: back[name].read_bytes() for name in others} == others
    assert back.keys() - others.keys() == {"a", "a/b.png", "a/n.png", "c.png"}


def test_a_folder_of_no_images_or_of_false_ones_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="holds no images"):
        read_images([tmp_path])
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(InputError, match=r"a\.png is not an image"):
        read_images([tmp_path])
    (tmp_path / "a.png").unlink()
    (tmp_path / "b").symlink_to(tmp_path)
    with pytest.raises(InputError, match="neither a file nor a folder"):
        read_images([tmp_path])


UNSAFE = [
    "../a.png",
    "/a.png",
    "x/../../a.png",
    "x\\..\\a.png",
    "C:a.png",
    "x//a.png",
    "",
    "a\0.png",
]


@pytest.mark.parametrize("name", UNSAFE)
def test_no_stored_name_leads_out_of_the_folder(tmp_path, name):
    manifest = FilesManifest("folder", ("ok.png", name), ("L", "L"), ((2, 2, 1), (2, 2, 1)))
    images = [pixels(2, 2, 1), pixels(2, 2, 1)]
    (tmp_path / "sub").mkdir()
    with pytest.raises(FormatError, match="unsafe"):
        write(ImageSet(images, False, manifest), tmp_path / "sub" / "out")
    assert list(tmp_path.rglob("*")) == [tmp_path / "sub"]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_manifest_is_a_format_error(tmp_path_factory, data):
    junk = st.one_of(
        st.none(), st.integers(-2, 9), st.text(max_size=3), st.lists(st.integers(0, 3))
    )
    manifest = {
        "kind": data.draw(st.sampled_from(["array", "npz", "file", "folder", "?"])),
        "dtype": "uint8",
        "shape": [1, 2, 2],
        "name": "x",
        "names": ["x.png"],
        "modes": ["L"],
        "shapes": [[2, 2, 1]],
        "packed": False,
    }
    kinds = [ArrayManifest, NpzManifest, FilesManifest]
    suited = {field.name for field in dataclasses.fields(data.draw(st.sampled_from(kinds)))}
    manifest = {key: value for key, value in manifest.items() if key in suited | {"kind"}}
    key = data.draw(st.sampled_from(sorted(manifest)))
    manifest[key] = data.draw(junk)
    try:
        images = ImageSet([pixels(2, 2, 1)], False, from_json(manifest))
    except FormatError:
        return
    folder = tmp_path_factory.mktemp("out")
    for name in ("a.npy", "a.npz", "a.png", "a"):
        try:
            write(images, folder / name)
        except (FormatError, InputError):
            assert not (folder / name).exists()


@pytest.mark.parametrize(
    ("name", "output", "words"),
    [
        ("a.npy", "b.npz", "npy"),
        ("a.npy", "b.png", "npy"),
        ("a.png", "b.jpg", "png"),
        ("a.png", "b", "png"),
        ("a.png", "b.webp", "png"),
        ("a.png", "full", "folder"),
        ("full", "full", "empty folder"),
        ("a.png", "nowhere/b.png", "nowhere"),
    ],
)
def test_an_output_of_another_kind_is_refused(tmp_path, name, output, words):
    save_png(tmp_path / "a.png", pixels(3, 3), "L")
    save_png(tmp_path / "full/a.png", pixels(3, 3), "L")
    np.save(tmp_path / "a.npy", pixels(3, 3))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=words):
        write(read_images([tmp_path / name]), tmp_path / output)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file(tmp_path, error):
    def writer(file):
        file.write(b"half")
        raise error

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error):
        atomic_write(tmp_path / "a", writer)
    with pytest.raises(error), atomic_folder(tmp_path / "b") as folder:
        atomic_write(folder / "half", writer)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


def test_a_full_disk_is_one_sentence(tmp_path):
    def writer(file):
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(InputError, match="no space left"):
        atomic_write(tmp_path / "a", writer)
    assert list(tmp_path.iterdir()) == []


def test_only_regular_files_are_replaced_and_links_are_followed(tmp_path):
    with pytest.raises(InputError, match="regular"):
        atomic_write(tmp_path, b"x")
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, shapes), st.integers(1, 6))
def test_the_first_images_of_an_array_are_a_set_of_their_own(array, count):
    images = first_images(from_array(array), count)
    back = to_array(through_a_file(images))
    whole = to_stack(from_array(array))
    np.testing.assert_array_equal(to_stack(images), whole[:count])
    assert back.dtype == array.dtype
    assert back.size == whole[:count].size
    assert images.extra == b""


def test_the_first_images_of_a_folder_keep_their_names(tmp_path):
    for name in ("b.png", "a.png", "c.png"):
        Image.fromarray(pixels(3, ord(name[0]) - 90)).save(tmp_path / name)
    images = first_images(read_images([tmp_path]), 2)
    write(through_a_file(images), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]


@settings(max_examples=100, deadline=None)
@given(st.one_of(hnp.arrays(np.uint8, shapes), hnp.arrays(np.bool_, shapes)), st.data())
def test_parts_of_an_array_make_the_array(array, data):
    images = from_array(array)
    count = len(images.pixels)
    cut = data.draw(st.integers(0, count))
    bounds = [pair for pair in ((0, cut), (cut, count)) if pair[0] < pair[1]]
    parts = [through_a_file(part(images, *pair)) for pair in bounds]
    back = join(parts, count)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    assert sum(int(p.manifest.sizes().sum()) for p in parts) == array.size
    stack = np.concatenate([to_stack(p) for p in parts])
    assert len(stack) == count
    np.testing.assert_array_equal(stack.reshape(array.shape), array)


@pytest.mark.parametrize("packed", [False, True])
def test_parts_of_an_npz_make_the_same_file_as_the_whole(tmp_path, packed):
    save = np.savez_compressed if packed else np.savez
    save(tmp_path / "a.npz", first=np.arange(9), images=pixels(9, 4, 4), last=np.arange(3.0))
    images = read_images([tmp_path / "a.npz"])
    write(images, tmp_path / "whole.npz")
    parts = [through_a_file(part(images, *pair)) for pair in ((0, 4), (4, 5), (5, 9))]
    assert [bool(each.extra) for each in parts] == [True, False, False]
    write_images(parts, 9, tmp_path / "parts.npz")
    assert (tmp_path / "whole.npz").read_bytes() == (tmp_path / "parts.npz").read_bytes()
    np.save(tmp_path / "a.npy", np.load(tmp_path / "a.npz")["images"])
    images = read_images([tmp_path / "a.npy"])
    write_images([part(images, 0, 5), part(images, 5, 9)], 9, tmp_path / "b.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_lost_parts_are_zero_in_an_array_and_missing_in_a_folder(tmp_path):
    array = pixels(9, 4, 4) | 1
    images = from_array(array)
    parts = [Lost(2), part(images, 2, 5), Lost(4)]
    write_images(parts, 9, tmp_path / "a.npy")
    wanted = array.copy()
    wanted[:2], wanted[5:] = 0, 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), wanted)
    np.testing.assert_array_equal(join(parts, 9), wanted)
    for name in ("a.png", "b.png", "c.png"):
        save_png(tmp_path / "in" / name, pixels(3, 3), "L")
    images = read_images([tmp_path / "in"])
    write_images([part(images, 0, 1), Lost(1), part(images, 2, 3)], 3, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    with pytest.raises(FormatError, match="no chunk"):
        write_images([Lost(3)], 3, tmp_path / "none")


def test_an_npz_that_lost_its_first_part_keeps_its_images(tmp_path):
    np.savez(tmp_path / "a.npz", images=pixels(4, 4, 4) | 1, labels=np.arange(4))
    images = read_images([tmp_path / "a.npz"])
    write_images([Lost(2), part(images, 2, 4)], 4, tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz") as back:
        assert list(back) == ["images"]
        assert back["images"].any(axis=(1, 2)).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    "strange", [pixels(2, 4, 5), pixels(2, 4, 4, 3), pixels(2, 4, 4) > 9, "folder"]
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path, strange):
    if isinstance(strange, str):
        save_png(tmp_path / "in" / "a.png", pixels(4, 4), "L")
        save_png(tmp_path / "in" / "b.png", pixels(4, 4), "L")
        other = read_images([tmp_path / "in"])
    else:
        other = from_array(strange)
    parts = [part(from_array(pixels(4, 4, 4)), 0, 2), other]
    with pytest.raises(FormatError, match="belong together"):
        write_images(parts, 4, tmp_path / "a.npy")
    with pytest.raises(FormatError, match="belong together"):
        join(parts, 4)
    assert not (tmp_path / "a.npy").exists()


def test_images_of_files_are_read_when_they_are_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", pixels(6, 4, 4))
    images = read_images([tmp_path / "a.npy"])
    assert not isinstance(images.pixels, (list, np.ndarray))
    np.save(tmp_path / "a.npy", pixels(3, 4, 4))
    with pytest.raises(InputError, match="shorter"):
        part(images, 2, 5)
    save_png(tmp_path / "in" / "a.png", pixels(4, 4), "L")
    images = read_images([tmp_path / "in"])
    save_png(tmp_path / "in" / "a.png", pixels(4, 5), "L")
    with pytest.raises(InputError, match="changed"):
        part(images, 0, 1)
