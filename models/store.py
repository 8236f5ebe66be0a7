"""Model folders: `config.json`, `model.safetensors`, and the known answer that both must give.

Loading executes nothing from the folder: JSON and safetensors only.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.numpy import save as serialise

from bitsback.ans import compiled
from bitsback.coding.micro_batches import MicroBatches
from bitsback.coding.model import LoadedModel, Model
from bitsback.errors import ModelError
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.exactness import Tensors, check
from bitsback.models.draw.model import DrawModel
from bitsback.models.draw.reference import BlasOps, ReferenceOps
from bitsback.sources.atomic_files import atomic_write
from bitsback.tables import latent_grid
from bitsback.tables.tables import Ints

from .draw import equations
from .known_answer import known_answer

_log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).parent / "weights"
EARLIER = WEIGHTS / "earlier"  # NAME-DIGITS: earlier weights of NAME, for its older files


def names() -> list[str]:
    """The models that ship with the package."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/model.safetensors"))


def folder_of(name_or_folder: str, sha256: bytes = b"") -> Path:
    """The folder of a shipped model's name, or of a path.

    Args:
        sha256: the first bytes of a digest, which choose among all weights that have shipped under
            the name. Without a match, or without bytes, today's weights are meant.

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
    try:
        if (path / "config.json").is_file() and (path / "model.safetensors").is_file():
            return path
    except (OSError, ValueError):  # too long for a path, or with a NUL
        pass
    raise ModelError(
        f"unknown model {name_or_folder[:80]!r}: shipped are {', '.join(names()) or 'none'}; "
        "or give a folder that holds config.json and model.safetensors"
    )


def check_shipped(name: str) -> None:
    """Raise ModelError unless a model of this name ships.

    What a file says of its model may be a path, and is not followed.
    """
    if name not in names():
        raise ModelError(
            f"no model ships under the name {name[:80]!r}: if it lies in a folder, give that folder"
        )


def shipped() -> list[tuple[str, bytes]]:
    """Names and SHA-256 of all weights that ship, those of earlier versions last."""
    weights = []
    for name, folder in [(n, WEIGHTS / n) for n in names()] + [
        (path.name.rpartition("-")[0], path) for path in sorted(EARLIER.iterdir())
    ]:
        fields = json.loads((folder / "config.json").read_text("utf-8"))
        weights.append((name, bytes.fromhex(fields["sha256"])))
    return weights


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What `config.json` says.

    Args:
        config: the architecture.
        log_widths: the grid of each group of latents, (C,) in units of 16 log2(delta), or
            `latent_grid.NIL` for a channel that is not coded.
        sha256: `digest` of the model, in hexadecimal.
        known_answer: what the network must give (see `known_answer`).
    """

    config: DrawConfig
    log_widths: tuple[NDArray[np.int64], ...]
    sha256: str
    known_answer: str

    def to_json(self) -> str:
        """The file's text."""
        fields = {
            "format": 1,
            "config": self.config.to_dict(),
            "log_widths": [[int(w) for w in widths] for widths in self.log_widths],
            "sha256": self.sha256,
            "known_answer": self.known_answer,
        }
        return json.dumps(fields, indent=1) + "\n"

    @classmethod
    def from_fields(cls, fields: object) -> "Manifest":
        """Inverse of `to_json`, from what the JSON holds.

        Raises:
            ModelError: a field is missing, unknown, wrongly typed or impossible.
        """
        if not isinstance(fields, dict) or fields.get("format") != 1:
            raise ModelError("not a model of format 1")
        for name in sorted(_KINDS.keys() ^ fields.keys()):
            raise ModelError(f"field {name!r} is {'missing' if name in _KINDS else 'unknown'}")
        for name, kind in _KINDS.items():
            if not isinstance(fields[name], kind):
                raise ModelError(f"field {name!r} has the wrong type")
        config = DrawConfig.from_dict(fields["config"])
        log_widths = _log_widths(config, fields["log_widths"])
        return cls(config, log_widths, fields["sha256"], fields["known_answer"])


_KINDS = {"format": int, "config": dict, "log_widths": list, "sha256": str, "known_answer": str}


def _log_widths(config: DrawConfig, rows: list[object]) -> tuple[NDArray[np.int64], ...]:
    sizes = [
        config.latents2 if group.layer == 2 else config.latents
        for group in equations.groups(config)
    ]
    widths: list[list[int]] = []
    for row in rows:
        if not isinstance(row, list) or not all(type(w) is int for w in row):
            raise ModelError("field 'log_widths' does not suit the model")
        widths.append(row)
    if [len(row) for row in widths] != sizes:
        raise ModelError("field 'log_widths' does not suit the model")
    if any(w != latent_grid.NIL and not -48 <= w <= 32 for row in widths for w in row):
        raise ModelError("field 'log_widths' is out of range")
    return tuple(np.array(row, np.int64) for row in widths)


def digest(config: DrawConfig, tensors: Tensors, log_widths: Sequence[Ints]) -> bytes:
    """SHA-256 of everything that the decoded pixels depend on, in a fixed order."""
    sha256 = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
    for name in sorted(tensors):
        sha256.update(name.encode() + b"\0")
        sha256.update(np.ascontiguousarray(tensors[name]).astype("<i4").tobytes())
    for widths in log_widths:
        sha256.update(widths.astype("<i4").tobytes())
    return sha256.digest()


def save(
    folder: Path, config: DrawConfig, tensors: Tensors, log_widths: Sequence[NDArray[np.int64]]
) -> None:
    """Write a model folder.

    Raises:
        ModelError: the weights are not exact.
    """
    check(config, tensors)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        config,
        tuple(log_widths),
        sha256=digest(config, tensors, log_widths).hex(),
        known_answer=known_answer(config, ReferenceOps(config, tensors)),
    )
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    atomic_write(folder / "model.safetensors", serialise(contiguous))
    atomic_write(folder / "config.json", manifest.to_json().encode())


def read(folder: Path) -> tuple[Manifest, Tensors]:
    """What a model folder's `config.json` says, and the weights by name.

    Raises:
        ModelError: a file is missing or damaged; the sentence names it.
    """
    try:
        fields: object = json.loads((folder / "config.json").read_text("utf-8"))
        tensors = load_file(folder / "model.safetensors")
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error.strerror}") from error
    # Types that NumPy lacks, such as BF16, raise a TypeError or an AttributeError.
    except (ValueError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise ModelError(f"{folder}: config.json or model.safetensors is damaged") from error
    with _named(folder / "config.json"):
        manifest = Manifest.from_fields(fields)
    with _named(folder / "model.safetensors"):
        check(manifest.config, tensors)
    return manifest, tensors


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors within begin with the path of the file that they are about."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def load(
    name_or_folder: str,
    device: str = "auto",
    engine: str = "auto",
    micro_batch: int | None = None,
    sha256: bytes = b"",
) -> LoadedModel:
    """A model ready to code.

    Args:
        name_or_folder, sha256: as of `folder_of`.
        device: "auto", "cpu" or "cuda", for torch.
        engine: "torch"; "numpy", the same bits without torch; "auto": torch where it is installed.
        micro_batch: the largest number of images in one evaluation of the network; None for as
            many as the file's batches hold.

    Raises:
        ModelError: unknown, damaged, altered, or not exact on this device.
    """
    began = time.perf_counter()
    folder = folder_of(name_or_folder, sha256)
    manifest, tensors = read(folder)
    config = manifest.config
    sha256 = digest(config, tensors, manifest.log_widths)
    if manifest.sha256 != sha256.hex():
        raise ModelError(f"{folder}/config.json: field 'sha256' is not that of the weights")
    engine = engine_of(engine)
    model = _draw_model(manifest, tensors, device, engine)
    _log.info(
        "model %s: %s, SHA-256 %s..., %s parameters, loops %s; loaded in %.2f s",
        folder.name,
        f"engine {engine}",
        sha256.hex()[:16],
        f"{sum(value.size for value in tensors.values()):,}",
        "of NumPy" if compiled.loops("ans") is None else "compiled by numba",
        time.perf_counter() - began,
    )
    return LoadedModel(
        name=name_or_folder if folder.parent == EARLIER else folder.name,
        sha256=sha256,
        model=model if micro_batch is None else MicroBatches(model, micro_batch),
        channels=config.channels,
        binary=config.likelihood == "bernoulli",
        tiles=config.tiles,
        batch=config.batch,
        multiple=config.multiple,
        clips=True,
    )


def engine_of(name: str) -> str:
    """The engine that "auto", "torch" or "numpy" is here.

    Raises:
        ModelError: there is no such engine.
    """
    if name == "auto":
        return "numpy" if importlib.util.find_spec("torch") is None else "torch"
    if name not in ("torch", "numpy"):
        raise ModelError(f"unknown engine {name!r}: auto, torch or numpy")
    return name


def _draw_model(manifest: Manifest, tensors: Tensors, device: str, engine: str) -> Model[Any, Any]:
    config, log_widths = manifest.config, manifest.log_widths
    if engine == "numpy":
        if device not in ("auto", "cpu"):
            raise ModelError(f"the engine numpy computes on the CPU, not on {device!r}")
        numpy_ops = BlasOps(config, tensors)
        if known_answer(config, numpy_ops) != manifest.known_answer:
            raise ModelError("NumPy does not compute the model exactly: its known answer differs")
        return DrawModel(config, numpy_ops, log_widths)
    try:
        from . import engine as engines
    except ImportError as error:
        raise ModelError(
            "torch is not installed: pip install 'bitsback[torch]', or take the engine numpy, "
            "which gives the same bits"
        ) from error
    where = engines.device_of(device)
    ops = engines.integer_ops(config, tensors, manifest.known_answer, where)
    return DrawModel(config, ops, log_widths)
