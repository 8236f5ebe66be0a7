"""`bitsback lossy` as a user runs it, its choice of models, its peers and measures."""

import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import random_model
from PIL import Image
from skimage import data
from test_coder import CONSTANT, TWO, loaded, random_images

from bitsback.benchmarks import lossy_table
from bitsback.cli import main
from bitsback.errors import InputError
from bitsback.lossy import bench, choice, coder, files, peers, quality
from bitsback.models import store


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["bitsback", "lossy", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        main()
    captured = capsys.readouterr()
    return exit_.value.code or 0, captured.out, captured.err


@pytest.fixture(params=[CONSTANT, TWO], ids=["one layer", "two layers"])
def folder(request, tmp_path):
    """The folder of an untrained model with a posterior of constant width."""
    tensors, widths = random_model(request.param)
    store.save(tmp_path / "model", request.param, tensors, widths)
    return tmp_path / "model"


def test_an_image_is_stored_and_shown(folder, tmp_path, monkeypatch, capsys):
    Image.fromarray(random_images(1, 13, 22, 3)[0]).save(tmp_path / "in.png")
    packed, out = tmp_path / "x.bb", tmp_path / "out.png"
    code, _, told = run(
        monkeypatch, capsys, "encode", tmp_path / "in.png", "-o", packed, "--model", folder,
        "--steps", 2,
    )  # fmt: skip
    assert code == 0
    assert told.startswith(f"{packed.stat().st_size} bytes, ")
    assert "2 of 3 steps" in told
    shown = []
    for words in (("--variance", 0), ("--variance", 1, "--seed", 3), ()):
        code, _, _ = run(
            monkeypatch, capsys, "decode", packed, "-o", out, "--model", folder, "--force", *words
        )
        assert code == 0
        with Image.open(out) as image:
            assert image.size == (22, 13)
            shown.append(np.asarray(image))
    assert all(image.shape == (13, 22, 3) for image in shown)
    wanted = coder.decode(packed.read_bytes(), store.load(str(folder)), 1.0, 3)[0]
    assert np.array_equal(shown[1], wanted)


def test_a_gray_image_stays_gray_and_layers_can_be_left_away(tmp_path, monkeypatch, capsys):
    tensors, widths = random_model(TWO)
    store.save(tmp_path / "model", TWO, tensors, widths)
    Image.fromarray(random_images(1, 16, 16, 1)[0, :, :, 0]).save(tmp_path / "in.png")
    packed, out, words = tmp_path / "x.bb", tmp_path / "out.png", ("--model", tmp_path / "model")
    sizes = []
    for layers in ("1", "2"):
        run(
            monkeypatch, capsys, "encode", tmp_path / "in.png", "-o", packed, *words,
            "--layers", layers, "--force",
        )  # fmt: skip
        sizes.append(packed.stat().st_size)
        assert run(monkeypatch, capsys, "decode", packed, "-o", out, *words, "--force")[0] == 0
        with Image.open(out) as image:
            assert (image.mode, image.size) == ("L", (16, 16))
    assert sizes[1] < sizes[0]


def test_a_set_shares_its_header_and_comes_back_as_an_array_or_a_folder(
    folder, tmp_path, monkeypatch, capsys
):
    images = random_images(12, 16, 16, 3)
    np.save(tmp_path / "in.npy", images)
    packed, words = tmp_path / "x.bb", ("--model", folder)
    encode = ("encode", tmp_path / "in.npy", "-o", packed, *words)
    code, _, told = run(monkeypatch, capsys, *encode)
    assert code == 2
    assert "--bare" in told
    assert run(monkeypatch, capsys, *encode, "--bare", "--steps", 1)[0] == 0
    decode = ("decode", packed, *words)
    assert run(monkeypatch, capsys, *decode, "-o", tmp_path / "out.npy")[0] == 0
    found = np.load(tmp_path / "out.npy")
    assert found.shape == images.shape
    assert run(monkeypatch, capsys, *decode, "-o", tmp_path / "out")[0] == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[0] == "00.png"
    assert len(names) == 12
    with Image.open(tmp_path / "out" / names[11]) as image:
        assert np.array_equal(np.asarray(image), found[11])
    code, _, told = run(monkeypatch, capsys, *decode, "-o", tmp_path / "out.png")
    assert code == 2
    assert "12 images" in told


def test_a_rate_is_kept_or_the_exit_code_tells(folder, tmp_path, monkeypatch, capsys):
    Image.fromarray(random_images(1, 32, 32, 3)[0]).save(tmp_path / "in.png")
    packed = tmp_path / "x.bb"
    words = ("encode", tmp_path / "in.png", "-o", packed, "--model", folder, "--force")
    assert run(monkeypatch, capsys, *words, "--bits-per-dim", 5)[0] == 0
    assert 8 * packed.stat().st_size <= 5 * 32 * 32 * 3
    code, _, told = run(monkeypatch, capsys, *words, "--bits-per-dim", 0.001)
    assert code == 1
    assert "more than 0.001 bits/dim" in told
    code, _, told = run(monkeypatch, capsys, *words, "--bits-per-dim", 1, "--steps", 1)
    assert code == 2
    assert "not both" in told


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", 3), (b"bitsback", 3), (bytes(9), 3), (b"\xa8\x00\x00\x08\x01", 2)],
)
def test_what_is_no_lossy_file_is_one_sentence(content, expected, tmp_path, monkeypatch, capsys):
    (tmp_path / "x.bb").write_bytes(content)
    code, _, told = run(monkeypatch, capsys, "decode", tmp_path / "x.bb", "-o", tmp_path / "y.png")
    assert code == expected
    assert told.startswith("bitsback: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "y.png").exists()


def test_a_table_of_points_chooses_the_model(tmp_path):
    table = [
        choice.Point("coarse", "", 1, 0.1, 300.0),
        choice.Point("coarse", "", 2, 0.3, 250.0),
        choice.Point("fine", "", 1, 0.2, 260.0),
        choice.Point("fine", "", 2, 0.6, 100.0),
    ]
    rates = (0.01, 0.1, 0.25, 0.4, 0.7, np.inf)
    assert [choice.model_for(rate, table) for rate in rates] == [
        "coarse", "coarse", "fine", "coarse", "fine", "fine",
    ]  # fmt: skip


def test_points_are_what_the_files_cost_and_leave(monkeypatch):
    model, images = loaded(), random_images(6, 16, 16, 3)
    found = lossy_table.points(model, images)
    assert [point.steps for point in found] == [1, 2, 3]
    for point in found:
        made = coder.encode(images, model, point.steps, bare=True)
        back = coder.decode(made.data, model, 0.0).astype(float)
        assert point.bits_per_dim == pytest.approx(made.promised_bits / images.size, abs=1e-5)
        assert point.mse == pytest.approx(((back - images) ** 2).mean(), abs=1e-3)
    monkeypatch.setattr(
        store, "load", lambda name: loaded(dataclasses.replace(CONSTANT, posterior="gaussian"))
    )
    with pytest.raises(InputError, match="constant width"):
        lossy_table.storing(["photo"])


@pytest.mark.parametrize("name", ["JPEG", "JPEG 2000", "WebP", "JPEG XL"])
@pytest.mark.parametrize("side", [64, 200])
def test_peers_use_the_bytes_that_they_are_given(name, side):
    pytest.importorskip("imagecodecs")
    image = data.astronaut()[80 : 80 + side, 180 : 180 + side]
    (peer,) = [each for each in peers.peers() if each.name == name]
    errors, sizes = [], []
    for size in (14 * side, 20 * side):
        code = peer.within(image, size)
        assert 0.7 * size < len(code) <= size
        sizes.append(len(code))
        errors.append(np.square(peer.decode(code).astype(float) - image).mean())
    assert sizes == sorted(sizes)
    assert errors[1] < errors[0] < 400
    assert peer.within(image, 10) is None


def test_quality_falls_with_noise_and_knows_its_smallest_image():
    pytest.importorskip("ssimulacra2")
    image = data.astronaut()[None, :200, :200]
    noise = np.random.default_rng(0).normal(0, 1, image.shape)
    found = [
        quality.measure(image, np.clip(image + sigma * noise, 0, 255).astype(np.uint8))
        for sigma in (2, 20)
    ]
    assert found[0].psnr > found[1].psnr + 15
    assert found[0].psnr == pytest.approx(10 * np.log10(255**2 / 4), abs=0.6)
    assert 1 > found[0].ms_ssim > found[1].ms_ssim > 0
    assert 100 > found[0].ssimulacra2 > found[1].ssimulacra2
    small = quality.measure(image[:, :32, :32], image[:, :32, :32])
    assert small.ms_ssim is None
    tiles = image[0].reshape(5, 40, 5, 40, 3).swapaxes(1, 2).reshape(25, 40, 40, 3)
    assert quality.measure(tiles, tiles[:, ::-1]).ms_ssim < 0.7
    assert quality.measure(tiles, tiles).ms_ssim == pytest.approx(1)
    assert small.ssimulacra2 == pytest.approx(100)


def test_a_bench_has_a_row_for_every_codec_form_and_rate():
    pytest.importorskip("imagecodecs")
    pytest.importorskip("ssimulacra2")
    model = loaded(dataclasses.replace(CONSTANT, tile=32))
    images = np.stack([data.astronaut()[i : i + 32, 200:232] for i in range(0, 96, 32)])
    seen = []
    rows = bench.run(images, [1.0, 4.0], lambda rate: model, seen.append)
    assert rows == seen
    assert len(rows) == 2 * 2 * (2 + 4)
    for row in rows:
        if row.reached is None:
            assert row.quality is None
            assert row.name == "JPEG" or row.form == "alone"
        else:
            assert row.reached <= row.wanted or row.name.startswith("made")
    ours = [row.reached for row in rows if row.form == "together" and row.name.startswith("made")]
    theirs = [row.reached for row in rows if row.form == "together" and row.name == "JPEG XL"]
    assert max(theirs) <= max(ours)


def test_images_of_several_sizes_make_no_set(tmp_path):
    from bitsback.images.image_set import ImageSet
    from bitsback.images.manifest import FilesManifest

    some = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)]
    shapes = tuple(image.shape for image in some)
    manifest = FilesManifest("folder", ("a.png", "b.png"), ("RGB", "RGB"), shapes)
    with pytest.raises(InputError, match="one size"):
        files.stacked(ImageSet(some, False, manifest), bare=True)
    mixed = [np.full((8, 8, 3), 7, np.uint8), np.full((8, 8, 1), 9, np.uint8)]
    found = files.stacked(ImageSet(mixed, False, manifest), bare=True)
    assert found.shape == (2, 8, 8, 3)
    assert (found[1] == 9).all()


def test_the_shipped_table_is_of_shipped_weights():
    if not (store.WEIGHTS / choice.NAME).is_file():
        pytest.skip("no table ships")
    shipped = dict(store.shipped()[::-1])
    table = json.loads((store.WEIGHTS / choice.NAME).read_text())
    assert {point["model"] for point in table} == {
        name for name in store.names() if name.startswith("photo-beta") or name == "photo-two"
    }
    for point in choice.points():
        assert shipped[point.model].hex() == point.sha256


def test_pipes_and_json(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = random_images(1, 13, 22, 3)[0]
    Image.fromarray(image).save("in.png")

    def called(*words, data=b""):
        start = [sys.executable, "-m", "bitsback.cli"]
        words = (*start, *words, "--model", "model", "--engine", "numpy")
        return subprocess.run(words, input=data, capture_output=True, check=True)

    packed = called("lossy", "encode", "in.png", "-o", "-", "--steps", "2").stdout
    told = json.loads(
        called("lossy", "encode", "in.png", "-o", "x.bb", "--steps", "2", "--json").stdout
    )
    assert (tmp_path / "x.bb").read_bytes() == packed
    assert (told["output_bytes"], told["steps"], told["steps_of_model"]) == (len(packed), 2, 3)
    assert told["match"] is True
    shown = np.load(io.BytesIO(called("lossy", "decode", "-", "-o", "-", data=packed).stdout))
    wanted = coder.decode(packed, store.load(str(folder)))
    assert np.array_equal(shown, wanted)
    again = np.load(io.BytesIO(called("decompress", "-", "-o", "-", data=packed).stdout))
    assert np.array_equal(again, wanted)
    told = json.loads(called("decompress", "x.bb", "-o", "out.png", "--json").stdout)
    assert told == {"output": "out.png", "images": 1, "steps": 2, "model": "model"}


def test_a_rate_beyond_all_steps_is_told(folder, tmp_path, monkeypatch, capsys):
    Image.fromarray(random_images(1, 13, 22, 3)[0]).save(tmp_path / "in.png")
    words = ("encode", tmp_path / "in.png", "-o", tmp_path / "x.bb", "--model", folder)
    code, _, told = run(monkeypatch, capsys, *words, "--bits-per-dim", 8)
    assert code == 0
    assert "all steps of model together take less than 8.0 bits/dim" in told
