"""Hostile lossy files: header and stack damaged, checksums forged, and version 1, without any."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from conftest import SMALL, random_model
from fuzz_files import NUMBERS, damage

from bitsback.coding.model import LoadedModel
from bitsback.format import varint
from bitsback.lossy import coder, container
from bitsback.lossy import files as lossy_files
from bitsback.models import store

ONE_LAYER = dataclasses.replace(
    SMALL, channels=3, likelihood="gaussian", posterior="constant", steps=3, stride=4
)
CONFIGS = {
    "lossy": ONE_LAYER,
    "lossy-two": dataclasses.replace(ONE_LAYER, layers=2, maps2=3, latents2=1, stride=2),
}
# Pixels of a hostile file of version 1, whose limit is too wide for the fuzzer's seconds.
_MOST_1 = 1 << 20


@dataclasses.dataclass(frozen=True)
class LossySource:
    """A whole lossy file, and what it decodes to with variance 1 and seed 0."""

    name: str
    loaded: LoadedModel
    data: bytes
    wanted: np.ndarray

    @property
    def header(self) -> container.LossyHeader:
        """Its header."""
        return container.unpack(self.data)[0]


@dataclasses.dataclass(frozen=True)
class LossyCase:
    """A hostile lossy file; one that is not `forged` gives the source's images, or an error."""

    kind: str
    source: LossySource
    data: bytes
    forged: bool = True


def build(folder: Path) -> list[LossySource]:
    """Files of tiny models: an image, a gray one, a set, the higher layer, a large blank image."""
    random = np.random.default_rng(0)
    sets = {
        "image": random.integers(0, 256, (1, 20, 12, 3), np.uint8),
        "gray": random.integers(0, 256, (1, 16, 16, 1), np.uint8),
        "set": random.integers(0, 256, (5, 8, 8, 3), np.uint8),
        "large": random.integers(0, 256, (1, 150, 130, 3), np.uint8),
        "blank": np.zeros((2, 200, 200, 1), np.uint8),
    }
    found = []
    for model, config in CONFIGS.items():
        store.save(folder / model, config, *random_model(config))
        loaded = store.load(str(folder / model), "cpu")
        for name, images in sets.items():
            high = config.layers == 2 and name != "gray"
            data = coder.encode(images, loaded, 2, high, bare=len(images) > 1).data
            found.append(LossySource(name, loaded, data, coder.decode(data, loaded)))
    return found


def plain(source: LossySource, random: Random) -> LossyCase:
    """Damage as disks and networks do it."""
    return LossyCase("lossy plain", source, damage(source.data, random), forged=False)


def body(source: LossySource, random: Random) -> LossyCase:
    """Any bytes after the first three altered, under a right checksum."""
    data = source.data[:3] + damage(source.data[3 : -container.CHECKSUM], random)
    return LossyCase("lossy body", source, container.sealed(data))


def claims(source: LossySource, random: Random) -> LossyCase:
    """Sizes, counts and heads at their extremes, with little or much data, a right checksum."""
    header = source.header
    bits = int.from_bytes(source.data[:3], "big")
    if random.random() < 0.3:
        bits ^= 1 << random.randrange(24)
    version = 2 if random.random() < 0.8 else 1
    sides = [random.choice([1, 8, 100, 1000, 1448, 5792, *NUMBERS]) for _ in "hw"]
    if random.random() < 0.3:
        sides = [header.height, header.width]
    images = random.choice([1, 64, 4096, 2**20, 2**21, 2**25, *NUMBERS])
    if version == 1:
        bits += 2 << 21
        if sides[0] * sides[1] * images > _MOST_1:
            sides, images = [8, 8], 100
    head = (bits % 2**24).to_bytes(3, "big") + b"".join(map(varint.pack, sides))
    head += varint.pack(images) if bits >> 21 in (4, 6) else b""
    head += bytes([random.choice([0, 0, 0, 1, 12, 13, 255])])
    size = random.choice([0, 1, 4, 7, 8, 40, 400, 8000, 20_000])
    code = random.choice([random.randbytes(size), bytes(size), b"\1" + bytes(size)])
    data = head + code
    return LossyCase("lossy claims", source, container.sealed(data) if version == 2 else data)


def version_1(source: LossySource, random: Random) -> LossyCase:
    """The file as version 1 had it, which has no checksum, altered."""
    bits = int.from_bytes(source.data[:3], "big") + (2 << 21)
    data = bits.to_bytes(3, "big") + source.data[3 : -container.CHECKSUM]
    return LossyCase("lossy version 1", source, damage(data, random))


def make(sources: list[LossySource], random: Random) -> LossyCase:
    """One hostile lossy file."""
    makers: list[Callable[[LossySource, Random], LossyCase]] = [plain, body, claims, version_1]
    return random.choice(makers)(random.choice(sources), random)


def decode(case: LossyCase, random: Random, output: Path) -> bool:
    """Decode and write a hostile file; whether the images are the source's.

    Raises:
        BitsbackError: it was refused.
    """
    found = coder.decode(case.data, case.source.loaded)
    lossy_files.write(found, output / random.choice(["out.npy", "out.png", "out"]))
    return np.array_equal(found, case.source.wanted)
