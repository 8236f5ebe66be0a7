"""Ctrl-C ends a command with one line and its exit code."""

import sys

import numpy as np
import pytest

from bitsback.cli import main
from bitsback.sources import read


def test_ctrl_c_within_a_command_is_one_line(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    np.save(tmp_path / "in.npy", np.zeros((2, 8, 8), np.uint8))
    monkeypatch.setattr(read, "read_images", interrupted)
    words = ["bitsback", "compress", str(tmp_path / "in.npy"), "-o", str(tmp_path / "x.bb")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as left:
        main()
    assert (left.value.code, capsys.readouterr().err) == (130, "bitsback: interrupted\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy"]
