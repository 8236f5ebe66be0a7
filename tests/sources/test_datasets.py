"""Data sets of other libraries, and those that are fetched from a server."""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import subprocess
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from bitsback.cli import main
from bitsback.data import images_of, read
from bitsback.errors import InputError
from bitsback.sources import download

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 9, 7, 3)).astype(np.uint8)


class Torchvision:
    """What torchvision's data sets look like: items are (image, label)."""

    def __init__(self, images, make):
        self.images, self.make = images, make

    def __len__(self):
        return len(self.images)

    def __getitem__(self, number):
        return self.make(self.images[number]), number % 10


@pytest.mark.parametrize(
    "make",
    [Image.fromarray, np.asarray, lambda x: torch.from_numpy(x.transpose(2, 0, 1).copy())],
    ids=["image", "array", "tensor"],
)
def test_pairs_of_image_and_label_are_taken(make):
    assert np.array_equal(images_of(Torchvision(IMAGES, make)), IMAGES)


def test_gray_images_have_no_axis_of_channels():
    gray = IMAGES[..., 0]
    assert np.array_equal(images_of(Torchvision(gray, Image.fromarray)), gray)
    tensors = [torch.from_numpy(image[None]) for image in gray]
    assert np.array_equal(images_of(tensors), gray)
    flags = gray > 128
    assert images_of([Image.fromarray(image) for image in flags]).dtype == np.bool_
    assert images_of(IMAGES) is IMAGES


@pytest.mark.parametrize("column", ["image", "img"])
def test_hugging_face_data_sets_are_taken(column):
    datasets = pytest.importorskip("datasets")
    rows = {column: [Image.fromarray(image) for image in IMAGES], "label": list(range(5))}
    features = datasets.Features({column: datasets.Image(), "label": datasets.Value("int64")})
    found = images_of(datasets.Dataset.from_dict(rows, features=features))
    assert np.array_equal(found, IMAGES)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4", "|i1"])
def test_integers_of_any_width_keep_their_dtype(dtype):
    levels = [np.arange(n, n + 20).reshape(4, 5).astype(dtype) for n in range(3)]
    found = images_of(levels)
    assert found.dtype == dtype
    assert np.array_equal(found, np.stack(levels))
    if dtype in ("<u2", "<i4"):
        assert np.array_equal(images_of(list(map(Image.fromarray, levels))), found)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ([], "no images"),
        (7, "length"),
        ([{"text": "a"}], "no column"),
        ([IMAGES[0], IMAGES[0, :4]], "different sizes"),
        ([torch.zeros(3, 4, 4)], "without a transform"),
    ],
)
def test_what_is_no_data_set_of_images_is_refused(source, word):
    with pytest.raises(InputError, match=word):
        images_of(source)


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(head + array.tobytes())


def mnist_files() -> dict[str, bytes]:
    return {
        "train-images-idx3-ubyte.gz": idx(IMAGES[..., 0]),
        "train-labels-idx1-ubyte.gz": idx(np.arange(5, dtype=np.uint8)),
        "t10k-images-idx3-ubyte.gz": idx(IMAGES[:2, :, :, 1]),
        "t10k-labels-idx1-ubyte.gz": idx(np.arange(2, dtype=np.uint8)),
    }


def cifar_files() -> dict[str, bytes]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for number, name in enumerate(
            [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
        ):
            data = bytes([number]) + bytes(range(256)) * 12
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return {"cifar-10-binary.tar.gz": packed.getvalue()}


def omniglot_files() -> dict[str, bytes]:
    found = {}
    for part, level in (("background", 0), ("evaluation", 255)):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name in ("b/2.png", "a/1.png", "__MACOSX/a/1.png"):
                drawn = io.BytesIO()
                drawing = np.full((4, 4), 255, np.uint8)
                drawing[0, 0 if name.startswith("a") else 1] = level
                Image.fromarray(drawing).save(drawn, "PNG")
                archive.writestr(name, drawn.getvalue())
        found[f"images_{part}.zip"] = packed.getvalue()
    return found


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; what lies under "endless" has no size, and no end that a test would see."""

    given = 0

    def log_message(self, *_):
        pass

    def do_GET(self):
        if "endless" not in self.path and "declared" not in self.path:
            # Who has enough hangs up, which the server must not tell on the command's own stderr.
            with contextlib.suppress(ConnectionError):
                super().do_GET()
            return
        self.send_response(200)
        if "declared" in self.path:  # and nothing is sent
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            return
        self.end_headers()
        Quiet.given = 0
        with contextlib.suppress(OSError):
            while Quiet.given < 1 << 30:
                Quiet.given += self.wfile.write(bytes(1 << 16))


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve files under the names of a data set's, on loopback, with their true hashes."""
    pytest.importorskip("pooch")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(name: str, files: dict[str, bytes], under: str = "") -> None:
        for file, data in files.items():
            (folder / file).write_bytes(data)
        source = download.SOURCES[name]
        assert set(files) == set(source.files)
        published = {
            file: download.File(len(data), hashlib.sha256(data).hexdigest())
            for file, data in files.items()
        }
        urls = ("http://127.0.0.1:1/", f"http://127.0.0.1:{server.server_port}/{under}")
        changed = download.Source(urls, published, source.read)
        monkeypatch.setitem(download.SOURCES, name, changed)

    yield serve
    server.shutdown()
    server.server_close()


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["bitsback", "download", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code or 0, capsys.readouterr().err


def test_data_sets_are_fetched_checked_and_written(served, tmp_path, monkeypatch, capsys):
    served("mnist", mnist_files())
    served("cifar10", cifar_files())
    served("omniglot", omniglot_files())
    found = {}
    for name in download.SOURCES:
        output = tmp_path / f"{name}.npz"
        code, told = run(monkeypatch, capsys, name, "-o", output, "--cache", tmp_path / "cache")
        assert code == 0, told
        with np.load(output) as arrays:
            found[name] = dict(arrays)
    assert np.array_equal(found["mnist"]["train"], IMAGES[..., 0])
    assert np.array_equal(found["mnist"]["test"], IMAGES[:2, :, :, 1])
    assert found["mnist"]["test_labels"].tolist() == [0, 1]
    assert found["cifar10"]["train_labels"].tolist() == [0, 1, 2, 3, 4]
    assert found["cifar10"]["test"].shape == (1, 32, 32, 3)
    planes = np.frombuffer(bytes(range(256)) * 12, np.uint8).reshape(3, 32, 32)
    assert np.array_equal(found["cifar10"]["test"][0], planes.transpose(1, 2, 0))
    assert found["omniglot"]["background"].shape == (2, 4, 4)
    assert found["omniglot"]["background"][0, 0].tolist() == [1, 0, 0, 0]
    assert found["omniglot"]["background"][1, 0].tolist() == [0, 1, 0, 0]
    assert not found["omniglot"]["evaluation"].any()


def test_a_file_with_another_hash_is_refused(served, tmp_path, monkeypatch, capsys):
    files = mnist_files()
    served("mnist", files)
    changed = tmp_path / "served" / "t10k-labels-idx1-ubyte.gz"
    changed.write_bytes(changed.read_bytes()[::-1])
    words = ("mnist", "-o", tmp_path / "x.npz", "--cache", tmp_path / "cache")
    code, told = run(monkeypatch, capsys, *words)
    assert code == 2
    assert told == (
        "bitsback: t10k-labels-idx1-ubyte.gz cannot be fetched: 127.0.0.1 cannot be reached, or "
        "ends the connection; 127.0.0.1 gives a file with another SHA-256\n"
    )
    assert not (tmp_path / "x.npz").exists()
    assert not (tmp_path / "cache" / "mnist" / changed.name).exists()
    code, told = run(monkeypatch, capsys, "imagenet", "-o", tmp_path / "x.npz")
    assert code == 2
    assert "mnist, cifar10, omniglot" in told


@pytest.mark.parametrize("under", ["", "endless/", "declared/"])
def test_no_more_is_taken_than_was_published(under, served, tmp_path, monkeypatch, capsys):
    files = cifar_files()
    served("cifar10", files, under)
    large = tmp_path / "served" / "cifar-10-binary.tar.gz"
    large.write_bytes(large.read_bytes() + bytes(1 << 20))
    cache = tmp_path / "cache"
    code, told = run(monkeypatch, capsys, "cifar10", "-o", tmp_path / "x.npz", "--cache", cache)
    assert code == 2
    size = len(files[large.name])
    assert f"127.0.0.1 gives more than the {size} bytes that were published" in told
    assert told.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != large]
    if under == "endless/":
        assert Quiet.given < 100 << 20  # what lies in the sockets, and no gigabyte


def test_who_is_offline_is_told_so_in_one_sentence(served, tmp_path, monkeypatch, capsys):
    served("mnist", mnist_files())
    source = dataclasses.replace(download.SOURCES["mnist"], urls=("http://127.0.0.1:1/",))
    monkeypatch.setitem(download.SOURCES, "mnist", source)
    words = ("mnist", "-o", tmp_path / "x.npz", "--cache", tmp_path / "cache")
    assert run(monkeypatch, capsys, *words) == (
        2,
        "bitsback: train-images-idx3-ubyte.gz cannot be fetched: 127.0.0.1 cannot be reached, or "
        "ends the connection\n",
    )


def test_no_other_line_is_printed(tmp_path):
    script = (
        "import dataclasses; from bitsback.cli import main; from bitsback.sources import download;"
        "s = download.SOURCES; urls = ('http://127.0.0.1:1/',);"
        "s['mnist'] = dataclasses.replace(s['mnist'], urls=urls); main()"
    )
    words = ["download", "mnist", "-o", "x.npz", "--cache", "cache"]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("bitsback: train-images-idx3-ubyte.gz cannot be fetched")
    assert done.stderr.count("\n") == 1


def test_a_server_without_the_file_is_told(served, tmp_path, monkeypatch, capsys):
    served("mnist", mnist_files())
    (tmp_path / "served" / "t10k-labels-idx1-ubyte.gz").unlink()
    words = ("mnist", "-o", tmp_path / "x.npz", "--cache", tmp_path / "cache")
    code, told = run(monkeypatch, capsys, *words)
    assert code == 2
    assert "127.0.0.1 answers 404 File not found\n" in told


def test_the_hashes_are_those_of_the_published_files():
    for source in download.SOURCES.values():
        for file in source.files.values():
            assert len(file.sha256) == 64
            assert int(file.sha256, 16)
            assert 4000 < file.size < 200_000_000
        assert all(url.startswith("http") and url.endswith("/") for url in source.urls)


def test_the_remedy_for_an_image_of_floats_works():
    image = Image.fromarray(np.random.default_rng(0).random((9, 8)).astype(np.float32))
    with pytest.raises(InputError, match=r"np\.asarray\(image\)\.view\(np\.uint8\)"):
        read([image])
    found = read(np.asarray(image).view(np.uint8))
    assert found.pixels[0].size == 4 * 9 * 8
