"""Files forged with right checksums, and altered models: refused by name, never decoded wrongly."""

import dataclasses
import io
import json

import numpy as np
import pytest
from bitsback.models import store
from conftest import SMALL, random_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import bitsback
from bitsback import archive, container
from bitsback.chunk import pack_chunk, unpack_chunk
from bitsback.images import from_array


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A loaded model, images, and their chained file."""
    folder = tmp_path_factory.mktemp("model")
    config = dataclasses.replace(SMALL, layers=2, maps2=3, latents2=1)
    store.save(folder, config, *random_model(config))
    loaded = store.load(str(folder), "cpu")
    images = (np.random.default_rng(0).random((6, 8, 8)) < 0.3).astype(np.uint8)
    packed = archive.compress_set(from_array(images), loaded, payload=b"p" * 900, always_chain=True)
    assert packed.report.chained_images == 6
    return loaded, images, packed.data


def opened(file):
    """Header, head and words of a file of one chunk."""
    header = container.read_header(io.BytesIO(file), len(file))
    return header, *unpack_chunk(file[header.size :])


def forged(header, head, words):
    """A file of one chunk whose checksums all fit."""
    chunk = pack_chunk(head, words)
    entry = dataclasses.replace(header.chunks[0], size=len(chunk))
    return container.pack_header(dataclasses.replace(header, chunks=(entry,))) + chunk


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_forged_message_is_never_decoded_to_other_pixels(written, data):
    loaded, images, file = written
    header, head, words = opened(file)
    kind = data.draw(st.sampled_from(["flip", "noise", "cut", "grow", "swap"]))
    place = data.draw(st.integers(0, len(words) - 1))
    if kind == "flip":
        words[place] ^= np.uint32(1 << data.draw(st.integers(0, 31)))
    elif kind == "noise":
        seed = data.draw(st.integers(0, 2**32 - 1))
        words[place:] = np.random.default_rng(seed).integers(0, 2**32, len(words) - place)
    elif kind == "cut":
        words = words[:place]
    elif kind == "grow":
        words = np.insert(words, place, words[: data.draw(st.integers(1, 50))])
    else:
        words[[0, place]] = words[[place, 0]]
    try:
        found = bitsback.decompress(forged(header, head, words), loaded)
    except bitsback.FormatError:
        return
    # Filler, and the payload's slack, may change without any pixel.
    assert np.array_equal(found, images)


EXTREME = st.sampled_from([0, 1, 2, 3, 127, 255, 2**15, 2**16 - 1, 2**31, 2**32 - 1])


@settings(max_examples=400, deadline=None)
@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "batch": EXTREME,
            "heads": EXTREME,
            "seed": st.integers(0, 2**64 - 1),
            "payload_bytes": EXTREME,
            "classical_bytes": EXTREME,
            "filler_bytes": EXTREME,
        },
    ),
    segment=st.fixed_dictionaries(
        {},
        optional={
            "count": EXTREME,
            "height": EXTREME,
            "width": EXTREME,
            "channels": st.sampled_from([0, 1, 2, 3, 127]),
            "gray": st.booleans(),
            "classical": EXTREME,
        },
    ),
)
def test_a_forged_header_is_refused_or_changes_nothing(written, changes, segment):
    loaded, images, file = written
    header, head, words = opened(file)
    first = dataclasses.replace(head.segments[0], **segment)
    seed = changes.pop("seed", header.seed)
    header = dataclasses.replace(header, seed=seed)
    try:
        data = forged(header, dataclasses.replace(head, segments=(first,), **changes), words)
    except bitsback.FormatError:
        return
    try:
        found = bitsback.decompress(data, loaded)
    except bitsback.BitsbackError:
        return
    assert np.array_equal(found, images)


@pytest.fixture
def folder(tmp_path):
    store.save(tmp_path / "m", SMALL, *random_model(SMALL))
    return tmp_path / "m"


def refuse(folder, match):
    with pytest.raises(bitsback.ModelError, match=match):
        store.load(str(folder), "cpu")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f.update(extra=1), "config.json"),
        (lambda f: f.pop("sha256"), "config.json"),
        (lambda f: f.update(format=2), "config.json"),
        (lambda f: f.update(config=[]), "config"),
        (lambda f: f["config"].update(maps=5), "enc1/x"),
        (lambda f: f["config"].update(maps=10**9), "maps"),
        (lambda f: f["config"].update(shell="rm"), "shell"),
        (lambda f: f["config"].update(steps="4"), "steps"),
        (lambda f: f.update(log_widths=[[0]]), "log_widths"),
        (lambda f: f.update(log_widths=[[0, 999], [0, 0]]), "log_widths"),
        (lambda f: f.update(sha256="0" * 64), "sha256"),
        (lambda f: f.update(known_answer="0" * 64), "known answer"),
    ],
)
def test_an_altered_configuration_is_refused(folder, change, match):
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    refuse(folder, match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop("enc1/h"), "enc1/h"),
        (lambda t: t.update(more=np.zeros(1, np.int16)), "more"),
        (lambda t: t.update({"enc1/h": t["enc1/h"][:1]}), "enc1/h"),
        (lambda t: t.update({"enc1/h": t["enc1/h"].astype(np.float32) * np.nan}), "enc1/h"),
        (lambda t: t.update({"enc1/h": np.full_like(t["enc1/h"], 2**15 - 1)}), "enc1"),
        (lambda t: t.update({"enc1/bias": t["enc1/bias"] + 1}), "sha256"),
        (lambda t: t.update({"init/r": t["init/r"] + 2**20}), "init/r"),
        (lambda t: t.update({"enc1/exponent": t["enc1/exponent"] * 0}), "enc1/exponent"),
    ],
)
def test_altered_weights_are_refused(folder, change, match):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    refuse(folder, match)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("keep", [0, 1, 40, 0.5])
def test_cut_model_files_are_refused(folder, name, keep):
    path = folder / name
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    refuse(folder, "damaged")
