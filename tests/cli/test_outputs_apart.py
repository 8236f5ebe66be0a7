"""The payload and the output are two files."""

import sys

import numpy as np
import pytest

from bitsback.cli import main


@pytest.mark.parametrize("verb", ["compress", "decompress"])
def test_an_output_that_is_the_payload_is_refused(verb, tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "in.npy", np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "x.tar").write_bytes(b"payload")
    words = [verb, tmp_path / "in.npy", "-o", tmp_path / "x.tar", "--payload", tmp_path / "x.tar"]
    words += ["--force"]
    monkeypatch.setattr(sys, "argv", ["bitsback", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    told = {"compress": "is an input, which it would replace", "decompress": "give two names"}
    assert told[verb] in capsys.readouterr().err
    assert (tmp_path / "x.tar").read_bytes() == b"payload"
