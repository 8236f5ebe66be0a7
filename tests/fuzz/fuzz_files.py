"""Hostile bitsback files: damage of every layer, outer checksums forged to reach inner ones.

A case is a file, and the images that each of its chunks may give if it gives any.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from conftest import SMALL, random_model
from PIL import Image, PngImagePlugin
from torch import nn

from bitsback.ans.message import flatten
from bitsback.archive import writer
from bitsback.archive.reader import Reader
from bitsback.chunks.decoder import decode_chunk
from bitsback.chunks.plan import Settings
from bitsback.chunks.prefix import encode_prefix
from bitsback.coding import initial_bits
from bitsback.coding.model import LoadedModel
from bitsback.errors import FormatError
from bitsback.format import header as container
from bitsback.format import payload, sidecar, varint
from bitsback.format.chunk import pack_chunk, pixel_checksum, unpack_chunk
from bitsback.format.chunk_head import ChunkHead
from bitsback.images import classical
from bitsback.images.image_set import ImageSet, from_array, part
from bitsback.models import store
from bitsback.sources.npy import pack_arrays
from bitsback.sources.read import read_images
from bitsback.tiles.segments import cut as cut_tiles
from bitsback.torch import Bernoulli, adapt, quantise

Images = list[np.ndarray]
NUMBERS = [0, 1, 2, 3, 7, 8, 9, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**20, 2**24, 2**28]
NUMBERS += [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**48, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
AROUND = ("tar", "everything", "carried", "files")  # sources with sidecars
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
JUNK = [None, True, False, 0, 1, -1, 2, 8, 2**31, 2**32 - 1, 2**63, 10**30, 0.5, 8.0, 1e308]
JUNK += [float("inf"), float("nan"), "", "x", "8", "\ud800", "../x", "/x", "a\0b", "x" * 5000]
JUNK += [[], [[]], {}, [0], [1] * 50, [[8, 8, 1]] * 6, [[8, 8, 3]], {"a": 1}, DEEP, "uint8", "bool"]
JUNK += [
    "object",
    "array",
    "npz",
    "file",
    "folder",
    "tar",
    "L",
    "1",
    "RGB",
    "RGBA",
    "LA",
    "I;16",
    "a.png",
    "a.png/b.png",
    "A.PNG",
]


@dataclasses.dataclass(frozen=True)
class Source:
    """A whole file and what lies in it, chunk by chunk."""

    name: str
    loaded: LoadedModel
    data: bytes
    sets: list[ImageSet]
    users: list[bytes]

    @property
    def header(self) -> container.Header:
        """Its header."""
        return container.read_header(io.BytesIO(self.data), len(self.data))

    @property
    def chunks(self) -> list[bytes]:
        """The bytes of its chunks."""
        header = self.header
        places = zip(header.offsets, header.chunks, strict=True)
        return [self.data[begin : begin + entry.size] for begin, entry in places]

    @property
    def wanted(self) -> list[Images]:
        """The images of its chunks."""
        return [list(held.pixels) for held in self.sets]


@dataclasses.dataclass(frozen=True)
class Case:
    """A hostile file.

    Args:
        wanted: the images of each chunk, if it gives any.
        reshaped: whether the manifest may tell other shapes, and so cut the tiles otherwise.
    """

    kind: str
    source: Source
    data: bytes
    wanted: list[Images]
    reshaped: bool = False


def build_models(folder: Path) -> dict[str, LoadedModel]:
    """Tiny random models: gray bits, and colour; and adapted ones, in floats and in integers."""
    configs = {
        "bits": SMALL,
        "colour": dataclasses.replace(SMALL, channels=3, likelihood="logistic", mixtures=2),
    }
    found = {}
    for name, config in configs.items():
        store.save(folder / name, config, *random_model(config))
        found[name] = store.load(str(folder / name), "cpu")
    return found | {"own": adapted("own", exact=False), "exact": adapted("exact", exact=True)}


def adapted(name: str, exact: bool) -> LoadedModel:
    """A tiny VAE of torch's, as its owner brings it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder: Any = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
        decoder: Any = nn.Sequential(nn.Linear(4, 64))
    if exact:
        encoder, decoder = quantise(encoder.eval()), quantise(decoder.eval())
    return adapt(
        nn.ModuleList([encoder, decoder]).eval(),
        image=(1, 8, 8),
        latents=(4,),
        posterior=lambda t, x, z: encoder(x).chunk(2, 1),
        likelihood=lambda z: Bernoulli(logits=decoder(z[0])),
        batch=4,
        exact=exact,
        name=name,
    )


def build_sources(folder: Path, models: dict[str, LoadedModel]) -> list[Source]:
    """Files of every kind: one chunk and several, chained and classical, arrays and folders."""
    random = np.random.default_rng(0)
    bits = (random.random((14, 8, 8)) < 0.3).astype(np.uint8)
    source = folder / "images"
    (source / "sub").mkdir(parents=True)
    for name, shape in (("a", (9, 7, 3)), ("b", (8, 8)), ("sub/c", (5, 13)), ("sub/d", (4, 4, 3))):
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(source / f"{name}.png")
    everything = folder / "everything"
    everything.mkdir()
    rgba = Image.fromarray(random.integers(0, 256, (9, 8, 4), np.uint8))
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a title")
    rgba.save(everything / "a.png", pnginfo=text, icc_profile=bytes(99), dpi=(300, 300))
    Image.fromarray(random.integers(0, 1 << 12, (8, 9)).astype(np.uint16)).save(
        everything / "b.png"
    )
    exif = Image.Exif()
    exif[0x010E] = "a description"
    rgba.convert("LA").save(everything / "c.tif", exif=exif.tobytes(), icc_profile=bytes(99))
    (everything / "b.csv").write_bytes(b"1,2,3")
    with tarfile.open(folder / "in.tar", "w") as out:
        for path in sorted(everything.iterdir()):
            out.add(path, path.name)
    labels = {"x": bits[:9] > 0, "labels": np.arange(9), "words": np.array(["a", "bc"])}
    np.savez(folder / "in.npz", **labels)
    user = random.bytes(700)
    chained = {"payload": user, "settings": Settings(always_chain=True)}
    specs: list[tuple[str, str, ImageSet, dict[str, Any]]] = [
        ("one chunk", "bits", from_array(bits[:6]), chained),
        ("three chunks", "bits", from_array(bits), {"chunk": 5, **chained}),
        ("other three", "bits", from_array(1 - bits), {"chunk": 5, **chained}),
        ("folder", "colour", read_images([source]), {"chunk": 3, **chained}),
        ("tar", "colour", read_images([folder / "in.tar"]), {"chunk": 2}),
        # Through the model: a random one's pixels take more than these files, which would travel.
        ("everything", "colour", read_images([everything]), {"settings": chained["settings"]}),
        (
            "image",
            "colour",
            read_images([source / "a.png"]),
            {"settings": Settings(seed=2**64 - 1, always_chain=True)},
        ),
        ("npz", "bits", read_images([folder / "in.npz"]), {"chunk": 4, "payload": b"user"}),
        ("blank", "bits", from_array(np.zeros((30, 8, 8), bool)), {}),
        ("gray", "colour", from_array(random.integers(0, 256, (3, 8, 8), np.uint8)), {}),
        ("own", "own", from_array(bits), {"chunk": 5, **chained}),
        ("exact", "exact", from_array(bits), {"chunk": 5, **chained}),
        # Files that travel in place of their pixels: some, and all.
        ("carried", "colour", read_images([_mixed(folder / "mixed", 60)]), {"chunk": 4}),
        ("files", "colour", read_images([_mixed(folder / "small", 20)]), {"chunk": 4}),
    ]
    found = []
    for name, model, images, options in specs:
        data = writer.compress_set(images, models[model], **options).data
        source = Source(name, models[model], data, [], [])
        header = source.header
        bounds = zip(header.firsts, header.chunks, strict=True)
        sets = [part(images, first, first + entry.images) for first, entry in bounds]
        if name in ("carried", "files"):  # whose writer leaves pixels out
            sets = restored(data, models[model])
        users = [options.get("payload", b"")] + [b""] * (len(sets) - 1)
        found.append(dataclasses.replace(source, sets=sets, users=users))
    return found


def restored(data: bytes, loaded: LoadedModel) -> list[ImageSet]:
    """What the chunks of a file hold."""
    return list(Reader(io.BytesIO(data), lambda *_: loaded).restored())


def _mixed(folder: Path, side: int) -> Path:
    """Icons, which are smaller than their pixels' code; stored ramps; and what is no image."""
    folder.mkdir()
    ramp = np.add.outer(np.arange(side), np.arange(side))[..., None] + np.arange(3)
    for number in range(3):
        flat = Image.new("RGBA", (24, 24), (number, 9, 9, 255))
        flat.save(folder / f"{number}-icon.png", optimize=True)
        stored = Image.fromarray((ramp + number).astype(np.uint8))
        stored.save(folder / f"{number}-ramp.png", compress_level=0)
    stored.save(folder / "9.jpg")
    (folder / "9.txt").write_bytes(b"a text")
    return folder


def damage(data: bytes, random: Random) -> bytes:
    """Some bytes with a small accident: bits flipped, a part cut, doubled, or noise."""
    found = bytearray(data)
    place = random.randrange(len(found) + 1)
    size = random.choice([1, 2, 4, 8, 30])
    match random.randrange(6):
        case 0 | 1:
            for _ in range(random.choice([1, 1, 2, 8])):
                if found:
                    found[random.randrange(len(found))] ^= 1 << random.randrange(8)
        case 2:
            del found[place:]
        case 3:
            del found[place : place + size]
        case 4:
            found[place:place] = found[place : place + size] or random.randbytes(size)
        case _:
            found[place : place + size] = random.randbytes(size)
    return bytes(found)


def pack(header: container.Header, chunks: list[bytes]) -> bytes:
    """A file whose index and checksum suit its chunks."""
    entries = [
        dataclasses.replace(entry, size=len(chunk))
        for entry, chunk in zip(header.chunks, chunks, strict=False)
    ]
    return container.pack_header(dataclasses.replace(header, chunks=tuple(entries))) + b"".join(
        chunks
    )


def pack_any_header(body: bytes) -> bytes:
    """A header with a right checksum, whatever it says."""
    head = container.MAGIC + struct.pack("<I", len(body)) + body
    return head + struct.pack("<I", zlib.crc32(head))


def sign(chunk: bytes) -> bytes:
    """A chunk with a right checksum, whatever it says."""
    return chunk + hashlib.blake2b(chunk, digest_size=8).digest()


def unpack(chunk: bytes) -> tuple[ChunkHead, np.ndarray]:
    """A chunk's head and message."""
    return unpack_chunk(chunk, container.RECIPES)


def plain(source: Source, random: Random) -> Case:
    """Damage as disks and networks do it."""
    return Case("plain", source, damage(source.data, random), source.wanted)


def header_fields(source: Source, random: Random) -> Case:
    """A header field at an extreme, under a right checksum."""
    header = source.header
    version = header.format_version
    if random.random() < 0.1:
        version = random.choice([0, 1, 2, 3, 4, 5, 6, 7, 2**16 - 1])
    model = random.choice([header.model_sha256, bytes(8), random.randbytes(8)])
    tables = random.choice([header.tables_sha256] * 3 + [bytes(4)])
    seed = random.choice([header.seed, header.seed ^ 1, *NUMBERS, 2**64])
    name = header.model.encode()
    if random.random() < 0.3:
        name = random.choice([b"", b"\0", b"\xff", b"../x", b"/etc", b"x" * 255, b"\n"])
    body = struct.pack("<H", version) + model + tables + varint.pack(seed)
    body += bytes([len(name)]) + name
    machine = header.machine.encode()
    if random.random() < 0.2:
        machine = random.choice([b"", b"\0", b"\xff", b"x86", b"x" * 255, b"\n"])
    if version >= container.MACHINES:
        body += bytes([len(machine)]) + machine
    for entry in header.chunks:
        pair = [entry.images, entry.size]
        if random.random() < 0.3:
            pair[random.randrange(2)] = random.choice(NUMBERS)
        body += varint.pack(pair[0]) + (pair[1] % 2**40).to_bytes(5, "little")
    if random.random() < 0.1:
        body = damage(body, random)
    return Case(
        "header fields", source, pack_any_header(body) + source.data[header.size :], source.wanted
    )


def index(source: Source, random: Random) -> Case:
    """Entries of the index moved by a little, dropped, or doubled; under a right checksum."""
    header = source.header
    entries = list(header.chunks)
    number = random.randrange(len(entries))
    entry = entries[number]
    match random.randrange(4):
        case 0:
            entries[number] = container.ChunkEntry(
                max(1, entry.images + random.choice([-1, 1])), entry.size
            )
        case 1:
            shift = random.choice([-4, -1, 1, 4])
            entries[number] = container.ChunkEntry(entry.images, max(0, entry.size + shift))
            if number + 1 < len(entries):
                after = entries[number + 1]
                entries[number + 1] = container.ChunkEntry(after.images, max(0, after.size - shift))
        case 2 if len(entries) > 1:
            del entries[number]
        case _:
            entries[number:number] = [entry] * random.choice([1, 2, 1000])
    new = dataclasses.replace(header, chunks=tuple(entries))
    return Case(
        "index", source, container.pack_header(new) + source.data[header.size :], source.wanted
    )


def head_fields(source: Source, random: Random) -> Case:
    """Fields of a chunk's head at extremes, under right checksums."""
    chunks = source.chunks
    number = random.randrange(len(chunks))
    head, message = unpack(chunks[number])
    numbers = [head.batch, head.ramp, head.heads]
    numbers += [head.payload_bytes, head.classical_bytes, head.filler_bytes]
    partial = [len(head.partial), *head.partial]
    segments = [
        [s.count, s.height, s.width, s.channels, s.classical, len(s.images)]
        + [field for run in s.images for field in run]
        for s in head.segments
    ]
    for _ in range(random.choice([1, 1, 2])):
        fields = random.choice([numbers, numbers, partial, *segments, *segments])
        where = random.randrange(len(fields))
        fields[where] = _number(fields[where], random)
    if random.random() < 0.1:
        segments = random.choice([[], segments * 2, segments[::-1], segments * 5000])[:5000]
    if random.random() < 0.1:
        extra_links = [random.choice([0, 1, 2**31, 2**32 - 1]) for _ in range(3)]
        partial = random.choice([[0], [1, 2**32 - 1], [3, *extra_links], [3, 1, 0, 1]])
    count = random.choice([len(segments)] * 9 + [random.choice(NUMBERS)])
    body = b"".join(map(varint.pack, (*numbers, *partial)))
    body += head.pixels_checksum + varint.pack(count)
    for segment in segments:
        body += b"".join(map(varint.pack, segment[:3])) + bytes([segment[3] % 256])
        body += b"".join(map(varint.pack, segment[4:]))
    if random.random() < 0.1:
        body = damage(body, random)
    chunks[number] = sign(body + message.astype("<u4").tobytes())
    return Case("head fields", source, pack(source.header, chunks), source.wanted)


def _number(old: int, random: Random) -> int:
    return max(0, random.choice([old + 1, old - 1, old * 2, old ^ 128, *NUMBERS]))


def words(source: Source, random: Random) -> Case:
    """Words of a message changed, under right checksums."""
    chunks = source.chunks
    number = random.randrange(len(chunks))
    head, message = unpack(chunks[number])
    data = bytearray(damage(message.tobytes(), random))
    data += bytes(-len(data) % 4)
    chunks[number] = pack_or_sign(head, np.frombuffer(bytes(data), np.uint32))
    return Case("words", source, pack(source.header, chunks), source.wanted)


def pack_or_sign(head: Any, message: np.ndarray) -> bytes:
    """`pack_chunk`, or where it refuses, a chunk that is refused alike."""
    try:
        return pack_chunk(head, message)
    except container.FormatError:
        return sign(b"\0" * 60)


def wrong_checksum(source: Source, random: Random) -> Case:
    """The checksum of the pixels, of a chunk or of the header is another."""
    header, chunks = source.header, source.chunks
    number = random.randrange(len(chunks))
    match random.randrange(3):
        case 0:
            head, message = unpack(chunks[number])
            other = bytearray(head.pixels_checksum)
            other[random.randrange(8)] ^= 1 << random.randrange(8)
            head = dataclasses.replace(head, pixels_checksum=bytes(other))
            chunks[number] = pack_chunk(head, message)
            data = pack(header, chunks)
        case 1:
            chunks[number] = chunks[number][:-8] + random.randbytes(8)
            data = pack(header, chunks)
        case _:
            packed = pack(header, chunks)
            data = packed[: header.size - 4] + random.randbytes(4) + packed[header.size :]
    return Case("wrong checksum", source, data, source.wanted)


def shuffled(source: Source, random: Random, others: list[Source]) -> Case:
    """Chunks in another order, doubled, or of two files, under right checksums."""
    chunks, wanted = source.chunks, source.wanted
    numbers = list(range(len(chunks)))
    entries = list(source.header.chunks)
    if random.random() < 0.5:
        random.shuffle(numbers)
        if random.random() < 0.5:
            numbers[random.randrange(len(numbers))] = random.choice(numbers)
        taken = [chunks[number] for number in numbers]
        entries = [entries[number] for number in numbers]
    else:
        # At its own place, a chunk of a file of the same seed is as good as any, if its model is
        # the same, or has no part in it.
        other = random.choice(others)
        taken = list(chunks)
        number = random.randrange(len(chunks))
        there = number if random.random() < 0.7 else random.randrange(len(other.chunks))
        there = min(there, len(other.chunks) - 1)
        taken[number] = other.chunks[there]
        entries[number] = dataclasses.replace(other.header.chunks[there])
        if other.header.seed == source.header.seed and there == number:
            wanted[number] = other.wanted[number]
    header = dataclasses.replace(source.header, chunks=tuple(entries))
    return Case("shuffled", source, pack(header, taken), wanted)


def swapped_model(source: Source, random: Random, others: list[Source]) -> Case:
    """A file that another model is said to have written."""
    other = random.choice(others)
    header = dataclasses.replace(
        source.header, model=other.header.model, model_sha256=other.header.model_sha256
    )
    return Case("swapped model", source, pack(header, source.chunks), source.wanted)


def rebuilt(
    source: Source,
    number: int,
    change: Callable[[initial_bits.Initial], initial_bits.Initial],
    times: int = 1,
) -> bytes:
    """A file with one chunk anew: all tiles in the prefix, other initial bits, right checksums.

    Args:
        times: how many times too many tiles its head promises.
    """
    held, chunks = source.sets[number], source.chunks
    side = source.loaded.tiles[0]
    cut = cut_tiles(held.pixels, side, source.loaded.channels)
    head, _ = unpack(chunks[number])
    prefix = encode_prefix([run.some() for run in cut], source.loaded.binary)
    manifest = held.manifest.to_json() | {"binary": held.binary}
    inner = payload.pack_payload(manifest, held.packed, source.users[number])
    start = change(initial_bits.Initial(inner, prefix))
    segments = tuple(
        dataclasses.replace(segment, count=segment.count * times, classical=segment.count * times)
        for segment in head.segments
    )
    head = dataclasses.replace(
        head,
        pixels_checksum=pixel_checksum((run.tiles for run in cut), start.payload),
        segments=segments,
        payload_bytes=len(start.payload),
        classical_bytes=len(start.prefix),
        filler_bytes=start.filler,
        partial=(),
    )
    chunks[number] = pack_or_sign(head, flatten(start.message(source.header.seed, number)))
    return pack(source.header, chunks)


def prefix(source: Source, random: Random) -> Case:
    """The classical code damaged, of another method, or a bomb."""
    number = random.randrange(len(source.sets))

    def change(start: initial_bits.Initial) -> initial_bits.Initial:
        code = start.prefix
        side = source.loaded.tiles[0]
        match random.randrange(6):
            case 0 | 1:
                code = damage(code, random)
            case 2:
                cut = cut_tiles(source.sets[number].pixels, side, source.loaded.channels)
                method = random.choice(classical.METHODS)
                some = [run.some() for run in cut]
                binary = source.loaded.binary
                parts = [classical._encode(method, s.tiles, binary, s.extents) for s in some]
                made = [damage(p, random) for p in parts if p is not None]
                code = b"".join(len(p).to_bytes(8, "little") + p for p in made)
            case 3:
                size = random.choice(NUMBERS)
                code = size.to_bytes(8, "little") + code[8:]
            case 4:
                method = random.choice([0, 1, 2, 3, 3, 4, 5, 6, 6, 7])
                bomb = bytes([method]) + random.choice(bombs())
                code = len(bomb).to_bytes(8, "little") + bomb
            case _:
                code = code[:8] + bytes([random.randrange(256)]) + code[9:]
        return dataclasses.replace(start, prefix=code)

    times = random.choice([1] * 20 + [2, 2**16, 2**17, 2**18, 2**19, 2**20])
    return Case("prefix", source, rebuilt(source, number, change, times), source.wanted)


@functools.cache
def bombs() -> list[bytes]:
    """Small data of each codec that would fill the memory; the first is LZMA2 of 384 MiB."""
    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}])
    found = [b"".join(packer.compress(bytes(1 << 22)) for _ in range(96)) + packer.flush()]
    for kind, mode, size in (
        ("PNG", "L", 8000), ("TIFF", "1", 16000), ("WEBP", "RGB", 4000), ("PNG", "1", 16000)
    ):  # fmt: skip
        options = {"compression": "group4"} if kind == "TIFF" else {"lossless": True}
        file = io.BytesIO()
        Image.new(mode, (size, size)).save(file, kind, **options)
        found.append(file.getvalue())
    return found


def inner(source: Source, random: Random) -> Case:
    """The payload's framing damaged, or a part of it a bomb."""
    number = random.randrange(len(source.sets))

    def change(start: initial_bits.Initial) -> initial_bits.Initial:
        data, filler = start.payload, 0
        match random.randrange(5):
            case 0 | 1:
                data = damage(data, random)
            case 2:
                lengths = [varint.pack(random.choice(NUMBERS)) for _ in range(2)]
                data = b"".join(lengths) + data[random.randrange(4) :]
            case 3:
                bomb = bombs()[0]
                parts = payload.unpack_payload(data)
                text = json.dumps(parts[0]).encode()
                bombed = varint.pack(96 << 22) + varint.pack(len(bomb)) + bomb
                plain_parts = [varint.pack(len(p)) * 2 + p for p in (text, *parts[1:])]
                plain_parts[random.randrange(3)] = bombed
                data = b"".join(plain_parts)
            case _:
                filler = random.choice([1, 2, 3, 4, 5, 1000])
        return dataclasses.replace(start, payload=data, filler=filler)

    return Case("payload", source, rebuilt(source, number, change), source.wanted, reshaped=True)


def manifest(source: Source, random: Random) -> Case:
    """A manifest of other fields, or text that is none."""
    number = random.randrange(len(source.sets))
    held = source.sets[number]
    fields: Any = json.loads(json.dumps(held.manifest.to_json() | {"binary": held.binary}))
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        key = random.choice([*fields, "kind", "shape", "names"])
        old = fields.get(key)
        match random.randrange(4):
            case 0:
                fields.pop(key, None)
            case 1 if isinstance(old, list) and old:
                # Copies: what was put here before may be junk, which later cases use, too.
                fields[key] = old = [*old]
                place = random.randrange(len(old))
                if isinstance(old[place], list) and old[place] and random.random() < 0.7:
                    old[place] = [*old[place]]
                    old[place][random.randrange(len(old[place]))] = random.choice(JUNK)
                else:
                    old[place] = random.choice(JUNK)
            case 2 if isinstance(old, int) and not isinstance(old, bool):
                fields[key] = old + random.choice([-1, 1])
            case _:
                fields[key] = random.choice(JUNK)
    text = json.dumps(random.choice([fields] * 20 + JUNK)).encode()
    if random.random() < 0.05:
        text = random.choice([b"[" * 100_000, b"9" * 9000, b'{"a":1e999}', b"\xff", b"NaN", b""])
    data = payload._pack_part(text) + payload._pack_part(held.packed)
    data += payload._pack_part(source.users[number])
    data = rebuilt(source, number, lambda start: dataclasses.replace(start, payload=data))
    return Case("manifest", source, data, source.wanted, reshaped=True)


def extra(source: Source, random: Random) -> Case:
    """The other arrays of an .npz damaged, of strange types, or bombs."""
    held = source.sets[0]
    match random.randrange(5):
        case 0 | 1 if held.extra:
            arrays = damage(held.extra, random)
        case 2:
            shape = tuple(random.choice([0, 1, 3, 2**31, 2**62, -1]) for _ in range(2))
            descr = random.choice(["<i8", "|O", "|S0", "|V0", "<U0", "|V1000000", "<f9", "M8[D]"])
            file = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                file, {"descr": descr, "fortran_order": False, "shape": shape}
            )
            methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
            made = io.BytesIO()
            with zipfile.ZipFile(made, "w", random.choice(methods)) as archived:
                archived.writestr("labels.npy", file.getvalue() + bytes(64))
            arrays = made.getvalue()
        case 3:
            arrays = random.choice([zip_bomb(1), zip_bomb(60), held.extra, held.extra])
        case _:
            name = random.choice(["x", "a\0b", "../x", "x" * 70_000, "words", "labels", ""])
            arrays = pack_arrays({name[:65_000]: np.arange(3), "labels": np.arange(9)})
    fields: dict[str, Any] = held.manifest.to_json() | {"binary": held.binary}
    if held.manifest.kind == "npz" and random.random() < 0.5:
        name = random.choice(["x", "x", "\ud800", "a\0b", "é" * 40_000, "labels"])
        fields |= {"name": name, "names": [name, *_names(arrays)]}
    data = payload._pack_part(json.dumps(fields).encode()) + payload._pack_part(arrays)
    data += payload._pack_part(b"")
    data = rebuilt(source, 0, lambda start: dataclasses.replace(start, payload=data))
    return Case("extra arrays", source, data, source.wanted)


def around(source: Source, random: Random) -> Case:
    """What lies beside images damaged, or of strange kinds, lengths and names."""
    number = random.randrange(len(source.sets))
    held = source.sets[number]
    of_images = [sidecar.unpack(data) for data in held.sidecars or []]
    packed = held.packed
    if random.random() < 0.3:
        packed = damage(packed, random)
    else:
        records = random.choice(of_images)
        place = random.randrange(len(records) + 1)
        kinds = [kind for each in of_images for kind, _ in each]
        kinds += [
            b"IDAT",
            b"IHDR",
            b"IEND",
            b"PLTE",
            b"tRNS",
            b"FILE",
            b"LOW_",
            b"EXIF",
            b"\0\0\0\0",
        ]
        data = random.choice([data for each in of_images for _, data in each] + [b"", bytes(900)])
        name = random.choice(["../x", "/x", "x.png", "a.png", "b.csv", "", "a\0b", "y" * 5000])
        match random.randrange(4):
            case 0:
                records.insert(place, sidecar.pack_file(name, data))
            case 1:
                records.insert(place, (random.choice(kinds), damage(data, random)))
            case 2 if records:
                del records[random.randrange(len(records))]
            case _:
                random.shuffle(records)
        packed = sidecar.pack_all([sidecar.pack(each) for each in of_images])
    text = json.dumps(held.manifest.to_json() | {"binary": held.binary}).encode()
    data = b"".join(map(payload._pack_part, (text, packed, source.users[number])))
    data = rebuilt(source, number, lambda start: dataclasses.replace(start, payload=data))
    # A forged recipe of an uncompressed file may tell other sizes, which nothing contradicts.
    count = len(of_images)
    forged = _recipes(packed, count) != _recipes(held.packed, count)
    return Case("beside", source, data, source.wanted, reshaped=forged)


def _recipes(packed: bytes, count: int) -> list[list[bytes]]:
    """The recipes of uncompressed files in the packed sidecars of some images."""
    try:
        of_images = [sidecar.unpack(data) for data in sidecar.unpack_all(packed, count) or []]
    except FormatError:
        return []
    return [[data for kind, data in records if kind == b"RAW_"] for records in of_images]


def _names(arrays: bytes) -> list[str]:
    # A damaged .zip is refused in many ways.
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(arrays)) as archived:
        return [name.removesuffix(".npy") for name in archived.namelist()]
    return ["labels", "words"]


@functools.cache
def zip_bomb(members: int) -> bytes:
    """An .npz of members that unpack to 16 MiB each."""
    file, big = io.BytesIO(), io.BytesIO()
    np.save(big, np.zeros(1 << 24, np.uint8))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archived:
        for number in range(members):
            archived.writestr(f"{number}.npy", big.getvalue())
    return file.getvalue()


def make(sources: list[Source], random: Random) -> Case:
    """One hostile file."""
    source = random.choice(sources)
    makers: list[Callable[[Source, Random], Case]] = [
        plain, plain, header_fields, index, head_fields, head_fields, words, words, words,
        wrong_checksum, prefix, prefix, inner, manifest, manifest,
        lambda s, r: extra(next(s for s in sources if s.name == "npz"), r),
        lambda s, r: around(r.choice([s for s in sources if s.name in AROUND]), r),
        lambda s, r: shuffled(s, r, sources), lambda s, r: swapped_model(s, r, sources),
    ]  # fmt: skip
    return random.choice(makers)(source, random)


def untouched(sources: list[Source]) -> None:
    """Raise unless every source decodes, and does so when it is rebuilt with nothing changed."""
    for source in sources:
        for number, chunk in enumerate(source.chunks):
            seed, held = source.header.seed, source.sets[number]
            found = decode_chunk(
                chunk,
                source.loaded,
                version=source.header.format_version,
                seed=seed,
                number=number,
                images=len(held.pixels),
            )
            assert all(map(np.array_equal, found.images.pixels, held.pixels))
            again = rebuilt(source, number, lambda start: start)
            same = dataclasses.replace(source, data=again).chunks[number]
            found = decode_chunk(
                same,
                source.loaded,
                version=source.header.format_version,
                seed=seed,
                number=number,
                images=len(held.pixels),
            )
            assert all(map(np.array_equal, found.images.pixels, held.pixels))
