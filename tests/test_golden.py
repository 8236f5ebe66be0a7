"""Files written once must decode for ever: with torch, and with NumPy alone.

`python tests/test_golden.py` writes them anew; only new weights are a reason to do so.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from bitsback.models import store

import bitsback
from bitsback import archive, images, reader, sampling

FOLDER = Path(__file__).parent / "data"
PAYLOAD = np.random.default_rng(0).bytes(6000)  # the initial bits of all three


def write() -> None:
    """One file for each shipped model: samples of it, and noise, with a payload beneath."""
    golden = {}
    for name in store.names():
        loaded = bitsback.load_model(name, "cpu")
        high = 2 if loaded.binary else 256
        random = np.random.default_rng(1)
        drawn = sampling.sample(loaded, 2, seed=1)
        noise = random.integers(0, high, (1, *drawn.shape[1:])).astype(np.uint8)
        pixels = np.concatenate([drawn, noise])
        packed = archive.compress_set(
            images.from_array(pixels), loaded, payload=PAYLOAD, seed=7, always_chain=True
        )
        assert packed.report.chained_images == len(pixels)
        (FOLDER / f"{name}.bb").write_bytes(packed.data)
        golden[name] = {"shape": pixels.shape, "sha256": digest(pixels)}
    (FOLDER / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def digest(pixels: np.ndarray) -> str:
    """SHA-256 of the pixels' bytes."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def test_every_shipped_model_has_a_file():
    golden = json.loads((FOLDER / "golden.json").read_text())
    assert sorted(golden) == store.names()


@pytest.mark.parametrize("engine", ["torch", "numpy"])
@pytest.mark.parametrize("name", store.names())
def test_an_old_file_still_decodes(name, engine):
    wanted = json.loads((FOLDER / "golden.json").read_text())[name]
    with reader.open_path(
        FOLDER / f"{name}.bb",
        lambda model, sha256: bitsback.load_model(model, "cpu", engine, sha256=sha256),
    ) as opened:
        pixels, payload = opened[:], opened.payload
    assert list(pixels.shape) == wanted["shape"]
    assert digest(pixels) == wanted["sha256"]
    assert payload == PAYLOAD


if __name__ == "__main__":
    write()
