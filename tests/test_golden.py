"""Files written once must decode for ever: with torch, and with NumPy alone.

`python tests/test_golden.py` adds a file for each shipped model that has none yet; it changes none.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from bitsback.models import store

import bitsback
from bitsback import archive, container, images, reader, sampling

FOLDER = Path(__file__).parent / "data"
PAYLOAD = np.random.default_rng(0).bytes(6000)
SHORT = 60  # bytes of it beneath files that are written now


def name_of(name: str) -> str:
    """A file's name: of the model, its weights and the format."""
    return f"{name}-{bitsback.load_model(name, 'cpu').sha256[:4].hex()}-v{container.VERSION}"


def write() -> None:
    """For each shipped model samples of it, and noise, with a payload beneath."""
    golden = json.loads((FOLDER / "golden.json").read_text())
    for name in store.names():
        if name_of(name) in golden:
            continue
        loaded = bitsback.load_model(name, "cpu")
        high = 2 if loaded.binary else 256
        random = np.random.default_rng(1)
        drawn = sampling.sample(loaded, 2, seed=1)
        # Noise fills the message, so that links of few groups and of all follow one another.
        noise = random.integers(0, high, (5, *drawn.shape[1:])).astype(np.uint8)
        # Not all of a tile, so that they have edges.
        pixels = np.concatenate([noise[:4], drawn, noise[4:]])[:, :-3, :-5]
        packed = archive.compress_set(
            images.from_array(pixels), loaded, payload=PAYLOAD[:SHORT], seed=7, always_chain=True
        )
        assert packed.report.chained_images > 0
        (FOLDER / f"{name_of(name)}.bb").write_bytes(packed.data)
        golden[name_of(name)] = {
            "shape": pixels.shape,
            "sha256": digest(pixels),
            "payload": SHORT,
        }
    (FOLDER / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def digest(pixels: np.ndarray) -> str:
    """SHA-256 of the pixels' bytes."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


GOLDEN = json.loads((FOLDER / "golden.json").read_text())


def test_every_shipped_model_has_a_file():
    assert {name_of(name) for name in store.names()} <= GOLDEN.keys()


def test_all_earlier_weights_have_a_file():
    headers = [read(name, "torch").header for name in GOLDEN]
    for folder in store.EARLIER.iterdir():
        name, digits = folder.name.rsplit("-", 1)
        assert any((h.model, h.model_sha256.hex()[:16]) == (name, digits) for h in headers)


def read(name, engine):
    return reader.open_path(
        FOLDER / f"{name}.bb",
        lambda model, sha256: bitsback.load_model(model, "cpu", engine, sha256=sha256),
    )


@pytest.mark.parametrize("engine", ["torch", "numpy"])
@pytest.mark.parametrize("name", GOLDEN)
def test_an_old_file_still_decodes(name, engine):
    with read(name, engine) as opened:
        pixels, payload = opened[:], opened.payload
    assert list(pixels.shape) == GOLDEN[name]["shape"]
    assert digest(pixels) == GOLDEN[name]["sha256"]
    assert payload == PAYLOAD[: GOLDEN[name].get("payload")]


if __name__ == "__main__":
    write()
