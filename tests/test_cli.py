"""The command line, as a user runs it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import SMALL
from PIL import Image

import bitsback
from bitsback import cli


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["bitsback", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    captured = capsys.readouterr()
    return exit_.value.code or 0, captured.out, captured.err


@pytest.fixture
def model_folder(build_model, tmp_path):
    build_model()
    return tmp_path / "model"


def test_an_npz_comes_back_with_all_its_arrays(model_folder, tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    arrays = {"images": (random.random((30, 8, 8)) < 0.2), "labels": np.arange(30)}
    np.savez(tmp_path / "in.npz", **arrays)
    (tmp_path / "note").write_bytes(b"a note")
    packed, back = tmp_path / "x.bb", tmp_path / "back.npz"
    words = ("--model", model_folder)
    code, _, _ = run(
        monkeypatch, capsys, "compress", tmp_path / "in.npz", "-o", packed, *words,
        "--payload", tmp_path / "note",
    )  # fmt: skip
    assert code == 0
    code, _, _ = run(
        monkeypatch, capsys, "decompress", packed, "-o", back, *words,
        "--payload", tmp_path / "note2",
    )  # fmt: skip
    assert code == 0
    assert (tmp_path / "note2").read_bytes() == b"a note"
    with np.load(back) as found:
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)


def test_a_folder_of_gray_and_colour_pictures_comes_back(
    build_model, tmp_path, monkeypatch, capsys
):
    build_model(channels=3, likelihood="logistic", mixtures=2)
    random = np.random.default_rng(0)
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    pictures = {
        "a.png": random.integers(0, 256, (13, 9, 3), np.uint8),
        "b.png": np.full((8, 20), 7, np.uint8),
        "sub/c.png": random.integers(0, 256, (5, 5), np.uint8),
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / name)
    words = ("--model", tmp_path / "model")
    packed = tmp_path / "x.bb"
    assert run(monkeypatch, capsys, "compress", folder, "-o", packed, *words)[0] == 0
    assert run(monkeypatch, capsys, "decompress", packed, "-o", tmp_path / "out", *words)[0] == 0
    for name, pixels in pictures.items():
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)), pixels)


def test_rate_prints_json_with_the_promised_fields(model_folder, tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "in.npy", np.zeros((300, 8, 8), np.uint8))
    code, out, _ = run(
        monkeypatch, capsys, "rate", tmp_path / "in.npy", "--model", model_folder, "--json"
    )
    report = json.loads(out)
    assert {
        "images", "dims", "net_bits_per_dim", "kl_bits_per_dim", "file_bits_per_dim",
        "initial_bits", "overhead_bits", "nats_per_image", "match", "steps",
    } <= set(report)  # fmt: skip
    assert report["images"] == 300
    assert code == (0 if report["match"] else 1)


@pytest.mark.parametrize(
    "array", [np.zeros((3, 8, 8)), np.zeros((0, 8, 8), np.uint8), np.zeros((2, 2, 2, 2, 2), bool)]
)
def test_bad_input_is_one_sentence(array, model_folder, tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "in.npy", array)
    output = tmp_path / "x.bb"
    code, _, err = run(
        monkeypatch, capsys, "compress", tmp_path / "in.npy", "-o", output, "--model", model_folder
    )
    assert code == 2
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not output.exists()


def test_truncated_altered_and_foreign_files_exit_2(build_model, tmp_path, monkeypatch, capsys):
    loaded = build_model()
    data = bitsback.compress(np.zeros((4, 8, 8), np.uint8), loaded)
    for damaged in (data[:-3], b"hello", data[:40] + bytes([data[40] ^ 1]) + data[41:], b""):
        path = tmp_path / "damaged.bb"
        path.write_bytes(damaged)
        code, _, err = run(
            monkeypatch, capsys, "decompress", path, "-o", tmp_path / "y.npy",
            "--model", tmp_path / "model",
        )  # fmt: skip
        assert code == 2
        assert err.count("\n") == 1
        assert not (tmp_path / "y.npy").exists()


def test_another_model_is_refused_by_name(build_model, tmp_path):
    data = bitsback.compress(np.zeros((4, 8, 8), np.uint8), build_model())
    with pytest.raises(bitsback.ModelError, match="the file needs model"):
        bitsback.decompress(data, build_model(maps=SMALL.maps + 1))


def test_importing_the_package_imports_no_torch():
    code = "import bitsback, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
