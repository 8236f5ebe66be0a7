"""The command line, as a user runs it."""

import errno
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import SMALL, run
from PIL import Image

import bitsback
from bitsback.benchmarks import files as benches
from bitsback.cli import console


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


def test_a_folder_of_gray_and_colour_images_comes_back(build_model, tmp_path, monkeypatch, capsys):
    build_model(channels=3, likelihood="logistic", mixtures=2)
    random = np.random.default_rng(0)
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    images = {
        "a.png": random.integers(0, 256, (13, 9, 3), np.uint8),
        "b.png": np.full((8, 20), 7, np.uint8),
        "sub/c.png": random.integers(0, 256, (5, 5), np.uint8),
    }
    for name, pixels in images.items():
        Image.fromarray(pixels).save(folder / name)
    words = ("--model", tmp_path / "model")
    packed = tmp_path / "x.bb"
    assert run(monkeypatch, capsys, "compress", folder, "-o", packed, *words)[0] == 0
    assert run(monkeypatch, capsys, "decompress", packed, "-o", tmp_path / "out", *words)[0] == 0
    for name, pixels in images.items():
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


def test_rate_compares_with_expected_bits_of_a_file(model_folder, tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "in.npy", np.zeros((300, 8, 8), np.uint8))
    words = "rate", tmp_path / "in.npy", "--model", model_folder
    report = json.loads(run(monkeypatch, capsys, *words, "--json")[1])
    count = report["chained_images"]
    bits = [step["kl"]["bits"] / count for step in report["steps"]]
    bits.append(report["likelihood"]["bits"] / count)
    pairs = [{"mean": mean, "standard_error": 0.0} for mean in bits]
    file = tmp_path / "expected.json"
    for factor, code in ((1.0, 0), (1.5, 1)):
        likelihood = pairs[-1] | {"mean": factor * bits[-1]}
        file.write_text(json.dumps({"groups": pairs[:-1], "likelihood": likelihood}))
        found, out, _ = run(monkeypatch, capsys, *words, "--expected", file)
        assert found == code, out
        verdict = "match in all parts" if factor == 1.0 else "DO NOT MATCH in 2 of"
        assert f"KL-based and expected rate {verdict}" in out
        assert "z expected: KL minus expected" in out
    file.write_text("[]")
    code, _, err = run(monkeypatch, capsys, *words, "--expected", file)
    assert (code, err) == (2, "bitsback: expected bits need groups and a likelihood\n")


def test_warnings_of_coverage_are_lines_on_standard_error_even_before_an_error(capsys):
    def warned_and_refused():
        with console.told_warnings():
            warnings.warn("3 of 9 latents are clipped", bitsback.CoverageWarning, stacklevel=1)
            raise bitsback.ModelError("too many")

    with pytest.raises(bitsback.ModelError):
        warned_and_refused()
    assert capsys.readouterr().err == "bitsback: warning: 3 of 9 latents are clipped\n"
    with pytest.warns(DeprecationWarning, match="others pass"), console.told_warnings():
        warnings.warn("others pass", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


def test_rate_writes_a_page_and_a_figure(model_folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    np.save(tmp_path / "in.npy", np.zeros((60, 8, 8), np.uint8))
    words = "rate", tmp_path / "in.npy", "--model", model_folder
    outputs = "--html", tmp_path / "x.html", "--plot", tmp_path / "x.png"
    code, out, _ = run(monkeypatch, capsys, *words, *outputs)
    assert code == 0, out
    assert (tmp_path / "x.html").read_text().startswith("<!DOCTYPE html>")
    with Image.open(tmp_path / "x.png") as drawn:
        assert drawn.size[0] > 500
    code, _, err = run(monkeypatch, capsys, *words, *outputs)
    assert (code, err.count("\n")) == (2, 1)
    assert "exists" in err
    assert run(monkeypatch, capsys, *words, *outputs, "--force")[0] == 0
    code, _, err = run(monkeypatch, capsys, *words, "--plot", tmp_path / "x.gif")
    assert code == 2
    assert "a figure is a .png, .svg or .pdf" in err


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


def test_truncated_altered_and_foreign_files_exit_3(build_model, tmp_path, monkeypatch, capsys):
    loaded = build_model()
    data = bitsback.compress(np.zeros((4, 8, 8), np.uint8), loaded)
    for damaged in (data[:-3], b"hello", data[:40] + bytes([data[40] ^ 1]) + data[41:], b""):
        path = tmp_path / "damaged.bb"
        path.write_bytes(damaged)
        code, _, err = run(
            monkeypatch, capsys, "decompress", path, "-o", tmp_path / "y.npy",
            "--model", tmp_path / "model",
        )  # fmt: skip
        assert code == 3
        assert err.count("\n") == 1
        assert not (tmp_path / "y.npy").exists()


def test_another_model_is_refused_by_name(build_model, tmp_path):
    data = bitsback.compress(np.zeros((4, 8, 8), np.uint8), build_model())
    with pytest.raises(bitsback.ModelError, match="the file needs model"):
        bitsback.decompress(data, build_model(maps=SMALL.maps + 1))


def test_importing_the_package_imports_no_torch():
    code = "import bitsback, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_train_resumes_and_makes_a_model_that_codes(tmp_path, monkeypatch, capsys):
    config = tmp_path / "tiny.toml"
    config.write_text(
        '[model]\nchannels = 1\nlikelihood = "bernoulli"\nsteps = 2\nmaps = 4\nlatents = 1\n'
        "stride = 2\ntile = 8\nbatch = 2\n[training]\nupdates = 60\nbatch = 4\n"
    )
    images = (np.random.default_rng(0).random((40, 8, 8)) < 0.2).astype(np.uint8)
    np.save(tmp_path / "in.npy", images)
    words = (
        "train",
        config,
        "--data",
        tmp_path / "in.npy",
        "-o",
        tmp_path / "m",
        "--device",
        "cpu",
    )
    assert run(monkeypatch, capsys, *words, "--seconds", "0")[0] == 0
    first = json.loads((tmp_path / "m" / "log.json").read_text())
    assert first["updates"] == 1
    code, _, err = run(monkeypatch, capsys, *words)
    assert code == 0
    assert "update 60 of 60" in err
    log = json.loads((tmp_path / "m" / "log.json").read_text())
    assert log["updates"] == 60
    assert log["seconds"] > 0
    data = bitsback.compress(images, tmp_path / "m")
    assert np.array_equal(bitsback.decompress(data, tmp_path / "m"), images)
    plain = subprocess.run(
        [sys.executable, "-m", "bitsback.models", *map(str, words[1:])], capture_output=True
    )
    assert plain.returncode == 0


def test_sample_draws_the_same_sheet_for_the_same_seed(model_folder, tmp_path, monkeypatch, capsys):
    sheets = []
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        words = ("--model", model_folder, "-n", 5, "--seed", seed, "-o", tmp_path / name)
        assert run(monkeypatch, capsys, "sample", *words)[0] == 0
        sheets.append(np.asarray(Image.open(tmp_path / name)))
    assert sheets[0].shape == (2 * 12, 3 * 12)
    assert 0 < (sheets[0] == 255).sum() < sheets[0].size / 2
    assert np.array_equal(sheets[0], sheets[1])
    assert not np.array_equal(sheets[0], sheets[2])
    for words in (("-n", 0, "-o", tmp_path / "d.png"), ("-n", 1, "-o", tmp_path / "d.jpg")):
        assert run(monkeypatch, capsys, "sample", "--model", model_folder, *words)[0] == 2
    assert not (tmp_path / "d.png").exists()


def test_bench_sets_every_peer_beside_bitsback(model_folder, tmp_path, monkeypatch, capsys):
    images = (np.random.default_rng(0).random((300, 8, 8)) < 0.2).astype(np.uint8)
    np.save(tmp_path / "in.npy", images)
    words = ("bench", tmp_path / "in.npy", "--model", model_folder, "--limit", 250)
    code, out, _ = run(monkeypatch, capsys, *words, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["images"] == 250
    assert found["dims"] == 250 * 64
    assert 0 <= found["network_share"] < 1
    assert 0 <= found["model_share"] <= 1
    names = [row["name"] for row in found["rows"]]
    assert names[0] == "bitsback"
    for peer in ("PNG", "WebP", "JPEG XL", "zstd", "xz"):
        assert any(name.startswith(peer) for name in names)
    for row in found["rows"]:
        assert row["bits_per_dim"] == pytest.approx(8 * row["size"] / (250 * 64))
        assert row["size_ratio"] == pytest.approx(row["size"] / found["rows"][0]["size"])
    # Independent pixels cannot be had for less than their entropy, whatever the codec.
    entropy = -(0.2 * np.log2(0.2) + 0.8 * np.log2(0.8))
    assert all(row["bits_per_dim"] > 0.95 * entropy for row in found["rows"])
    assert run(monkeypatch, capsys, *words)[0] == 0


def test_bench_notices_a_codec_that_changes_a_pixel():
    images = [np.zeros((4, 4, 1), np.uint8)]
    with pytest.raises(bitsback.BitsbackError, match="liar"):
        benches.measure("liar", images, lambda x: x.tobytes(), lambda d: np.ones(16, np.uint8))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("compress", "missing.npy", "-o", "x.bb"), "missing.npy"),
        (("decompress", "missing.bb", "-o", "x.npy"), "missing.bb"),
        (("rate", "in.npy", "--model", "nobody"), "unknown model 'nobody'"),
        (("compress", "in.npy", "-o", "x.bb", "--device", "abacus"), "unknown device"),
        (("compress", "in.npy", "-o", "none/x.bb"), "no folder"),
        (("compress", "in.npy", "-o", "x.bb", "--payload", "missing"), "missing"),
        (("train", "missing.toml", "--data", "in.npy", "-o", "m"), "missing.toml"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.zeros((2, 8, 8), np.uint8))
    code, out, err = run(monkeypatch, capsys, *words)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


def test_a_full_disk_leaves_no_partial_file(model_folder, tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "in.npy", np.zeros((2, 8, 8), np.uint8))

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = sorted(tmp_path.iterdir())
    code, _, err = run(
        monkeypatch, capsys, "compress", tmp_path / "in.npy", "-o", tmp_path / "x.bb",
        "--model", model_folder,
    )  # fmt: skip
    assert code == 2
    assert err.startswith("bitsback: no space left")
    assert sorted(tmp_path.iterdir()) == before


def test_chunks_and_micro_batches_change_no_image(model_folder, tmp_path, monkeypatch, capsys):
    images = (np.random.default_rng(0).random((30, 8, 8)) < 0.3).astype(np.uint8)
    np.save(tmp_path / "in.npy", images)
    (tmp_path / "note").write_bytes(np.random.default_rng(1).bytes(2000))
    words = ("--model", model_folder)
    files = []
    for micro in ((), ("--micro-batch", 3)):
        packed = tmp_path / f"x{len(files)}.bb"
        code, _, err = run(
            monkeypatch, capsys, "compress", tmp_path / "in.npy", "-o", packed, *words, *micro,
            "--chunk", 8, "--batch", 7, "--payload", tmp_path / "note",
        )  # fmt: skip
        assert code == 0, err
        files.append(packed.read_bytes())
    assert files[0] == files[1]
    code, out, _ = run(monkeypatch, capsys, "info", packed, "--json")
    assert code == 0
    chunks = json.loads(out)["chunks"]
    assert [chunk["images"] for chunk in chunks] == [8, 8, 8, 6]
    assert chunks[0]["batch"] == 7
    assert chunks[0]["segments"][0]["classical"] < 8
    for micro in ((), ("--micro-batch", 2)):
        assert run(monkeypatch, capsys, "verify", packed, *words, *micro)[:2] == (
            0,
            f"{packed}: OK, 30 images in 4 chunks\n",
        )
        back = tmp_path / "back.npy"
        code, _, err = run(monkeypatch, capsys, "decompress", packed, "-o", back, *words, *micro)
        back = back.rename(tmp_path / "found.npy")
        assert code == 0, err
        assert np.array_equal(np.load(back), images)


def test_the_cost_of_more_images_is_measured_in_their_own_processes(
    model_folder, tmp_path, monkeypatch, capsys
):
    images = (np.random.default_rng(0).random((30, 8, 8)) < 0.3).astype(np.uint8)
    np.save(tmp_path / "in.npy", images)
    words = (tmp_path / "in.npy", "--model", model_folder, "-n", 10, "-n", 30)
    start = [sys.executable, "-m", "bitsback.benchmarks.cost"]
    done = subprocess.run([*start, *map(str, words), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    costs = json.loads(done.stdout)
    assert [cost["images"] for cost in costs] == [10, 30]
    assert all(value > 0 for cost in costs for value in cost.values())
    done = subprocess.run([*start, "none.npy"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr
