"""A type checker sees the types of `bitsback.models`, though the folder lies beside `bitsback`."""

import re
import subprocess
import sys

from conftest import ROOT


def test_the_type_of_load_is_known_to_mypy(tmp_path):
    (tmp_path / "asks.py").write_text("from bitsback.models.store import load\nreveal_type(load)\n")
    # In the root, where the cache of `make lint` is: the rest has been checked there.
    words = [sys.executable, "-m", "mypy", str(tmp_path / "asks.py")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    revealed = re.search('Revealed type is "(.*)"', done.stdout)
    assert revealed, done.stdout + done.stderr
    assert revealed[1].startswith("def (name_or_folder: str")
    assert revealed[1].endswith("-> bitsback.coding.model.LoadedModel")
