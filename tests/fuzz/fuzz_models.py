"""Hostile model folders: damage of every layer, their digest forged where it can be."""

import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from fuzz_files import JUNK, NUMBERS, damage
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bitsback.errors import ModelError
from bitsback.models import store
from bitsback.models.draw.config import DrawConfig

NAMES = ["bits", "colour"]  # models that are folders
TEXTS = [b"", b"{", b"null", b"[]", b"[" * 100_000, b"9" * 9000, b"\xff\xfe", b'{"format":1}']
DTYPES = ["BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "F16", "BF16", "F32", "F64", "I64", "U64"]
DTYPES += ["F8_E4M3", "F8_E5M2", "C64", "F4", "X", "", 7, None]


def make(folder: Path, source: Path, random: Random) -> str:
    """Write a hostile copy of a model folder; returns the kind of its damage."""
    shutil.copytree(source, folder)
    makers: list[Callable[[Path, Random], None]] = [
        config_text, fields, fields, fields, weights_bytes, weights_header, tensors, tensors,
        missing,
    ]  # fmt: skip
    maker = random.choice(makers)
    maker(folder, random)
    if random.random() < 0.5:
        forge_digest(folder)
    return f"model {maker.__name__}"


def config_text(folder: Path, random: Random) -> None:
    """config.json damaged, or text that is none."""
    path = folder / "config.json"
    text = path.read_bytes()
    path.write_bytes(damage(text, random) if random.random() < 0.7 else random.choice(TEXTS))


def fields(folder: Path, random: Random) -> None:
    """Fields unknown, missing, of wrong types, or at extremes."""
    path = folder / "config.json"
    found = json.loads(path.read_text())
    for _ in range(random.choice([1, 1, 2])):
        within = random.choice([found, found["config"], found["config"]])
        if not isinstance(within, dict) or not within:
            break
        key = random.choice([*within, *(["unknown"] if random.random() < 0.1 else [])])
        match random.randrange(4):
            case 0 if random.random() < 0.3:
                within.pop(key, None)
            case 1 if key == "log_widths" and isinstance(within[key], list) and within[key]:
                row = random.choice(list(within[key]))
                if isinstance(row, list) and row:
                    row[random.randrange(len(row))] = random.choice([-48, 32, 33, 127, 128, *JUNK])
            case 2:
                within[key] = random.choice(JUNK)
            case _:
                small = [1, 2, 3, 4, 5, 7, 8, 16, 64, 1024, 65535]
                words = ["bernoulli", "gaussian", "logistic", "constant"]
                within[key] = random.choice([*small, *NUMBERS, *words])
        if not isinstance(found.get("config"), dict):
            break
    path.write_text(json.dumps(random.choice([found] * 20 + JUNK)))


def weights_bytes(folder: Path, random: Random) -> None:
    """model.safetensors damaged as disks do it."""
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes(), random))


def weights_header(folder: Path, random: Random) -> None:
    """The header of model.safetensors: its length, and what it says of tensors."""
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    if random.random() < 0.2:
        path.write_bytes(struct.pack("<Q", random.choice(NUMBERS)) + data[8:])
        return
    name = random.choice(list(header))
    entry = header[name]
    match random.randrange(5):
        case 0:
            entry["dtype"] = random.choice(DTYPES)
        case 1:
            entry["shape"] = random.choice(
                [
                    [],
                    [0],
                    [2**63],
                    [2**32, 2**32],
                    [-1],
                    [0, 2**62],
                    [1] * 100,
                    entry["shape"][::-1],
                ]
            )
        case 2:
            entry["data_offsets"] = [
                random.choice([*entry["data_offsets"], *NUMBERS]) for _ in "ab"
            ]
        case 3:
            header[random.choice(["__metadata__", "more", name])] = random.choice(JUNK)
        case _:
            # A tensor of another type whose sizes all fit.
            kind = random.choice(DTYPES)
            count = entry["data_offsets"][1] - entry["data_offsets"][0]
            width = {"8": 1, "L": 1, "6": 2, "2": 4, "4": 8}.get(str(kind)[-1:], 1)
            entry |= {"dtype": kind, "shape": [count // width]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)


def tensors(folder: Path, random: Random) -> None:
    """Tensors missing, unknown, of other shapes, types and values."""
    path = folder / "model.safetensors"
    found = load_file(path)
    name = random.choice(list(found))
    value = found[name]
    match random.randrange(6):
        case 0:
            del found[name]
        case 1:
            found["more"] = np.zeros(3, np.int16)
        case 2:
            found[name] = np.full(value.shape, random.choice([np.nan, np.inf, 1]), np.float32)
        case 3:
            shape = random.choice([(0,), (), (value.size,), (1, *value.shape), (2**20,)])
            fits = math.prod(shape) == value.size
            found[name] = value.reshape(shape) if fits else np.zeros(shape, value.dtype)
        case 4:
            kind = np.iinfo(value.dtype)
            value.flat[random.randrange(value.size)] = random.choice([kind.min, kind.max, 0, 1, -1])
        case _:
            kind = np.iinfo(value.dtype)
            value[...] = random.choice([kind.min, kind.max, 0, 1, -1])
    path.write_bytes(save({key: np.ascontiguousarray(part) for key, part in found.items()}))


def missing(folder: Path, random: Random) -> None:
    """A file is absent, a folder, or a link to itself."""
    path = folder / random.choice(["config.json", "model.safetensors"])
    path.unlink()
    match random.randrange(3):
        case 0:
            path.mkdir()
        case 1:
            path.symlink_to(path)


def forge_digest(folder: Path) -> None:
    """Write the digest that suits what the folder now says, if it says anything."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text())
        if not isinstance(found["config"], dict):
            return
        config = DrawConfig.from_dict(found["config"])
        widths = [np.array(row, np.int64) for row in found["log_widths"]]
        weights = load_file(folder / "model.safetensors")
        with np.errstate(invalid="ignore"):  # NaN, which the loader refuses
            found["sha256"] = store.digest(config, weights, widths).hex()
        path.write_text(json.dumps(found))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError, ModelError):
        return
    except (SafetensorError, AttributeError):  # AttributeError for a type that NumPy lacks
        return
