"""Ctrl-C ends a command with one line and its exit code; one that is killed says nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


# Processes that a shell starts in the background ignore Ctrl-C, and so would this one.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from bitsback.cli import main
sys.argv[0] = "bitsback"
main()
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_with_workers_that_is_ended_says_one_line_or_none(kind, tmp_path):
    source, target = tmp_path / "in.npy", tmp_path / "x.bb"
    np.save(source, np.random.default_rng(0).integers(0, 256, (200, 64, 64, 3)).astype(np.uint8))
    words = ["compress", source, "-o", target, "--jobs", "2", "--chunk", "20", "--quiet"]
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    try:
        while len(children.read_text().split()) < 3:  # the workers, and Python's tracker
            assert command.poll() is None, command.stderr.read()
            time.sleep(0.05)
        if kind == signal.SIGINT:
            os.killpg(command.pid, kind)  # as a terminal does
        else:
            command.send_signal(kind)
        _, told = command.communicate(timeout=100)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nobody is left
            os.killpg(command.pid, signal.SIGKILL)
    interrupted = kind == signal.SIGINT
    assert told == ("bitsback: interrupted\n" if interrupted else "")
    assert command.returncode == (130 if interrupted else -kind)
    if interrupted:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy"]
