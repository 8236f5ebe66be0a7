"""Files forged with right checksums, and altered models: refused by name, never decoded wrongly."""

import dataclasses
import io
import json
import sys

import fuzz
import fuzz_files
import numpy as np
import pytest
from conftest import SMALL, random_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import bitsback
from bitsback.archive import writer
from bitsback.archive.reader import Reader
from bitsback.chunks.plan import Settings
from bitsback.cli import console, main
from bitsback.coding import initial_bits
from bitsback.format import header as container
from bitsback.format import payload, varint
from bitsback.format.chunk import pack_chunk
from bitsback.images.image_set import from_array
from bitsback.models import store
from bitsback.sources.read import read_images


def test_three_thousand_hostile_cases_end_in_right_pixels_or_a_named_error(tmp_path):
    # The program itself allows 5 s; here the limit only ends what hangs, on any machine.
    results = list(fuzz.run(range(3000), seed=1, jobs=1, keep=tmp_path, seconds=120))
    assert len(results) == 3000
    assert [result.failure for result in results if result.failure] == []
    # Deep layers are reached only by files that are right on the outside.
    ends = {(result.kind, result.end) for result in results}
    for kind in ("words", "payload", "manifest", "prefix", "extra arrays", "model tensors"):
        assert (kind, "pixels") in ends


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A loaded model, images, and their chained file."""
    folder = tmp_path_factory.mktemp("model")
    config = dataclasses.replace(SMALL, layers=2, maps2=3, latents2=1)
    store.save(folder, config, *random_model(config))
    loaded = store.load(str(folder), "cpu")
    images = (np.random.default_rng(0).random((6, 8, 8)) < 0.3).astype(np.uint8)
    packed = writer.compress_set(
        from_array(images), loaded, payload=b"p" * 900, settings=Settings(always_chain=True)
    )
    assert packed.report.chained_images == 6
    return loaded, images, packed.data


def opened(file):
    """Header, head and words of a file of one chunk."""
    header = container.read_header(io.BytesIO(file), len(file))
    return header, *fuzz_files.unpack(file[header.size :])


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
        (lambda f: f["config"].update(maps2=2**32), "maps2"),
        (lambda f: f["config"].update(latents2=2**32), "latents2"),
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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Tiny models and files of every kind."""
    return fuzz.build(tmp_path_factory.mktemp("world"))


def source_of(world, name):
    return next(source for source in world.sources if source.name == name)


def told(source, number=0, **fields):
    """A source's file with other fields in a manifest, or without those that are None."""
    held = source.sets[number]
    manifest = held.manifest.to_json() | {"binary": held.binary} | fields
    manifest = {key: value for key, value in manifest.items() if value is not None}
    data = payload.pack_payload(manifest, held.extra, b"")
    return fuzz_files.rebuilt(
        source, number, lambda start: dataclasses.replace(start, payload=data)
    )


def reader_of(source, data):
    return Reader(io.BytesIO(data), lambda *_: source.loaded)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("blank", {"kind": None}),
        ("blank", {"kind": "heap"}),
        ("blank", {"kind": []}),
        ("blank", {"modes": ["L"]}),
        ("folder", {"shape": 5}),
        ("blank", {"dtype": "float64"}),
        ("blank", {"shape": ["30", "8", "8"]}),
        ("blank", {"shape": [30.0, 8.0, 8.0]}),
        ("gray", {"dtype": "bool"}),
        ("folder", {"names": None}),
        ("folder", {"kind": "file"}),
        ("folder", {"modes": 5}),
        ("folder", {"modes": ["L", "L", "L"]}),
        ("folder", {"modes": ["RGB", "RGB", "L"]}),
        ("folder", {"modes": ["RGB", "1", "L"]}),
    ],
)
def test_a_manifest_that_does_not_suit_its_images_is_refused_by_every_way(world, name, fields):
    source = source_of(world, name)
    data = told(source, **fields)
    for way in (list, lambda found: found[0], lambda found: found[:1], lambda found: found.payload):
        with pytest.raises(bitsback.FormatError, match=r"chunk 0.*manifest"):
            way(reader_of(source, data))
    damage = []
    list(reader_of(source, data).salvaged(damage))
    assert [each.chunk for each in damage] == [0]


def test_an_index_of_more_images_than_tiles_is_refused_before_they_are_counted(world):
    source = source_of(world, "blank")
    data = told(source, shape=[2**32 - 1, 1, 1])
    header = container.read_header(io.BytesIO(data), len(data))
    entry = dataclasses.replace(header.chunks[0], images=2**32 - 1)
    forged_header = container.pack_header(dataclasses.replace(header, chunks=(entry,)))
    with pytest.raises(bitsback.FormatError, match="fewer tiles"):
        reader_of(source, forged_header + data[header.size :]).chunk(0)


def test_a_payload_that_would_unpack_to_much_more_is_refused_unpacked(world):
    source = source_of(world, "blank")
    bomb, size = fuzz_files.bombs()[0], 96 << 22
    part = varint.pack(size) + varint.pack(len(bomb)) + bomb

    def change(start: initial_bits.Initial) -> initial_bits.Initial:
        return dataclasses.replace(start, payload=start.payload[:-2] + part)

    with pytest.raises(bitsback.FormatError, match="wrong length"):
        reader_of(source, fuzz_files.rebuilt(source, 0, change)).chunk(0)


def test_a_short_chunk_cannot_promise_pixels_that_fill_the_memory(world):
    head, words = fuzz_files.unpack(source_of(world, "gray").chunks[0])

    def promise(pixels):
        count = pixels // 64
        segment = dataclasses.replace(head.segments[0], count=count, classical=count)
        return pack_chunk(dataclasses.replace(head, segments=(segment,)), words)

    assert fuzz_files.unpack(promise(1 << 26))
    with pytest.raises(bitsback.FormatError, match="more pixels"):
        promise((1 << 26) + (1 << 20))


def test_a_large_blank_chunk_is_filled_up_to_what_its_pixels_ask_for(world):
    blank = np.zeros((1, 10_240, 10_240), bool)
    loaded = world.models["bits"]
    data = bitsback.compress(blank, loaded)
    assert len(data) > (blank.size - (1 << 26)) / 512
    assert np.array_equal(bitsback.decompress(data, loaded), blank)


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "x" * 65_532])
def test_a_name_that_no_npz_can_hold_is_refused(world, name, tmp_path):
    source = source_of(world, "npz")
    data = told(source, name=name, names=[name, "labels", "words"])
    code, err = command(source, data, tmp_path, "decompress", "-o", tmp_path / "out" / "y.npz")
    assert (code, list((tmp_path / "out").iterdir())) == (3, [])
    assert "names an array" in err


def test_extra_arrays_that_unpack_to_more_than_they_are_are_refused(world, tmp_path):
    source = source_of(world, "npz")
    held = source.sets[0]
    data = payload.pack_payload(
        held.manifest.to_json() | {"binary": True, "names": ["x", "0"]}, fuzz_files.zip_bomb(1), b""
    )
    data = fuzz_files.rebuilt(source, 0, lambda start: dataclasses.replace(start, payload=data))
    code, err = command(source, data, tmp_path, "decompress", "-o", tmp_path / "out" / "y.npz")
    assert (code, list((tmp_path / "out").iterdir())) == (3, [])
    assert "extra arrays are damaged" in err


def command(source, data, folder, verb, *words):
    """Exit code and standard error of the command line over a file; never a traceback."""
    file, code = folder / "x.bb", 0
    file.write_bytes(data)
    (folder / "out").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        err = io.StringIO()
        patch.setattr(sys, "stderr", err)
        patch.setattr(console.console, "_file", err)
        patch.setattr(console.remarks, "_file", err)
        patch.setattr("bitsback.api.load_named", lambda *_: source.loaded)
        patch.setattr(sys, "argv", ["bitsback", verb, str(file), *map(str, words)])
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
    text = err.getvalue()
    assert "Traceback" not in text
    assert code != 2 or text.count("\n") == 1, text
    return code, text


def altered(data, place, bit=4):
    found = bytearray(data)
    found[place] ^= bit
    return bytes(found)


def other_pixels(source, number):
    """A file in which a chunk's pixels are not those of its checksum; all else is right."""
    chunks = source.chunks
    head, words = fuzz_files.unpack(chunks[number])
    head = dataclasses.replace(head, pixels_checksum=bytes(8))
    chunks[number] = pack_chunk(head, words)
    return fuzz_files.pack(source.header, chunks)


def test_verify_tells_header_message_and_pixels_apart(world, tmp_path):
    source = source_of(world, "three chunks")
    whole, places = source.data, source.header.offsets
    assert command(source, whole, tmp_path, "verify")[0] == 0
    for damaged, words in [
        (altered(whole, 30), ["the file's header was altered"]),
        (altered(whole, places[1] + 90), ["chunk 1, images 5 to 9", "its message was altered"]),
        (other_pixels(source, 2), ["chunk 2, images 10 to 13", "its decoded pixels"]),
        (
            altered(other_pixels(source, 2), places[0] + 90),
            ["chunk 0, images 0 to 4: its message", "chunk 2, images 10 to 13: its decoded"],
        ),
        (whole[:-3], ["chunk 2, images 10 to 13", "truncated: 3 bytes are missing"]),
        (whole + b"more", ["4 bytes after its end"]),
    ]:
        code, err = command(source, damaged, tmp_path, "verify")
        assert code == 3
        for word in words:
            assert word in err
        for number in range(3):
            assert (f"chunk {number}" in err) == any(f"chunk {number}" in word for word in words)


@pytest.mark.parametrize("bad", [[1], [0, 2]])
def test_a_damaged_file_is_refused_whole_and_salvaged_in_part(world, tmp_path, bad):
    source = source_of(world, "three chunks")
    damaged = source.data
    for number in bad:
        damaged = altered(damaged, source.header.offsets[number] + 90)
    output = tmp_path / "out" / "y.npy"
    code, err = command(source, damaged, tmp_path, "decompress", "-o", output)
    assert code == 3
    assert f"chunk {bad[0]}" in err
    assert not output.exists()
    code, err = command(source, damaged, tmp_path, "decompress", "-o", output, "--salvage")
    assert code == 3
    assert [f"lost chunk {number}" in err for number in range(3)] == [n in bad for n in range(3)]
    found = np.load(output)
    for number, first in enumerate(source.header.firsts):
        wanted = np.stack(source.wanted[number])[..., 0]
        got = found[first : first + len(wanted)]
        assert np.array_equal(got, wanted * 0 if number in bad else wanted)
        opened_file = bitsback.open(tmp_path / "x.bb", source.loaded)
        with opened_file as reader:
            if number in bad:
                with pytest.raises(bitsback.ChecksumError, match=f"chunk {number}"):
                    reader[first]
            else:
                assert np.array_equal(reader[first : first + len(wanted)], wanted)


def test_a_file_without_a_whole_chunk_is_not_salvaged(world, tmp_path):
    source = source_of(world, "blank")
    damaged = altered(source.data, source.header.offsets[0] + 60)
    output = tmp_path / "out" / "y.npy"
    code, err = command(source, damaged, tmp_path, "decompress", "-o", output, "--salvage")
    assert code == 3
    assert "no chunk" in err
    assert not output.exists()


NAMES = {
    "up": ["../x.png", "b.png", "c.png"],
    "up later": ["a.png", "b.png", "sub/../../x.png"],
    "absolute": ["/tmp/x.png", "b.png", "c.png"],
    "a drive": ["C:x.png", "b.png", "c.png"],
    "backslashes": ["..\\x.png", "b.png", "c.png"],
    "none": ["", "b.png", "c.png"],
    "NUL": ["a\0.png", "b.png", "c.png"],
    "half a surrogate": ["\ud800.png", "b.png", "c.png"],
    "through a file": ["a.png", "a.png/b.png", "c.png"],
    "a file where a folder is": ["a.png/b.png", "a.png", "c.png"],
    "twice": ["a.png", "a.png", "c.png"],
    "too long": ["x" * 300 + ".png", "b.png", "c.png"],
    "too deep": ["x/" * 3000 + "a.png", "b.png", "c.png"],
    "no format": ["a", "b.png", "c.png"],
    "a lossy format": ["a.jpg", "b.png", "c.png"],
}
#: names that no file has; others are refused where they are written
UNSAFE = ("up", "up later", "absolute", "a drive", "backslashes", "none", "NUL", "half a surrogate")


@pytest.mark.parametrize("case", NAMES)
def test_no_stored_name_leads_anywhere_else(world, tmp_path, case):
    source = source_of(world, "folder")
    data = told(source, names=NAMES[case])
    (tmp_path / "out").mkdir()
    code, _ = command(source, data, tmp_path, "decompress", "-o", tmp_path / "out" / "images")
    assert code == (3 if case in UNSAFE else 2)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "out", tmp_path / "x.bb"]


@pytest.mark.parametrize(
    "names",
    [
        ["a.png", "A.png", "c.png"],
        ["a\n.png", "\x1b[31m.png", "c.png"],
        ["x/y/\u00e9.png", "-", "~"],
    ],
)
def test_strange_but_harmless_names_are_kept(world, tmp_path, names):
    source = source_of(world, "folder")
    names = [name if name.endswith(".png") else f"{name}.png" for name in names]
    target = tmp_path / "out" / "images"
    code, _ = command(source, told(source, names=names), tmp_path, "decompress", "-o", target)
    assert code == 0
    for name, pixels in zip(names, source.wanted[0], strict=True):
        found = read_images([target / name]).pixels[0]
        assert np.array_equal(found, pixels)


def test_an_output_that_is_a_link_is_written_through_only_where_it_leads(world, tmp_path):
    source = source_of(world, "folder")
    (tmp_path / "out").mkdir()
    (tmp_path / "real").mkdir()
    link = tmp_path / "out" / "images"
    link.symlink_to(tmp_path / "real")
    assert command(source, source.data, tmp_path, "decompress", "-o", link)[0] == 0
    assert link.is_symlink()
    names = [name for held in source.sets for name in held.manifest.names]
    assert sorted(p.name for p in (tmp_path / "real").rglob("*.png")) == [
        name.rsplit("/", 1)[-1] for name in names
    ]
    # It is not empty now, so a forged file cannot add to it.
    before = sorted(tmp_path.rglob("*"))
    assert command(source, source.data, tmp_path, "decompress", "-o", link)[0] == 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3"])
def test_weights_of_types_that_numpy_has_not_are_refused(folder, kind):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    field = next(f for f in header.values() if f["dtype"] == "I16")
    begin, end = field["data_offsets"]
    field["dtype"] = kind
    field["shape"] = [(end - begin) // (2 if kind == "BF16" else 1)]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    refuse(folder, "damaged")
