"""What users get wrong, and the sentence that each gets; nothing is written."""

import re

import numpy as np
import pytest
from conftest import run
from PIL import Image

import bitsback
from bitsback.format.header import MAGIC

WRONG = {
    # The command line itself.
    "frobnicate": "No such command 'frobnicate'",
    "compress": "Missing argument 'inputs'",
    "compress in.npy": "Missing option '-o' / '--output'",
    "compress in.npy -o x.bb --modle photo": "No such option: --modle",
    "compress in.npy -o": "requires an argument",
    "models extra": "unexpected extra argument",
    "rate in.npy --limit ten": "Invalid value for '--limit'",
    # Inputs.
    "compress missing.npy -o x.bb": "missing.npy does not exist",
    "compress float.npy -o x.bb": "float.npy has dtype float64; images are integers or bool",
    "compress none.npz -o x.bb": "holds no uint8, bool or uint16 array of images, only: a int64[3]",
    "compress empty.npy -o x.bb": "empty.npy cannot be read as arrays",
    "compress empty -o x.bb": "empty is empty",
    "compress object.npy -o x.bb": "has dtype object",
    "compress in.npy in.npy -o x.bb": "in.npy must be given alone",
    "rate float.npy": "float.npy has dtype float64",
    "bench note.txt": "no image is coded here",
    # Outputs.
    "compress in.npy -o in.npy --force": "in.npy is an input",
    "compress in.npy -o none/x.bb": "there is no folder",
    "compress in.npy -o note.txt": "note.txt exists: choose another name",
    "compress in.npy -o x.bb --payload x.bb": "x.bb",
    "sample -o x.doc": "a .doc file cannot hold this image exactly",
    "rate in.npy --plot x.doc": "a figure is a .png, .svg or .pdf",
    "compress in.npy -o empty": "empty: it is a folder; choose another name",
    "sample -o -": "this output does not go to standard output: name a file",
    "rate in.npy --html -": "this output does not go to standard output: name a file",
    "download mnist -o -": "this output does not go to standard output: name a file",
    "lossy encode a.png -o - --json": "standard output cannot hold the file and JSON",
    "get in.bb a -o - --json": "standard output cannot hold the file and JSON",
    # Options.
    "compress in.npy -o x.bb -q -v": "give --quiet or --verbose, not both",
    "compress in.npy -o x.bb --model nobody": "unknown model 'nobody': shipped are draw,",
    "compress in.npy -o x.bb --model photo-beta1": "is for lossy files",
    "compress in.npy -o x.bb --chunk 0": "Invalid value for '--chunk'",
    "compress in.npy -o x.bb --batch 0": "Invalid value for '--batch'",
    "compress in.npy -o x.bb --batch 70000": "the batch must lie between 1 and 65535",
    "compress in.npy -o x.bb --seed -1": "the seed must lie between 0 and 2**64 - 1",
    "compress in.npy -o x.bb --jobs 0": "Invalid value for '--jobs'",
    "compress in.npy -o x.bb --device abacus": "unknown device 'abacus': auto, cpu or cuda",
    "compress in.npy -o x.bb --engine steam": "unknown engine 'steam': auto, torch, numpy or ray",
    "compress in.npy -o x.bb --address here": "it needs --engine ray",
    "compress in.npy -o x.bb --keep nothing": "keep is one of auto, samples, files",
    "compress in.npy -o x.bb --check some": "unknown check 'some'",
    "compress in.npy -o x.bb --micro-batch 0": "Invalid value for '--micro-batch'",
    "rate in.npy --limit 0": "Invalid value for '--limit'",
    "rate in.npy --expected note.txt": "note.txt is not JSON",
    "sample -o x.png -n 0": "Invalid value for '-n'",
    "train note.txt --data in.npy -o m": "note.txt: not a TOML file",
    "train missing.toml --data in.npy -o m": "missing.toml: no such file",
    "train a.toml --data in.npy -o m --seconds -1": "Invalid value for '--seconds'",
    "download nothing -o x.npz": "no data set 'nothing': mnist, cifar10, omniglot",
    "figure 3 -o x.png": "there is no figure '3'",
    "figure 4 -o x.png": "give them with --data",
    "lossy encode in.npy -o x.bb": "a lossy file holds one image",
    "lossy encode a.png -o x.bb --bits-per-dim -1": "Invalid value for '--bits-per-dim'",
    "lossy encode a.png -o x.bb --bits-per-dim 9": "Invalid value for '--bits-per-dim'",
    "lossy encode a.png -o x.bb --steps 0": "Invalid value for '--steps'",
    "lossy encode a.png -o x.bb --model mnist": "takes gray images only",
    "lossy decode lossless.bb -o y.png": "is a lossless file: bitsback decompress takes it",
    "ls lossy.bb": "is a lossy file: bitsback lossy decode shows what it holds",
    "view lossy.bb -o x.html": "is a lossy file",
    "get lossy.bb a -o x": "is a lossy file",
    "lossy decode a.png -o y.png --variance -1": "Invalid value for '--variance'",
}
DAMAGED = {
    "decompress a.png -o b.npy": "a.png: not a bitsback file",
    "verify note.txt": "note.txt: not a bitsback file",
    "info note.txt": "note.txt: not a bitsback file",
    "ls note.txt": "note.txt: not a bitsback file",
    "get note.txt a.png -o x": "note.txt: not a bitsback file",
    "lossy decode a.png -o y.png": "lossy",
}


@pytest.fixture(scope="module")
def lossy():
    """The bytes of a lossy file."""
    return bitsback.lossy_encode(np.zeros((8, 8, 3), np.uint8), "photo-beta1", steps=1)


@pytest.fixture
def here(tmp_path, monkeypatch, lossy):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.zeros((2, 8, 8), np.uint8))
    np.save("float.npy", np.zeros((2, 8, 8)))
    np.savez("none.npz", a=np.arange(3))
    np.save("object.npy", np.array([1, None], dtype=object), allow_pickle=True)
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "empty.npy").touch()
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (8, 8)).save("a.png")
    (tmp_path / "lossless.bb").write_bytes(MAGIC)
    (tmp_path / "lossy.bb").write_bytes(lossy)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "sentence", "expected"),
    [(words, sentence, 2) for words, sentence in WRONG.items()]
    + [(words, sentence, 3) for words, sentence in DAMAGED.items()],
)
def test_each_gets_its_sentence(words, sentence, expected, here, monkeypatch, capsys):
    before = sorted(path.name for path in here.iterdir())
    code, out, err = run(monkeypatch, capsys, *words.split())
    told = " ".join(re.sub("[╭╮╰╯─│]", " ", err).split())
    assert (code, out) == (expected, "")
    assert sentence in told
    # The command line's own errors are framed; bitsback's are one line.
    assert err.count("\n") == 1 or "─ Error ─" in err
    assert sorted(path.name for path in here.iterdir()) == before
