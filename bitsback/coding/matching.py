"""Whether the bits that were really spent match those that the KL promises, part by part.

A popped latent k adds log2 q(k) / p(k) bits, whose mean under q is the KL. Given what was coded
before it, each group's difference has mean nil and a variance that q and p tell; so the sums over
a chain are compared with their own standard errors, also where it has one batch alone. Pushed
pixels have no luck: what they add is their code length, but for the stack's rounding.
"""

import dataclasses
import math
import statistics

# The chance that intact files fail, over all parts of a report together.
FAMILY_LEVEL = 1e-5


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a chain, its bits in all, and what may part them.

    Args:
        name: "step 1", "step 1, layer 2", "pixels" or "chain".
        net_bits: what it added to the message.
        kl_bits: what the KL or the tables' code length promises.
        standard_error_bits: of the difference, from the variances of q and the stack's rounding.
        bound_bits: how far rounding may shift the mean of the difference.
    """

    name: str
    net_bits: float
    kl_bits: float
    standard_error_bits: float
    bound_bits: float

    @property
    def difference_bits(self) -> float:
        """Net minus KL-based bits."""
        return self.net_bits - self.kl_bits

    @property
    def z(self) -> float:
        """The difference in standard errors, with its sign; nil if there is neither."""
        if self.standard_error_bits > 0 or not math.isfinite(self.standard_error_bits):
            return self.difference_bits / self.standard_error_bits
        return math.copysign(math.inf, self.difference_bits) if self.difference_bits else 0.0

    def passes(self, limit: float) -> bool:
        """Whether |difference| <= limit standard errors + bound; never with a NaN or infinity."""
        allowed = limit * self.standard_error_bits + self.bound_bits
        return math.isfinite(allowed) and abs(self.difference_bits) <= allowed

    def visible_bits(self, limit: float) -> float:
        """The smallest shift of the mean that could not have passed but by luck."""
        return 2 * limit * self.standard_error_bits + 2 * self.bound_bits


@dataclasses.dataclass(frozen=True)
class Check:
    """Whether net and KL-based bits match in every part of a chain.

    Args:
        parts: the steps and layers that code latents, the pixels, and the whole chain last; empty
            if the chain coded nothing.
        limit: most standard errors of a part, from the family-wise level of 1e-5 over all parts.
        tiles: of the chain.
    """

    parts: tuple[Part, ...]
    limit: float
    tiles: int

    @property
    def measured(self) -> bool:
        """Whether the chain coded anything."""
        return bool(self.parts)

    @property
    def latents(self) -> bool:
        """Whether any latents were popped and pushed, so that bits-back itself was measured."""
        return len(self.parts) > 2

    @property
    def passed(self) -> bool:
        """Whether something was measured, and every part of it matches."""
        return self.measured and not self.failed

    @property
    def failed(self) -> tuple[Part, ...]:
        """The parts that do not match."""
        return tuple(part for part in self.parts if not part.passes(self.limit))

    @property
    def chain(self) -> Part:
        """All parts together; nil if nothing was measured."""
        return self.parts[-1] if self.parts else Part("chain", 0.0, 0.0, 0.0, 0.0)

    def __str__(self) -> str:
        if not self.measured:
            return "net and KL-based rate not measured: the chain coded nothing"
        rule = f"|difference| <= {self.limit:.2f} standard errors + rounding bound"
        lines = [f"{_line(part, self.tiles)}" for part in self.failed or (self.chain,)]
        verdict = "DO NOT MATCH" if self.failed else "match"
        visible = self.chain.visible_bits(self.limit)
        share = visible / self.chain.kl_bits if self.chain.kl_bits else math.inf
        parts = "in all parts" if self.latents else "of the pixels; no latents are coded"
        if self.failed:
            parts = f"in {len(self.failed)} of {len(self.parts)} parts"
        return "\n".join(
            [
                f"net and KL-based rate {verdict} {parts} ({rule})",
                *lines,
                f"a leak of {visible / self.tiles:.2f} bits per tile ({share:.3%}) would show",
            ]
        )


def _line(part: Part, tiles: int) -> str:
    return (
        f"{part.name}: {part.difference_bits / tiles:+.4f} bits per tile, standard error "
        f"{part.standard_error_bits / tiles:.4f}, rounding bound {part.bound_bits / tiles:.4f}, "
        f"z = {part.z:+.2f}"
    )


def check(parts: tuple[Part, ...], tiles: int) -> Check:
    """Compare the parts of a chain of `tiles` tiles; the whole chain is the last one.

    The level is divided by the number of parts (Bonferroni).
    """
    if not tiles:
        return Check((), 0.0, 0)
    tail = FAMILY_LEVEL / (2 * len(parts))
    return Check(parts, -statistics.NormalDist().inv_cdf(tail), tiles)
