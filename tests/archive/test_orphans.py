"""Workers end when their parent does, however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from bitsback.archive.processes import ProcessExecutor
from bitsback.archive.workers import Recipe

FOLDER = Path(sys.argv[1])

class Wait:
    def run(self, loaded, progress=None):
        (FOLDER / str(os.getpid())).touch()
        time.sleep(600)

if __name__ == "__main__":
    # Processes that a shell starts in the background ignore it, and so would this one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from bitsback import load_model
    recipe = Recipe("omniglot", load_model("omniglot", engine="numpy").sha256, engine="numpy")
    list(ProcessExecutor(recipe, 2).run([Wait(), Wait(), Wait()]))
"""


def lives(pid):
    """Whether a process runs: one that ended may wait to be asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(kind, tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(SCRIPT)
    folder.mkdir()
    parent = subprocess.Popen(
        [sys.executable, script, folder], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        while len(pids := [int(path.name) for path in folder.iterdir()]) < 2:
            assert parent.poll() is None, parent.stderr.read()
            time.sleep(0.1)
        if kind == signal.SIGINT:
            os.killpg(parent.pid, kind)  # as a terminal does
        else:
            parent.send_signal(kind)
        # Whoever holds the other end of the pipe: the parent, and its workers.
        _, told = parent.communicate(timeout=100)
        while any(lives(pid) for pid in pids):
            time.sleep(0.1)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nobody is left
            os.killpg(parent.pid, signal.SIGKILL)
    # Of the script itself; none of the workers.
    assert told.count("Traceback") == (kind == signal.SIGINT)
    assert "Process Spawn" not in told
