"""Training a conv DRAW: Adam, EMA, clipping, reverted loss spikes, alone or in part.

Needs torch, NumPy and safetensors only, so that it runs on a bare GPU machine.

Source: section 4 of Towards Conceptual Compression (Adam, 5e-4; on a loss spike the parameters
go back to an older copy and training goes on).
"""

import dataclasses
import functools
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bitsback.errors import ModelError
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.floats import WHOLE, Part

from . import distributed, losses, validation
from .data import TrainingImages, count_of
from .network import DrawNetwork, join_gains, split_gains
from .optimisers.choice import optimisers
from .plan import TrainConfig

VALIDATE_EVERY = 500


@dataclasses.dataclass(frozen=True)
class TrainingProgress:
    """What the trainer reports: where it is, and how well it codes.

    held_out: bits/dim of the averaged parameters on images that are not trained on, every
        `VALIDATE_EVERY` updates and at the end.
    """

    update: int
    updates: int
    bits_per_dim: float
    kl_bits_per_dim: float
    images_per_second: float
    seconds_left: float
    held_out: float | None = None

    @property
    def rate(self) -> str:
        """The rates as text."""
        held = "" if self.held_out is None else f", held out {self.held_out:.4f}"
        return f"{self.bits_per_dim:.4f} bits/dim{held}"


class Trainer:
    """Owns all state of a run: parameters, their average, Adam's moments, random streams.

    Args:
        device: of this process.
        held: images that are not trained on, to validate with.
        part: which part this process takes of batches of `part.size * train.batch` images; the
            trainers of all parts hold the same state after every update, and what they report is
            of the whole batch.

    Raises:
        ModelError: some batch cannot be parted evenly, or chroma is to be halved where there is
            none.
    """

    def __init__(
        self,
        model: DrawConfig,
        train: TrainConfig,
        images: TrainingImages,
        device: str,
        held: TrainingImages | None = None,
        part: Part = WHOLE,
    ) -> None:
        self.model, self.train, self.held, self.part = model, train, held, part
        self.batch = _whole_batch(train, part)
        if train.chroma and model.channels != 3:
            raise ModelError("[training] has 'chroma', but the model's images have no colour")
        self.images = dataclasses.replace(
            images, vary=train.vary, chroma=train.chroma, camera=train.camera
        )
        self.device = torch.device(device)
        torch.manual_seed(train.seed)
        self.network = DrawNetwork(model, train.seed, train.weight_norm).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.params: list[Tensor] = list(self.network.parameters())
        self.average = [p.detach().clone() for p in self.params]
        self.optimisers = optimisers(self.network, train)
        self.update = 0
        self.seconds = 0.0
        self.running = (0.0, 0.0, 0)  # mean, mean square, count of recent losses
        self.history: list[dict[str, Any]] = []
        self.groups: list[float] = []  # the last update's KL of each group, nats per image
        self.snapshots: list[list[Tensor]] = []
        self.reverted: list[int] = []

    @functools.cached_property
    def objective(self) -> nn.Module:
        """What an update evaluates; made by the first one, since all processes must be there."""
        return distributed.averaging(losses.Objective(self.network, self.part), self.part)

    def begin(self, params: dict[str, Tensor]) -> None:
        """Start from these parameters, where they have a name and shape of the network's own.

        Residual blocks that they lack begin as nothing, so that a deeper network starts from what
        the other one has learned.

        Raises:
            ModelError: none has.
        """
        params = split_gains(params) if self.train.weight_norm else params
        names = list(self.network.named())
        common = [
            (p, mean, params[name])
            for name, p, mean in zip(names, self.params, self.average, strict=True)
            if name in params and params[name].shape == p.shape
        ]
        if not common:
            raise ModelError("the model to start from has no parameters in common with this one")
        # A direction cannot be nil, but its gain can.
        outer = "gain/outer" if self.train.weight_norm else "outer"
        with torch.no_grad():
            for name, p, mean in zip(names, self.params, self.average, strict=True):
                if name.startswith(outer) and name not in params:
                    p.zero_()
                    mean.zero_()
            for p, mean, value in common:
                p.copy_(value)
                mean.copy_(value)

    def rate(self) -> float:
        """The learning rate of this update: linear warm-up, then cosine decay."""
        warm = min(1.0, (self.update + 1) / max(1, self.train.warmup))
        done = self.update / self.train.updates
        return (
            self.train.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
        )

    def one_update(self) -> tuple[float, float]:
        """One optimiser step; returns nats per image, in all and of the latents alone."""
        train = self.train
        quantised = self.quantised()
        scale = 1 << self.update % train.sizes
        whole = self.images.batch(self.batch, train.seed, self.update, scale)
        levels = self.part.of(whole).to(self.device)
        autocast = torch.autocast(
            self.device.type, torch.bfloat16, enabled=train.bf16 and not quantised
        )
        torch.manual_seed((train.seed << 32) + self.update)
        with autocast:
            costs: losses.Losses = self.objective(levels.float(), quantised, train.dropout)
        by_group = costs.kl.mean(1) / scale**2  # per crop of the smallest size
        kl = by_group.sum()
        paid = costs.kl_paid(train.free_bits * scale**2) / scale**2
        likelihood = costs.likelihood.mean() / scale**2
        rising = min(1.0, (self.update + 1) / max(1, train.kl_warmup))
        total = (train.beta * likelihood + rising * paid) / self.images.dims
        self.network.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(self.params, train.clip))
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = self.rate()
        values = [float(v.detach()) for v in (total, likelihood + kl, kl, *by_group)]
        value, nats, kl_nats, *self.groups = distributed.mean(values, self.part)
        if not math.isfinite(norm) or self.is_spike(value):
            self.revert()
        else:
            for optimiser in self.optimisers.values():
                optimiser.step()
            self.follow()
        self.update += 1
        return nats, kl_nats

    def is_spike(self, value: float) -> bool:
        """Whether the loss jumped; keeps the running statistics and the older parameters."""
        mean, square, count = self.running
        deviation = math.sqrt(max(square - mean * mean, 1e-12))
        jumped = count > 50 and value > mean + max(self.train.spike * deviation, 0.2 * mean)
        if not math.isfinite(value) or jumped:
            return True
        keep = 0.99 if count > 100 else count / (count + 1)
        self.running = (
            keep * mean + (1 - keep) * value,
            keep * square + (1 - keep) * value * value,
            count + 1,
        )
        if self.update % self.train.snapshot == 0:
            copies = [p.detach().clone() for p in [*self.params, *self.average]]
            self.snapshots = [*self.snapshots[-1:], copies]
        return False

    def revert(self) -> None:
        """Back to the older of two kept copies, so that the jump is not in it.

        The average goes back too, since it has followed the parameters into the jump.
        """
        if not self.snapshots:
            raise ModelError("the loss is not finite from the first step: lower learning_rate")
        self.snapshots = self.snapshots[:1]
        with torch.no_grad():
            for p, older in zip([*self.params, *self.average], self.snapshots[0], strict=True):
                p.copy_(older)
        for optimiser in self.optimisers.values():
            optimiser.state.clear()
        self.running = (0.0, 0.0, 0)
        self.reverted.append(self.update)

    def follow(self) -> None:
        """Move the averaged parameters towards the present ones."""
        decay = min(self.train.ema, (1 + self.update) / (10 + self.update))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.params, 1 - decay)

    def run(self, seconds: float | None = None, log_every: int = 50) -> Iterator[TrainingProgress]:
        """Train until done or until `seconds` have passed, reporting as it goes.

        When to stop is for the first process to say; it alone validates.
        """
        began, first, before = time.monotonic(), self.update, self.seconds
        nats: list[list[float]] = []
        to_bits = 1 / math.log(2) / self.images.dims
        while self.update < self.train.updates:
            update_nats = self.one_update()
            if math.isfinite(update_nats[0]):
                nats.append([*update_nats, *self.groups])
            spent = time.monotonic() - began
            self.seconds = before + spent
            speed = (self.update - first) / spent
            late = seconds is not None and distributed.told(spent >= seconds, self.part)
            ended = late or self.update == self.train.updates
            if self.update % log_every == 0 or ended:
                due = self.update % VALIDATE_EVERY == 0 or ended
                held = self.validate() if due and self.part.first else None
                total, kl, *by_group = np.mean(nats or [[math.nan, math.nan]], 0).tolist()
                progress = TrainingProgress(
                    self.update,
                    self.train.updates,
                    total * to_bits,
                    kl * to_bits,
                    speed * self.batch,
                    (self.train.updates - self.update) / speed,
                    held,
                )
                if nats:  # JSON has no NaN
                    record = {
                        "update": self.update,
                        "seconds": round(self.seconds, 1),
                        "nats": round(total, 4),
                        "kl_nats": round(kl, 4),
                        "bits_per_dim": round(total * to_bits, 5),
                        "kl_nats_by_group": [round(group, 3) for group in by_group],
                    }
                    if held is not None and math.isfinite(held):
                        record["held_out_bits_per_dim"] = round(held, 5)
                    self.history.append(record)
                    nats.clear()
                yield progress
            if late:
                break

    def validate(self) -> float | None:
        """Bits/dim of the averaged parameters on the held-out images, if there are any."""
        if self.held is None:
            return None
        params = join_gains(dict(zip(self.network.named(), self.average, strict=True)))
        return validation.bits_per_dim(
            self.model, params, self.quantised(), self.held, self.train.seed
        )

    def quantised(self) -> bool:
        """Whether this update is on the integer grids."""
        return self.update >= self.train.quantise_from * self.train.updates

    def averaged(self) -> dict[str, Tensor]:
        """The averaged parameters by name: the ones to export."""
        params = join_gains(dict(zip(self.network.named(), self.average, strict=True)))
        return {name: value.cpu() for name, value in params.items()}


def _whole_batch(train: TrainConfig, part: Part) -> int:
    """TrainingImages that all processes take together.

    Raises:
        ModelError: of some size of crops there is no equal number for each process.
    """
    whole = part.size * train.batch
    for scale in (1 << i for i in range(train.sizes)):
        crops = count_of(whole, scale)
        if crops % part.size:
            raise ModelError(
                f"{part.size} processes cannot share the {whole} images of their batches evenly "
                f"at {scale} times the side ({crops} of them): let 'batch' be a multiple of "
                f"{4 ** (train.sizes - 1)}"
            )
    return whole
