"""One way in: archives of tar, Zarr arrays, paths and data sets, and what comes out of them."""

import io
import sys
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

import bitsback
from bitsback.archive.reader import Reader
from bitsback.archive.writer import compress_set
from bitsback.cli import main
from bitsback.data import read
from bitsback.errors import FormatError, InputError
from bitsback.format import sidecar
from bitsback.images.image_set import ImageSet, to_array
from bitsback.images.manifest import FilesManifest
from bitsback.sources.writers import write_images

RNG = np.random.default_rng(5)
IMAGES = (RNG.random((12, 8, 8)) < 0.2).astype(np.uint8)


def encoded(array, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def make_tar(path, members) -> None:
    with tarfile.open(path, "w") as out:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))


def members_of(path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as file:
        return [(each.name, file.extractfile(each).read()) for each in file]


def through(source, output, model, **options) -> bytes:
    data = compress_set(read(source), model, **options).data
    with Reader(io.BytesIO(data), lambda *_: model) as reader:
        write_images(reader.restored(), len(reader), output)
    return data


@settings(max_examples=15, deadline=None)
@given(
    suffixes=st.lists(st.sampled_from(["png", "cls", "json", "txt"]), min_size=1, max_size=9),
    chunk=st.integers(1, 4),
)
def test_a_tar_comes_back_member_by_member(tmp_path_factory, suffixes, chunk):
    folder = tmp_path_factory.mktemp("tar")
    suffixes = [*suffixes, "png"] if "png" not in suffixes else suffixes
    members = [
        (f"./{n:03}.{s}", encoded(IMAGES[n]) if s == "png" else b"%d" % n * n)
        for n, s in enumerate(suffixes)
    ]
    make_tar(folder / "a.tar", members)
    through(folder / "a.tar", folder / "b.tar", MODEL[0], chunk=chunk)
    back = members_of(folder / "b.tar")
    assert [name for name, _ in back] == [name for name, _ in members]
    for (name, before), (_, after) in zip(members, back, strict=True):
        if name.endswith(".png"):
            pixels = [np.array(Image.open(io.BytesIO(each))) for each in (before, after)]
            np.testing.assert_array_equal(*pixels)
        else:
            assert before == after


MODEL = []


@pytest.fixture(autouse=True)
def model(build_model):
    MODEL[:] = [build_model(channels=3, likelihood="logistic", mixtures=2)]
    return MODEL[0]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # WebDataset leaves it open
def test_shards_of_webdataset_come_back(tmp_path, model):
    """Written and read by the library itself."""
    wds = pytest.importorskip("webdataset")
    samples = [
        {
            "__key__": f"{n:04}",
            "png": RNG.integers(0, 256, (6 + n, 7, 3)).astype(np.uint8),
            "cls": n,
        }
        for n in range(5)
    ]
    with wds.TarWriter(str(tmp_path / "a.tar")) as out:
        for sample in samples:
            out.write(sample)
    through(tmp_path / "a.tar", tmp_path / "b.tar", model, chunk=2)
    found = list(wds.WebDataset(str(tmp_path / "b.tar"), shardshuffle=False).decode("rgb8"))
    assert [each["__key__"] for each in found] == [each["__key__"] for each in samples]
    for before, after in zip(samples, found, strict=True):
        np.testing.assert_array_equal(after["png"], before["png"])
        assert after["cls"] == before["cls"]


def test_images_of_a_tar_keep_their_metadata_and_depth(tmp_path, model):
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a title")
    deep = RNG.integers(0, 1 << 16, (5, 5)).astype(np.uint16)
    make_tar(
        tmp_path / "a.tar",
        [
            ("0.txt", b"first"),
            ("a.png", encoded(IMAGES[0], pnginfo=text)),
            ("a.jpg", encoded(IMAGES[0], "JPEG")),
            ("deep.png", encoded(deep)),
        ],
    )
    through(tmp_path / "a.tar", tmp_path / "b.tar", model)
    back = dict(members_of(tmp_path / "b.tar"))
    assert list(back) == ["0.txt", "a.png", "a.jpg", "deep.png"]
    assert Image.open(io.BytesIO(back["a.png"])).text == {"Title": "a title"}
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(back["deep.png"]))), deep)


def special(path) -> None:
    with tarfile.open(path, "w") as out:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        out.addfile(info)


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.tar", lambda p: p.write_bytes(b"no tar"), "cannot be read as a tar"),
        ("a.tar.gz", lambda p: p.write_bytes(b""), "unpack it"),
        ("a.tar", lambda p: make_tar(p, [("../a.png", encoded(IMAGES[0]))]), "rename it"),
        ("a.tar", lambda p: make_tar(p, [("a.png", encoded(IMAGES[0])), ("/b", b"")]), "rename it"),
        ("a.tar", lambda p: make_tar(p, [("a.png", encoded(IMAGES[0]))] * 2), "given twice"),
        ("a.tar", special, "leads out of it"),
    ],
)
def test_a_tar_that_cannot_be_kept_is_refused(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(InputError, match=words):
        read(tmp_path / name)


def test_a_tar_that_is_cut_short_after_it_was_read_is_refused(tmp_path):
    make_tar(tmp_path / "a.tar", [("a.png", encoded(IMAGES[0]))])
    images = read(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:520])
    with pytest.raises(InputError, match=r"cut short in a\.png"):
        images.pixels[0]


@pytest.mark.parametrize("where", ["names", "beside"])
def test_no_stored_name_leads_out_of_a_tar(tmp_path, where):
    evil = "../x.png"
    name = evil if where == "names" else "x.png"
    manifest = FilesManifest("tar", (name,), ("L",), ((8, 8, 1),))
    records = [sidecar.pack_file(evil, b"x")] if where == "beside" else []
    images = ImageSet([IMAGES[0][..., None]], False, manifest, sidecars=[sidecar.pack(records)])
    with pytest.raises(FormatError, match="unsafe"):
        write_images([images], 1, tmp_path / "out.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_command_line_takes_tars(tmp_path, build_model, monkeypatch):
    build_model()
    folder = str(tmp_path / "model")
    make_tar(tmp_path / "a.tar", [("a.png", encoded(IMAGES[0])), ("a.cls", b"3")])
    run(monkeypatch, "compress", tmp_path / "a.tar", "-o", tmp_path / "a.bb", "--model", folder)
    run(monkeypatch, "decompress", tmp_path / "a.bb", "-o", tmp_path / "b.tar", "--model", folder)
    assert [name for name, _ in members_of(tmp_path / "b.tar")] == ["a.png", "a.cls"]
    assert run(monkeypatch, "decompress", tmp_path / "a.bb", "-o", tmp_path / "c") == 2


def run(monkeypatch, *words) -> int:
    monkeypatch.setattr(sys, "argv", ["bitsback", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code or 0


@pytest.mark.parametrize("shape", [(12, 8, 8), (12, 8, 8, 1), (6, 8, 8, 2), (4, 8, 8, 3), (8, 8)])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr_arrays_are_read_like_others(tmp_path, shape, zarr_format):
    zarr = pytest.importorskip("zarr")
    images = np.resize(IMAGES, shape)
    path = tmp_path / "a.zarr"
    chunks = (min(5, shape[0]), *shape[1:])
    zarr.create_array(path, data=images, chunks=chunks, zarr_format=zarr_format)
    for source in (path, zarr.open_array(path, mode="r")):
        found = read(source)
        assert found.binary == (len(shape) < 4 or shape[3] == 1)
        np.testing.assert_array_equal(to_array(found), images)
    assert bitsback.compress(path, MODEL[0]) == bitsback.compress(images, MODEL[0])


def test_a_zarr_zip_is_read(tmp_path):
    zarr = pytest.importorskip("zarr")
    with zarr.storage.ZipStore(tmp_path / "a.zip", mode="w") as store:
        zarr.create_array(store, data=IMAGES, chunks=(5, 8, 8))
    np.testing.assert_array_equal(to_array(read(tmp_path / "a.zip")), IMAGES)


def test_what_is_no_zarr_array_of_images_is_refused(tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    group.create_array("images", data=IMAGES)
    with pytest.raises(InputError, match=r"images\): name one of them"):
        read(tmp_path / "g.zarr")
    np.testing.assert_array_equal(to_array(read(tmp_path / "g.zarr" / "images")), IMAGES)
    zarr.create_array(tmp_path / "f.zarr", data=IMAGES.astype(np.float32))
    with pytest.raises(InputError, match="float32"):
        read(tmp_path / "f.zarr")
    (tmp_path / "no.zarr").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be read as a Zarr array"):
        read(tmp_path / "no.zarr")


def test_without_zarr_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(InputError, match=r"pip install 'bitsback\[zarr\]'"):
        read(tmp_path / "a.zarr")


def test_paths_arrays_and_data_sets_are_taken(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.arange(12))
    names = [tmp_path / f"{n:02}.png" for n in range(12)]
    for name, image in zip(names, IMAGES, strict=True):
        Image.fromarray(image).save(name)
    for source in (
        tmp_path / "a.npy",
        str(tmp_path / "a.npz"),
        names,
        tuple(map(str, names)),
        IMAGES,
        list(IMAGES),
        [(image, 0) for image in IMAGES],
    ):
        found = to_array(read(source))
        np.testing.assert_array_equal(found.reshape(IMAGES.shape), IMAGES)
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "none.npy")
    with pytest.raises(InputError, match="data set"):
        read(7)


def test_images_are_read_when_they_are_asked_for(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", IMAGES)
    found = read(tmp_path / "a.npy")
    IMAGES2 = 1 - IMAGES
    np.save(tmp_path / "a.npy", IMAGES2)
    np.testing.assert_array_equal(found.pixels[7][..., 0], IMAGES2[7])
    np.testing.assert_array_equal(np.stack(found.pixels[2:4])[..., 0], IMAGES2[2:4])
    np.testing.assert_array_equal(found.pixels[-1][..., 0], IMAGES2[-1])
    assert found.pixels[5:3] == []
    assert len(list(found.pixels)) == 12
    with pytest.raises(IndexError):
        found.pixels[12]
