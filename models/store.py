"""Model folders: `config.json`, `model.safetensors`, and the known answer that both must give.

Loading executes nothing from the folder: JSON and safetensors only.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as serialise

from bitsback.coding.micro_batches import MicroBatches
from bitsback.coding.model import LoadedModel
from bitsback.errors import ModelError
from bitsback.models.draw import equations
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.exactness import Tensors, check
from bitsback.models.draw.model import DrawModel, IntegerArithmetic
from bitsback.models.draw.reference import ReferenceOps
from bitsback.sources.atomic_files import atomic_write
from bitsback.tables import latent_grid

from .known_answer import known_answer

WEIGHTS = Path(__file__).parent / "weights"
EARLIER = WEIGHTS / "earlier"  # NAME-DIGITS: what NAME once was, for the files written with it


def names() -> list[str]:
    """The models that ship with the package."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/model.safetensors"))


def folder_of(name_or_folder: str, sha256: bytes = b"") -> Path:
    """The folder of a shipped model's name, or of a path.

    Args:
        sha256: its first bytes say which of the weights that have shipped under the name; if there
            are none such, or no bytes, today's.

    Raises:
        ModelError: there is no such model.
    """
    if name_or_folder in names():
        for folder in sorted(EARLIER.glob(f"{name_or_folder}-*")):
            digits = folder.name.removeprefix(f"{name_or_folder}-")
            if sha256 and sha256.hex().startswith(digits):
                return folder
        return WEIGHTS / name_or_folder
    path = Path(name_or_folder)
    if (path / "config.json").is_file() and (path / "model.safetensors").is_file():
        return path
    raise ModelError(
        f"unknown model {name_or_folder!r}: shipped are {', '.join(names()) or 'none'}; "
        "or give a folder that holds config.json and model.safetensors"
    )


def shipped() -> list[tuple[str, bytes]]:
    """Names and SHA-256 of all weights that ship, those of earlier versions last."""
    found = []
    for name, folder in [(n, WEIGHTS / n) for n in names()] + [
        (path.name.rpartition("-")[0], path) for path in sorted(EARLIER.iterdir())
    ]:
        fields = json.loads((folder / "config.json").read_text())
        found.append((name, bytes.fromhex(fields["sha256"])))
    return found


def digest(config: DrawConfig, tensors: Tensors, log_widths: list[np.ndarray]) -> bytes:
    """SHA-256 of everything that the decoded pixels depend on, in a fixed order."""
    found = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
    for name in sorted(tensors):
        found.update(name.encode() + b"\0")
        found.update(np.ascontiguousarray(tensors[name]).astype("<i4").tobytes())
    for widths in log_widths:
        found.update(widths.astype("<i4").tobytes())
    return found.digest()


def save(folder: Path, config: DrawConfig, tensors: Tensors, log_widths: list[np.ndarray]) -> None:
    """Write a model folder.

    Raises:
        ModelError: the weights are not exact.
    """
    check(config, tensors)
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "format": 1,
        "config": config.to_dict(),
        "log_widths": [[int(w) for w in widths] for widths in log_widths],
        "sha256": digest(config, tensors, log_widths).hex(),
        "known_answer": known_answer(config, ReferenceOps(config, tensors)),
    }
    text = json.dumps(fields, indent=1) + "\n"
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    atomic_write(folder / "model.safetensors", serialise(contiguous))
    atomic_write(folder / "config.json", text.encode())


def read(folder: Path) -> tuple[DrawConfig, Tensors, list[np.ndarray], dict[str, Any]]:
    """A model folder's configuration, weights, grids, and all fields of its `config.json`.

    Raises:
        ModelError: a file is missing or damaged; the sentence names it.
    """
    try:
        fields = json.loads((folder / "config.json").read_text())
        tensors = load_file(folder / "model.safetensors")
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error.strerror}") from error
    # Types that NumPy has not, such as BF16, end in a TypeError or an AttributeError.
    except (ValueError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise ModelError(f"{folder}: config.json or model.safetensors is damaged") from error
    with _named(folder / "config.json"):
        config = _config(fields)
        log_widths = _log_widths(config, fields["log_widths"])
    with _named(folder / "model.safetensors"):
        check(config, tensors)
    return config, tensors, log_widths, fields


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let what is refused say in which file it is."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _config(fields: Any) -> DrawConfig:
    if not isinstance(fields, dict) or fields.get("format") != 1:
        raise ModelError("not a model of format 1")
    kinds = {"format": int, "config": dict, "log_widths": list, "sha256": str, "known_answer": str}
    for name in sorted(kinds.keys() ^ fields.keys()):
        raise ModelError(f"field {name!r} is {'missing' if name in kinds else 'unknown'}")
    for name, kind in kinds.items():
        if not isinstance(fields[name], kind):
            raise ModelError(f"field {name!r} has the wrong type")
    return DrawConfig.from_dict(fields["config"])


def _log_widths(config: DrawConfig, rows: list[Any]) -> list[np.ndarray]:
    sizes = [
        config.latents2 if group.layer == 2 else config.latents
        for group in equations.groups(config)
    ]
    right = all(isinstance(row, list) and all(type(w) is int for w in row) for row in rows)
    if not right or [len(row) for row in rows] != sizes:
        raise ModelError("field 'log_widths' does not suit the model")
    if any(w != latent_grid.NIL and not -48 <= w <= 32 for row in rows for w in row):
        raise ModelError("field 'log_widths' is out of range")
    return [np.array(row, np.int64) for row in rows]


def load(
    name_or_folder: str,
    device: str = "auto",
    engine: str = "torch",
    micro_batch: int | None = None,
    sha256: bytes = b"",
) -> LoadedModel:
    """A model ready to code.

    Args:
        name_or_folder, sha256: as of `folder_of`.
        device: "auto", "cpu" or "cuda", for torch.
        engine: "torch", or "numpy": the int64 reference, slow, for machines without torch.
        micro_batch: the most images that the network is given at once, however many a batch of
            the file holds; None for all of them.

    Raises:
        ModelError: unknown, damaged, altered, or not exact on this device.
    """
    folder = folder_of(name_or_folder, sha256)
    config, tensors, log_widths, fields = read(folder)
    found = digest(config, tensors, log_widths)
    if fields["sha256"] != found.hex():
        raise ModelError(f"{folder}/config.json: field 'sha256' is not that of the weights")
    ops = _arithmetic(config, tensors, fields["known_answer"], device, engine)
    model = DrawModel(config, ops, log_widths)
    return LoadedModel(
        name=name_or_folder if folder.parent == EARLIER else folder.name,
        sha256=found,
        model=model if micro_batch is None else MicroBatches(model, micro_batch),
        channels=config.channels,
        binary=config.likelihood == "bernoulli",
        tiles=config.tiles,
        batch=config.batch,
        multiple=config.multiple,
    )


def _arithmetic(
    config: DrawConfig, tensors: Tensors, answer: str, device: str, engine: str
) -> IntegerArithmetic:
    if engine == "numpy":
        return ReferenceOps(config, tensors)
    if engine != "torch":
        raise ModelError(f"unknown engine {engine!r}: torch or numpy")
    try:
        from . import engine as engines
    except ImportError as error:
        raise ModelError("torch is not installed: use the engine numpy, which is slow") from error
    return engines.integer_ops(config, tensors, answer, engines.device_of(device))
