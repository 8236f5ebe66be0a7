"""Net bits beside the author's own terms, at the very latents that the coder took off the stack.

Both sides then have the same luck, and what is left is what grids and tables cost. `bitsback.rate`
compares with an ELBO of other samples of the latents, which hides what is smaller than their luck.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bitsback.ans.message import Message
from bitsback.coding import bits_back, matching
from bitsback.coding.batch import Batch
from bitsback.coding.matching import Part
from bitsback.coding.model import LoadedModel
from bitsback.coding.reports.expected import TOLERANCE, student
from bitsback.errors import InputError, ModelError

from .floats import F64, FloatModel
from .samples import adapted_of, pixels_of

_HEADS, _WORDS = 8, 1 << 18
# Bits by which grids and tables may part a number's code length from its density: rows have
# centres in 1/32 of the grid and sigmas in 1/64 octave. What varies more is a fault, not noise, so
# that a standard error from the batches cannot hide it.
_LATENT_NOISE, _VALUE_NOISE = 0.05, 0.005
Terms = Callable[[Tensor, tuple[Tensor, ...]], Sequence[Tensor]]


@dataclasses.dataclass(frozen=True)
class TermsReport:
    """Net bits beside the author's terms: of each latent, of the pixels, and in all.

    Args:
        parts: `bits` are net, `promised_bits` the terms, over all images; the bound is the
            tolerance. Standard errors are from the batches, but no larger than grids and tables
            explain. The last part is all together.
        limit: most standard errors of a part, from a family-wise level of 1e-5.
        images: how many.
    """

    parts: tuple[Part, ...]
    limit: float
    images: int

    @property
    def passed(self) -> bool:
        """Whether every part's difference is within its tolerance and standard errors."""
        return all(part.passes(self.limit) for part in self.parts)

    def __str__(self) -> str:
        verdict = "match" if self.passed else "DO NOT MATCH"
        lines = [
            f"net and the model's own terms {verdict} at the latents coded "
            f"(|difference| <= {self.limit:.2f} standard errors + tolerance)"
        ]
        for part in self.parts:
            share = part.difference_bits / part.promised_bits if part.promised_bits else math.inf
            seen = part.visible_bits(self.limit) / self.images
            lines.append(
                f"{part.name}: net {part.bits / self.images:.3f} bits an image, terms "
                f"{part.promised_bits / self.images:.3f} ({share:+.3%}), standard error "
                f"{part.standard_error_bits / self.images:.4f}; {seen:.3g} bits would show"
            )
        return "\n".join(lines)


def compare_terms(
    model: LoadedModel, images: Any, terms: Terms, tolerance: float = TOLERANCE, seed: int = 0
) -> TermsReport:
    """Code images, and compare the bits of each latent with the author's own, without any luck.

    Args:
        model: from `adapt`.
        images: as `bitsback.compress` takes arrays; more than a batch of the model's.
        terms: (x, z) to nats of every image, (B,): log q(z_t) - log p(z_t) of each latent, given
            what each of the two depends on, and at last -log p(x | z). x is as the posterior gets
            it, (B, C, H, W); z are the latents of the coder, all of them, in the order of decoding.
        tolerance: the largest share of a part by which grids and tables may change its mean.
        seed: of the message and of the dither.

    Raises:
        ModelError: the model is not from `adapt`, or the terms are not of this form or not finite.
        InputError: the model does not code such images, or they are one batch alone.
    """
    own = adapted_of(model)
    x = pixels_of(own, images)
    size = own.vae.batch
    if len(x) <= size:
        raise InputError(f"the comparison needs more images than one batch of {size}")
    latents: dict[int, Tensor] = {}

    def step(index: int, state: Any, z: Tensor) -> Any:
        latents[index] = z
        return own.vae.step(index, state, z)

    recorded = dataclasses.replace(own, vae=dataclasses.replace(own.vae, step=step))
    message = Message.random(_HEADS, _WORDS, seed)
    rows = []
    for number, first in enumerate(range(0, len(x), size)):
        some = x[first : first + size]
        height, width = some.shape[2:]
        batch = Batch(len(some), height, width, seed, number)
        cost = bits_back.encode(message, recorded, batch, some)
        net = [*(group.pushed - group.popped for group in cost.groups), cost.likelihood]
        found = _bits(own, terms, some, tuple(latents[n] for n in range(len(cost.groups))))
        rows.append(np.stack([net, found]))
    counts = [math.prod(shape) for shape in (*own.vae.latents, own.vae.pixels.shape)]
    return _report(np.stack(rows), counts, len(x), tolerance)


def _bits(
    own: FloatModel, terms: Terms, x: NDArray[np.uint8], latents: tuple[Tensor, ...]
) -> list[float]:
    """The author's terms of a batch, each summed over its images."""
    scaled = own.observe(x)[0]
    given = own.vae.run(terms, scaled[: len(x)], tuple(z[: len(x)] for z in latents))
    if not isinstance(given, Sequence) or len(given) != len(latents) + 1:
        raise ModelError(
            f"the terms are {len(latents) + 1}: one for each latent, and of the pixels"
        )
    sums = []
    for term in given:
        if not isinstance(term, Tensor) or term.shape != (len(x),):
            raise ModelError(f"a term is a tensor of shape ({len(x)},), nats of every image")
        sums.append(float(term.double().sum()) / math.log(2))
    if not np.isfinite(sums).all():
        raise ModelError("a term is not finite")
    return sums


def _report(rows: F64, counts: Sequence[int], images: int, tolerance: float) -> TermsReport:
    """From net and terms of each batch, (batches, 2, parts); counts: numbers in each part."""
    rows = np.concatenate([rows, rows.sum(2, keepdims=True)], 2)
    *latents, values = (math.sqrt(images * count) for count in counts)
    most = np.array([_LATENT_NOISE * size for size in latents] + [_VALUE_NOISE * values])
    most = np.append(most, math.sqrt(float((most**2).sum())))
    batches = len(rows)
    found = np.diff(rows, axis=1)[:, 0].std(0, ddof=1) * math.sqrt(batches) * student(batches - 1)
    names = [*(f"step {n + 1}" for n in range(len(latents))), "pixels", "chain"]
    parts = tuple(
        Part(name, float(net), float(term), float(error), tolerance * abs(float(term)))
        for name, (net, term), error in zip(
            names, rows.sum(0).T, np.minimum(found, most), strict=True
        )
    )
    return TermsReport(parts, matching.check(parts, images).limit, images)
