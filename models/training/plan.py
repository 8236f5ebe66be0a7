"""The TOML file of a training run: the model, and how it is trained."""

import dataclasses
import math
import tomllib
from pathlib import Path
from typing import Any

from bitsback.errors import InputError, ModelError
from bitsback.models.draw.config import DrawConfig


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How long and how a model is trained.

    Args:
        updates: optimiser steps in all.
        batch: images per step, for each process that trains.
        learning_rate: Adam's, after warm-up, before the cosine decay to a twentieth.
        warmup: steps of linear warm-up.
        beta: weight of the likelihood in the objective (eq. 11).
        sizes: of crops, from the model's smallest tile up, each twice the one before; they take
            turns, with the same number of pixels.
        vary: share of the crops that are varied at random (see `augment`).
        chroma: share of the colour crops whose chroma is halved and interpolated again, as that of
            most photographs once was (see `augment.halved_chroma`).
        camera: share of the crops that get a sensor's noise and a camera's sharpening.
        dropout: share of the LSTMs' outputs that are nil in training.
        muon: whether hidden layers are trained by Muon and the rest by Adam (see `optimisers`).
        weight_norm: whether weights are trained as gains and directions (see `network`).
        kl_warmup: steps over which the weight of the KL rises to 1: pixels in passes are learned
            sooner than latents, which else may never be used.
        free_bits: nats of KL that each latent map of a step has for nothing, in a crop of the
            smallest size, mean over the batch of a process (see `losses.Losses.kl_paid`).
        clip: largest global norm of the gradient.
        ema: decay of the averaged parameters, which are the ones exported.
        quantise_from: share of the updates after which the network runs on its integer grids.
        bf16: whether convolutions before that run in bfloat16 (1.4 times as fast on a CPU with
            AVX512-BF16; slower on one that emulates it).
        spike: a loss above this many standard deviations over its running mean is a spike.
        snapshot: steps between the copies to which a spike reverts.
        seed: of parameters, batches and latents.
    """

    updates: int
    batch: int = 32
    learning_rate: float = 5e-4
    warmup: int = 100
    beta: float = 1.0
    sizes: int = 1
    vary: float = 0.0
    chroma: float = 0.0
    camera: float = 0.0
    dropout: float = 0.0
    muon: bool = False
    weight_norm: bool = False
    kl_warmup: int = 0
    free_bits: float = 0.0
    clip: float = 5.0
    ema: float = 0.998
    quantise_from: float = 0.9
    bf16: bool = True
    spike: float = 8.0
    snapshot: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        problems = {
            "updates": self.updates < 1,
            "batch": self.batch < 1,
            "learning_rate": not 0 < self.learning_rate < math.inf,
            "warmup": self.warmup < 0,
            "beta": not 0 < self.beta < math.inf,
            "sizes": not 1 <= self.sizes <= 4,
            "vary": not 0 <= self.vary <= 1,
            "chroma": not 0 <= self.chroma <= 1,
            "camera": not 0 <= self.camera <= 1,
            "dropout": not 0 <= self.dropout < 1,
            "muon": self.muon and self.weight_norm,
            "kl_warmup": self.kl_warmup < 0,
            "free_bits": not 0 <= self.free_bits < math.inf,
            "clip": not self.clip > 0,
            "ema": not 0 <= self.ema < 1,
            "quantise_from": not 0 <= self.quantise_from <= 1,
            "spike": not self.spike > 0,
            "snapshot": self.snapshot < 1,
            "seed": not 0 <= self.seed < 2**31,
        }
        wrong = [name for name, is_wrong in problems.items() if is_wrong]
        if wrong:
            raise ModelError(f"[training] has an impossible value for {wrong[0]!r}")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def read_config(path: Path) -> tuple[DrawConfig, TrainConfig]:
    """The [model] and [training] tables of a TOML file.

    Raises:
        InputError: the file cannot be read or is not TOML.
        ModelError: a field is unknown, missing, wrongly typed or impossible.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # TOMLDecodeError, or bytes that are not UTF-8
        raise InputError(f"{path}: not a TOML file: {error}") from error
    for name, table in tables.items():
        if name not in ("model", "training") or not isinstance(table, dict):
            raise ModelError(f"{path}: {name!r} is not one of the tables [model] and [training]")
    model = DrawConfig.from_dict(tables.get("model", {}))
    fields = tables.get("training", {})
    known: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(TrainConfig)}
    for name, value in fields.items():
        if name not in known:
            raise ModelError(f"{path}: unknown field {name!r} in [training]")
        accepted = (int, float) if known[name] is float else (known[name],)
        if type(value) not in accepted:
            kind = _KINDS[known[name]]
            raise ModelError(f"{path}: field {name!r} in [training] is not {kind}")
    if "updates" not in fields:
        raise ModelError(f"{path}: [training] needs 'updates', at least 1")
    return model, TrainConfig(**fields)
