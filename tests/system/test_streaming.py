"""Arrays larger than the memory that a process may have go through it a chunk at a time."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import SMALL, random_model

from bitsback.models import store

resource = pytest.importorskip("resource")

WITHIN = """
import resource, sys
from pathlib import Path
import numpy as np
from bitsback import cli, load_model
model, room = sys.argv[1], int(sys.argv[2])
# Once before the limit, so that what the program itself takes is there already.
tiny = Path(sys.argv[3])
np.save(tiny / "t.npy", np.zeros((9, 8, 8), np.uint8))
def run(*words):
    sys.argv = ["bitsback", *words]
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
options = ("--model", model, "--force")
assert run("compress", str(tiny / "t.npy"), "-o", str(tiny / "t.bb"), *options) == 0
assert run("decompress", str(tiny / "t.bb"), "-o", str(tiny / "u.npy"), *options) == 0
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + room
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(run(*sys.argv_after, "--model", model))
"""


def within(room, model, folder, *words):
    """The command line with so many bytes of address space beyond what it starts with."""
    code = WITHIN.replace("sys.argv_after", repr(list(map(str, words))))
    return subprocess.run(
        [sys.executable, "-c", code, str(model), str(room), str(folder)],
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is measured in /proc")
def test_an_array_larger_than_the_address_space_comes_back(tmp_path):
    store.save(tmp_path / "m", SMALL, *random_model(SMALL))
    (tmp_path / "tiny").mkdir()
    size, room = 96 << 20, 64 << 20
    shape = (size >> 10, 32, 32)
    array = np.lib.format.open_memmap(tmp_path / "in.npy", "w+", np.uint8, shape)
    array[::1000, ::3] = 1
    array.flush()
    model, files = tmp_path / "m", (tmp_path / "in.npy", tmp_path / "x.bb", tmp_path / "back.npy")
    start = (room, model, tmp_path / "tiny")
    done = within(*start, "compress", files[0], "-o", files[1], "--chunk", 2048)
    assert done.returncode == 0, done.stderr
    done = within(*start, "decompress", files[1], "-o", files[2])
    assert done.returncode == 0, done.stderr
    assert files[0].read_bytes() == files[2].read_bytes()
    # The limit is a real one: as one chunk the array does not fit.
    done = within(*start, "compress", files[0], "-o", files[1], "--chunk", shape[0])
    assert done.returncode != 0
