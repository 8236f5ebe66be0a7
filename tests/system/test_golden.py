"""Files written once must decode for ever: with torch, and with NumPy alone.

`PYTHONPATH=tests python tests/system/test_golden.py` adds a file for each shipped model that has
none yet; it changes none.
"""

import hashlib
import io
import json

import numpy as np
import pytest
from conftest import ROOT

import bitsback
from bitsback.archive import reader, writer
from bitsback.chunks.plan import Settings
from bitsback.coding import sampling
from bitsback.format import header
from bitsback.images import image_set
from bitsback.lossy import coder, files
from bitsback.models import store

FOLDER = ROOT / "tests" / "data"
PAYLOAD = np.random.default_rng(0).bytes(6000)
SHORT = 60  # bytes of it beneath files that are written now


def name_of(name: str) -> str:
    """A file's name: of the model, its weights and the format."""
    return f"{name}-{bitsback.load_model(name, 'cpu').sha256[:4].hex()}-v{header.VERSION}"


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
        # Noise fills the message, so that batches of few groups and of all follow one another.
        noise = random.integers(0, high, (5, *drawn.shape[1:])).astype(np.uint8)
        # Not all of a tile, so that they have edges.
        pixels = np.concatenate([noise[:4], drawn, noise[4:]])[:, :-3, :-5]
        packed = writer.compress_set(
            image_set.from_array(pixels),
            loaded,
            payload=PAYLOAD[:SHORT],
            settings=Settings(seed=7, always_chain=True),
        )
        assert packed.report.chained_images > 0
        (FOLDER / f"{name_of(name)}.bb").write_bytes(packed.data)
        golden[name_of(name)] = {
            "shape": pixels.shape,
            "sha256": digest(pixels),
            "payload": SHORT,
        }
    (FOLDER / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


def write_lossy() -> None:
    """For each shipped model that stores latents alone, a smooth image's first three steps."""
    golden = json.loads((FOLDER / "lossy.json").read_text())
    rows, columns = np.mgrid[:29, :37]
    waves = [128 + 90 * np.sin(rows / a + columns / b) for a, b in ((3, 9), (7, 4), (12, 12))]
    image = np.stack(waves, 2).astype(np.uint8)
    for name in store.names():
        loaded = bitsback.load_model(name, "cpu")
        key = f"{name}-{loaded.sha256[:4].hex()}"
        file = FOLDER / f"{key}-lossy2.bb"  # of version 2; without the digit, of version 1
        if file.exists() or not loaded.constant_width:
            continue
        data = bitsback.lossy_encode(image, loaded, steps=3)
        file.write_bytes(data)
        if key in golden:
            continue
        golden[key] = [digest(lossy_decoded(data, variance, "torch")) for variance in (0.0, 1.0)]
    (FOLDER / "lossy.json").write_text(json.dumps(golden, indent=1) + "\n")


def lossy_decoded(data: bytes, variance: float, engine: str) -> np.ndarray:
    return coder.decode(data, files.model_of(data, None, "cpu", engine), variance, 3)


def digest(pixels: np.ndarray) -> str:
    """SHA-256 of the pixels' bytes."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()


GOLDEN = json.loads((FOLDER / "golden.json").read_text())
LOSSY = json.loads((FOLDER / "lossy.json").read_text())


def test_every_shipped_model_has_a_file():
    assert {name_of(name) for name in store.names()} <= GOLDEN.keys()


def test_all_earlier_weights_have_a_file():
    headers = []
    for name in GOLDEN:
        with read(name, "torch") as opened:
            headers.append(opened.header)
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


def test_all_weights_that_store_latents_alone_have_a_file():
    for name, sha256 in store.shipped():
        if name.startswith("photo-beta") or name == "photo-two":
            assert f"{name}-{sha256[:4].hex()}" in LOSSY


@pytest.mark.parametrize("engine", ["torch", "numpy"])
@pytest.mark.parametrize("key", LOSSY)
def test_an_old_lossy_file_gives_the_same_images(key, engine):
    files = sorted(FOLDER.glob(f"{key}-lossy*.bb"))
    assert files
    for file in files:
        data = file.read_bytes()
        found = [digest(lossy_decoded(data, variance, engine)) for variance in (0.0, 1.0)]
        assert found == LOSSY[key]


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_a_set_in_any_order_decodes(engine):
    data = (FOLDER / "any-order-v7.bb").read_bytes()
    loaded = bitsback.load_model("omniglot", "cpu", engine)
    images = bitsback.decompress(data, loaded)
    assert images.shape == (65, 26, 27)
    assert digest(images) == "587a3c8bf4ad56ed6acbd571829678a2df4aed859ae914beafc90aeaf645026b"
    assert bitsback.payload_of(data, loaded) == b"golden"


@pytest.mark.parametrize("engine", ["torch", "numpy"])
def test_a_file_with_side_information_decodes(engine):
    data = (FOLDER / "side-information-v4.bb").read_bytes()
    sha256 = bytes.fromhex("9880a50b5a9d12")
    loaded = bitsback.load_model("photo-fast", "cpu", engine, sha256=sha256)
    with reader.Reader(io.BytesIO(data), lambda *_: loaded) as opened:
        assert opened.header.side_information
        images, payload = opened[:], opened.payload
    assert images.shape == (2, 131, 150, 3)
    assert digest(images) == "117224693667a89d2bb276c9e96d7cfc1ec7c03444212949bb4ed5eeef5399d0"
    assert payload == b"golden"


if __name__ == "__main__":
    write()
    write_lossy()
