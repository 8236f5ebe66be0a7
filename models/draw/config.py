"""The one frozen description of a convolutional DRAW, stored with its weights."""

import dataclasses
from typing import Any, Literal

from bitsback.errors import ModelError

from .grids import HIDDEN_BITS, PIXEL_BITS, RESIDUAL_LIMIT

Likelihood = Literal["bernoulli", "gaussian", "logistic"]
Posterior = Literal["gaussian", "constant"]

# Fields that earlier models lack: their SHA-256, which every file names, must stay as it was.
_LATER = (
    "pass_maps",
    "blocks",
    "head_maps",
    "head_blocks",
    "finer_hidden",
    "finer_means",
    "residual",
)
# Levels of 2x2 blocks by the number of passes.
_LEVELS = {1: 0, 4: 1, 7: 2, 10: 3}


@dataclasses.dataclass(frozen=True)
class DrawConfig:
    """Architecture of a one- or two-layer convolutional DRAW.

    Args:
        channels: colour channels of an image, 1 or 3.
        likelihood: "bernoulli" (binary pixels), "gaussian" (the paper's eq. 8-10) or "logistic"
            (a mixture of discretised logistics, later channels conditioned on earlier ones).
        mixtures: components of the logistic mixture (1 for the other likelihoods).
        steps: T, how often each layer draws latents.
        layers: 1 (eq. 1-11) or 2 (eq. 12-22).
        kernel: side of the convolutions between hidden maps, odd.
        maps: feature maps of each LSTM of the first layer.
        latents: latent maps per step of the first layer.
        stride: pixels per hidden position, along each side.
        maps2: feature maps of the second layer's LSTMs.
        latents2: latent maps per step of the second layer.
        stride2: first-layer positions per second-layer position, along each side.
        posterior: "gaussian", or "constant" for a learned width that depends on nothing, neither
            the input nor the prior (the paper's section 3, first scheme).
        tile: side in pixels of the images that it is trained on.
        batch: tiles per batch of the chain by default, if they are of the largest size: more are
            faster, until what they fill no longer fits the processor's caches.
        passes: 1, or 4: the pixels of every 2x2 block are coded one after another, each given
            those before it in all blocks; 7 or 10: the first pixels are coded so themselves, on
            one or two coarser levels (see `passes`; our departure from the paper; needs a stride
            of 2, or what `residual` says).
        pass_maps: feature maps of the passes; 0: as many as `maps`, and each level of passes
            begins with the decoder's own maps.
        blocks: residual blocks of each pass, after its LSTM if it has one.
        residual: 1: passes are residual networks (see `passes.residual`), which need `pass_maps`, a
            logistic likelihood, and a stride of one position for each of the coarsest blocks; 0:
            they are LSTMs (see `passes.lstm`).
        head_maps: feature maps of the head, which after the last step makes the parameters of a
            mixture whose means are linear in the earlier pixels of their 2x2 block (see `block`);
            0: the canvas holds the likelihood's parameters. Needs a logistic likelihood, one pass
            and a stride of 2 or 4.
        head_blocks: residual blocks of the head.
        finer_hidden: fractional bits of the hidden maps beyond those of `grids`.
        finer_means: the same of the canvas's means, as the network sees them; not for binary
            pixels.
        doublings: how often the side of a tile may be doubled to code larger images: the
            network is convolutional, and larger tiles have fewer edges.
    """

    channels: int
    likelihood: Likelihood
    mixtures: int = 1
    steps: int = 8
    layers: int = 1
    kernel: int = 3
    maps: int = 48
    latents: int = 1
    stride: int = 2
    maps2: int = 0
    latents2: int = 0
    stride2: int = 2
    posterior: Posterior = "gaussian"
    tile: int = 28
    batch: int = 4
    passes: int = 1
    pass_maps: int = 0
    blocks: int = 0
    doublings: int = 0
    head_maps: int = 0
    head_blocks: int = 0
    finer_hidden: int = 0
    finer_means: int = 0
    residual: int = 0

    def __post_init__(self) -> None:
        problems = {
            "channels": self.channels not in (1, 3),
            "likelihood": self.likelihood not in ("bernoulli", "gaussian", "logistic"),
            "mixtures": not 1 <= self.mixtures <= 30
            or (self.mixtures > 1 and self.likelihood != "logistic"),
            "steps": not 1 <= self.steps <= 64,
            "layers": self.layers not in (1, 2),
            "kernel": self.kernel not in (1, 3, 5, 7),
            "maps": not 1 <= self.maps <= 1024,
            "latents": not 1 <= self.latents <= 256,
            "stride": self.stride not in (1, 2, 4, 8),
            "maps2": not (1 <= self.maps2 <= 1024 if self.layers == 2 else self.maps2 == 0),
            "latents2": not (1 <= self.latents2 <= 256 if self.layers == 2 else self.latents2 == 0),
            "stride2": self.stride2 not in (1, 2, 4),
            "posterior": self.posterior not in ("gaussian", "constant"),
            "tile": not 1 <= self.tile <= 1024
            or self.multiple < 1
            or self.tile % self.multiple != 0,
            "batch": not 1 <= self.batch <= 65535,
            "passes": self.passes not in _LEVELS
            or (self.passes > 1 and self.stride != (1 << self.levels if self.residual else 2)),
            "pass_maps": not 0 <= self.pass_maps <= 1024
            or (self.pass_maps > 0 and self.passes == 1)
            or (not self.residual and self.pass_maps % (1 << 2 * max(0, self.levels - 1)) != 0),
            "blocks": not 0 <= self.blocks <= 16 or (self.blocks > 0 and self.passes == 1),
            "doublings": not 0 <= self.doublings <= 3,
            "head_maps": not 0 <= self.head_maps <= 1024
            or (
                self.head_maps > 0
                and (self.likelihood != "logistic" or self.passes > 1 or self.stride not in (2, 4))
            ),
            "head_blocks": not 0 <= self.head_blocks <= 16
            or (self.head_blocks > 0 and self.head_maps == 0),
            "residual": self.residual not in (0, 1)
            or (self.residual == 1 and (not self.pass_maps or self.likelihood != "logistic")),
            "finer_hidden": not 0 <= self.finer_hidden <= 4,
            "finer_means": not 0 <= self.finer_means <= 4
            or (self.finer_means > 0 and self.likelihood == "bernoulli"),
        }
        wrong = [name for name, is_wrong in problems.items() if is_wrong]
        if wrong:
            raise ModelError(f"the model's configuration has an impossible value for {wrong[0]}")

    @property
    def multiple(self) -> int:
        """An image's sides, in pixels, are multiples of this."""
        return max(self.stride * (self.stride2 if self.layers == 2 else 1), 1 << self.levels)

    @property
    def levels(self) -> int:
        """Levels of 2x2 blocks whose pixels are coded one after another."""
        return 1 if self.head_maps else _LEVELS.get(self.passes, 0)

    @property
    def tiles(self) -> tuple[int, ...]:
        """Sides of the tiles that it codes, the smallest first."""
        return tuple(self.tile << i for i in range(self.doublings + 1))

    @property
    def hidden_bits(self) -> int:
        """Fractional bits of the hidden maps."""
        return HIDDEN_BITS + self.finer_hidden

    @property
    def residual_limit(self) -> float:
        """Largest magnitude of the sums that residual blocks are added to."""
        return RESIDUAL_LIMIT if self.residual else 1.0

    @property
    def means_bits(self) -> int:
        """Fractional bits of the canvas's means, in units of 128 levels."""
        return PIXEL_BITS + self.finer_means

    @property
    def canvas(self) -> int:
        """Channels of the canvas r: the means first, then what else the likelihood needs."""
        colours = self.channels
        if self.likelihood == "bernoulli" or self.head_maps:
            return colours
        if self.likelihood == "gaussian":
            return 2 * colours
        pairs = colours * (colours - 1) // 2
        return colours + self.mixtures * (1 + 2 * colours + pairs)

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON holds them; those of `_LATER` only where they are not nil."""
        fields = dataclasses.asdict(self)
        return {name: v for name, v in fields.items() if v or name not in _LATER}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "DrawConfig":
        """Inverse of `to_dict`.

        Raises:
            ModelError: unknown, missing, wrongly typed or impossible fields.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        for name, value in fields.items():
            if name not in known:
                raise ModelError(f"the model's configuration has an unknown field {name!r}")
            wanted = str if name in ("likelihood", "posterior") else int
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise ModelError(f"the model's configuration field {name!r} has the wrong type")
        try:
            return cls(**fields)
        except TypeError as error:
            raise ModelError(f"the model's configuration is incomplete: {error}") from error
