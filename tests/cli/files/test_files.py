"""What compress and decompress replace, pass through pipes, and tell at their end."""

import io
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from conftest import run
from PIL import Image

from bitsback.cli.files import outputs
from bitsback.cli.files.summary import Files, files_of
from bitsback.errors import InputError
from bitsback.format.header import read_header
from bitsback.images.outcomes import Carried, Kept, Outcome
from bitsback.sources.atomic_files import check_apart

RNG = np.random.default_rng(0)
IMAGES = (RNG.random((6, 8, 8)) < 0.2).astype(np.uint8)


@pytest.fixture
def words(build_model, tmp_path, monkeypatch):
    build_model(channels=3, likelihood="logistic", mixtures=2)
    monkeypatch.chdir(tmp_path)
    return ("--model", tmp_path / "model")


def save_folder(folder):
    folder.mkdir()
    Image.fromarray(RNG.integers(0, 256, (9, 8, 3), np.uint8)).save(folder / "a.png")
    frames = [Image.fromarray(image) for image in IMAGES]
    frames[0].save(folder / "[b]moving.gif", save_all=True, append_images=frames[1:])


def refused(told):
    code, out, err = told
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err


def test_an_output_that_exists_needs_force(words, tmp_path, monkeypatch, capsys):
    np.save("a.npy", IMAGES)
    (tmp_path / "x.bb").write_bytes(b"old")
    again = ("compress", "a.npy", "-o", "x.bb", *words)
    assert "--force" in refused(run(monkeypatch, capsys, *again))
    assert (tmp_path / "x.bb").read_bytes() == b"old"
    assert run(monkeypatch, capsys, *again, "--force")[0] == 0
    back = ("decompress", "x.bb", "-o", "b.npy", *words)
    assert run(monkeypatch, capsys, *back)[0] == 0
    assert "--force" in refused(run(monkeypatch, capsys, *back))
    assert run(monkeypatch, capsys, *back, "--force")[0] == 0
    note = ("--payload", "a.npy")
    other = ("decompress", "x.bb", "-o", "c.npy", *words)
    assert "--force" in refused(run(monkeypatch, capsys, *other, *note))
    assert not (tmp_path / "c.npy").exists()
    assert run(monkeypatch, capsys, *again, "--dry-run")[0] == 0


@pytest.mark.parametrize(
    "command",
    [
        ("sample", "-o", "old.png", "-n", 1),
        ("figure", "8", "-o", "old.png"),
        ("lossy", "encode", "a.npy", "-o", "old.png"),
        ("lossy", "decode", "a.npy", "-o", "old.png"),
        ("download", "mnist", "-o", "old.png"),
        ("train", "none.toml", "--data", "a.npy", "-o", "."),
    ],
)
def test_no_command_replaces_a_file_unasked(command, words, tmp_path, monkeypatch, capsys):
    np.save("a.npy", IMAGES)
    for name in ("old.png", "model.safetensors"):
        (tmp_path / name).write_bytes(b"old")
    assert "--force" in refused(run(monkeypatch, capsys, *command))
    assert (tmp_path / "old.png").read_bytes() == b"old"


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_terminal_is_asked(tmp_path, monkeypatch, answer):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    if answer == "y":
        outputs.claim(tmp_path / "x", force=False)
    else:
        with pytest.raises(InputError, match="left as it is"):
            outputs.claim(tmp_path / "x", force=False)


def test_an_output_that_is_an_input_is_refused_even_by_force(words, tmp_path, monkeypatch, capsys):
    np.save("a.npy", IMAGES)
    os.link("a.npy", "hard.npy")
    os.symlink("a.npy", "soft.npy")
    before = (tmp_path / "a.npy").read_bytes()
    for name in ("a.npy", "./a.npy", "hard.npy", "soft.npy"):
        told = run(monkeypatch, capsys, "compress", "a.npy", "-o", name, *words, "--force")
        assert "is an input" in refused(told)
    assert (tmp_path / "a.npy").read_bytes() == before
    save_folder(tmp_path / "in")
    for name in ("in/x.bb", "in/deep/x.bb", "in"):
        told = run(monkeypatch, capsys, "compress", "in", "-o", name, *words, "--force")
        assert "input" in refused(told)
    note = ("--payload", "note")
    (tmp_path / "note").write_bytes(b"n")
    told = run(monkeypatch, capsys, "compress", "a.npy", "-o", "note", *note, *words, "--force")
    assert "is an input" in refused(told)
    assert run(monkeypatch, capsys, "compress", "in", "-o", "x.bb", *words)[0] == 0
    for options in (("-o", "x.bb"), ("-o", "b", "--payload", "x.bb")):
        told = run(monkeypatch, capsys, "decompress", "x.bb", *options, *words, "--force")
        assert "is an input" in refused(told)
    told = run(monkeypatch, capsys, "decompress", "x.bb", "-o", "b", "--payload", "./b", *words)
    assert "two names" in refused(told)
    check_apart(tmp_path / "new", [tmp_path / "in"])


def test_a_folder_is_not_restored_to_the_name_of_a_file(words, tmp_path, monkeypatch, capsys):
    save_folder(tmp_path / "in")
    assert run(monkeypatch, capsys, "compress", "in", "-o", "x.bb", *words)[0] == 0
    for name in ("back.npz", "back.png", "back.TAR"):
        told = run(monkeypatch, capsys, "decompress", "x.bb", "-o", name, *words)
        assert "holds a folder" in refused(told)
    assert run(monkeypatch, capsys, "decompress", "x.bb", "-o", "back.2", *words)[0] == 0
    assert sorted(os.listdir("back.2")) == sorted(os.listdir("in"))


COMPRESSED = {
    "output": str, "images": int, "input_bytes": int, "output_bytes": int, "ratio": float,
    "bits_per_dim": type(None), "seconds": float, "model": str, "model_share": float,
}  # fmt: skip


def test_the_last_line_and_json_have_the_same_facts(words, tmp_path, monkeypatch, capsys):
    save_folder(tmp_path / "in")
    size = sum(path.stat().st_size for path in (tmp_path / "in").iterdir())
    keep = ("--keep", "samples")
    code, out, err = run(monkeypatch, capsys, "compress", "in", "-o", "x.bb", *words, *keep)
    packed = (tmp_path / "x.bb").stat().st_size
    line = err.splitlines()[-1]
    assert line.startswith(
        f"x.bb: 1 image, {size:,} to {packed:,} bytes ({size / packed:.2f} to 1)"
    )
    assert "[b]moving.gif" in err
    assert "model model (100.0% in a classical code, which was smaller);" in line
    assert "bits/dim" not in line
    assert "carried as they were" in line
    code, out, err = run(
        monkeypatch, capsys, "compress", "in", "-o", "x.bb", *words, *keep, "--force", "--json"
    )
    facts = json.loads(out)
    files = facts.pop("files")
    assert {name: type(value) for name, value in facts.items()} == COMPRESSED
    assert (facts["input_bytes"], facts["output_bytes"]) == (size, packed)
    assert sum(files.values()) == 2
    assert files["carried"] == 1
    code, out, err = run(monkeypatch, capsys, "decompress", "x.bb", "-o", "back", *words)
    assert (code, out) == (0, "")
    back = sum(path.stat().st_size for path in (tmp_path / "back").iterdir())
    assert err.startswith(f"back: 1 image, {packed:,} to {back:,} bytes")
    code, out, _ = run(monkeypatch, capsys, "decompress", "x.bb", "-o", "b", *words, "--json")
    facts = json.loads(out)
    assert facts["output_bytes"] == back
    assert (facts["lost_images"], facts["damage"]) == (0, [])
    np.save("a.npy", IMAGES)
    _, out, _ = run(monkeypatch, capsys, "compress", "a.npy", "-o", "y.bb", *words, "--json")
    facts = json.loads(out)
    assert facts["files"] is None
    assert facts["bits_per_dim"] == pytest.approx(8 * facts["output_bytes"] / IMAGES.size)
    _, out, _ = run(
        monkeypatch, capsys, "compress", "a.npy", "-o", "y.bb", *words, "--json", "--dry-run"
    )
    assert json.loads(out)["images"] == 6


def test_a_folder_of_empty_folders_ends_with_its_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "a" / "b").mkdir(parents=True)
    code, out, err = run(monkeypatch, capsys, "compress", "in", "-o", "x.bb")
    assert (code, out) == (0, "")
    assert err.startswith("x.bb: 0 images, 0 to ")
    assert err.strip().endswith("no model")
    code, out, _ = run(monkeypatch, capsys, "compress", "in", "-o", "x.bb", "--force", "--json")
    facts = json.loads(out)
    assert (code, facts["bits_per_dim"], facts["files"], facts["model"]) == (0, None, None, "")
    code, _, err = run(monkeypatch, capsys, "decompress", "x.bb", "-o", "back")
    assert (code, err.split(",")[0]) == (0, "back: 0 images")
    assert (tmp_path / "back" / "a" / "b").is_dir()


def test_what_was_lost_is_counted(words, tmp_path, monkeypatch, capsys):
    np.save("a.npy", IMAGES)
    run(monkeypatch, capsys, "compress", "a.npy", "-o", "x.bb", "--chunk", 2, *words)
    data = bytearray((tmp_path / "x.bb").read_bytes())
    data[-1] ^= 1
    (tmp_path / "x.bb").write_bytes(data)
    told = ("decompress", "x.bb", "-o", "b.npy", "--salvage", "--json", *words)
    code, out, _ = run(monkeypatch, capsys, *told)
    facts = json.loads(out)
    assert code == 3
    assert facts["lost_images"] == 2
    assert len(facts["damage"]) == 1
    assert not np.load("b.npy")[4:].any()


def test_counts_of_files_are_spelled():
    assert str(Files(412, 3, 0, 17)) == (
        "412 files byte for byte, 3 same samples in other bytes, 17 carried as they were"
    )
    assert str(Files(0, 0, 0, 1)) == "1 file carried as they were"
    assert files_of(Kept()) is None
    assert files_of(Kept((Outcome.EXACT,) * 2, (Carried("a"),))) == Files(2, 0, 0, 1)


def piped(words, data):
    start = [sys.executable, "-m", "bitsback.cli", *map(str, words)]
    return subprocess.run(start, input=data, capture_output=True)


def test_arrays_and_tars_pass_through_pipes(words, tmp_path):
    file = io.BytesIO()
    np.save(file, IMAGES.astype("<i2"))
    npy = file.getvalue()
    image = io.BytesIO()
    Image.fromarray(IMAGES[0] * 255).save(image, "PNG")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as out:
        info = tarfile.TarInfo("a.png")
        info.size = len(image.getvalue())
        out.addfile(info, io.BytesIO(image.getvalue()))
    for data in (npy, file.getvalue()):
        packed = piped(("compress", "-", "-o", "-", *words), data)
        assert packed.returncode == 0, packed.stderr
        assert b"-: " in packed.stderr
        back = piped(("decompress", "-", "-o", "-", *words), packed.stdout)
        assert back.returncode == 0, back.stderr
        if data == npy:
            assert back.stdout == npy
        else:
            with tarfile.open(fileobj=io.BytesIO(back.stdout)) as tar:
                assert tar.getnames() == ["a.png"]
    for command, data, sentence, code in (
        (("compress", "-", "-o", "x.bb"), b"neither", b"neither a .npy nor a tar", 2),
        (("compress", "-", "a.npy", "-o", "x.bb"), npy, b"given alone", 2),
        (("compress", "-", "-o", "-", "--json"), npy, b"JSON", 2),
        (("decompress", "-", "-o", "x.npy"), b"", b"bitsback", 3),
    ):
        done = piped((*command, *words), data)
        assert (done.returncode, done.stdout) == (code, b""), done.stderr
        assert sentence in done.stderr
        assert done.stderr.count(b"\n") == 1


def test_standard_output_takes_no_folder(words, tmp_path, monkeypatch, capsys):
    save_folder(tmp_path / "in")
    np.savez("a.npz", images=IMAGES)
    for name in ("in", "a.npz"):
        assert run(monkeypatch, capsys, "compress", name, "-o", f"{name}.bb", *words)[0] == 0
        told = run(monkeypatch, capsys, "decompress", f"{name}.bb", "-o", "-", *words)
        assert "takes a .npy or a tar" in refused(told)


def test_a_pipe_that_is_cut_short_is_called_standard_input(words, tmp_path):
    np.save("a.npy", IMAGES)
    whole = (tmp_path / "a.npy").read_bytes()
    for command, data, code in (
        (("compress", "-", "-o", "x.bb"), whole[:-7], 2),
        (("decompress", "-", "-o", "x.npy"), b"\x89BBK\r\n\x1a\n", 3),
    ):
        done = piped((*command, *words), data)
        assert (done.returncode, done.stdout) == (code, b"")
        assert b"standard input" in done.stderr
        assert b"/" not in done.stderr


def test_verify_names_the_first_of_many_damaged_chunks(words, tmp_path, monkeypatch, capsys):
    np.save("a.npy", (RNG.random((40, 8, 8)) < 0.2).astype(np.uint8))
    run(monkeypatch, capsys, "compress", "a.npy", "-o", "x.bb", "--chunk", 2, *words)
    data = bytearray((tmp_path / "x.bb").read_bytes())
    header = read_header(io.BytesIO(data), len(data))
    for place, entry in zip(header.offsets, header.chunks, strict=True):
        data[place + entry.size - 1] ^= 1
    (tmp_path / "x.bb").write_bytes(data)
    code, _, err = run(monkeypatch, capsys, "verify", "x.bb", *words)
    assert code == 3
    assert err.count("chunk ") == 10
    assert "in 10 more chunks" in err
