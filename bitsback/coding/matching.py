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
        bits: what it added to the message; beside expected bits, the KL or code length itself.
        promised_bits: what the KL or the tables' code length promises; or the expected bits.
        standard_error_bits: of the difference, from the variances of q and the stack's rounding;
            or from the differences of the images.
        bound_bits: how far rounding may shift the mean of the difference; or the tolerance.
    """

    name: str
    bits: float
    promised_bits: float
    standard_error_bits: float
    bound_bits: float

    @property
    def difference_bits(self) -> float:
        """Bits minus promised ones."""
        return self.bits - self.promised_bits

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

    def line(self, tiles: int, bound: str) -> str:
        """One line, in bits per tile; bound: what it is called."""
        return (
            f"{self.name}: {self.difference_bits / tiles:+.4f} bits per tile, standard error "
            f"{self.standard_error_bits / tiles:.4f}, {bound} {self.bound_bits / tiles:.4f}, "
            f"z = {self.z:+.2f}"
        )

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
        expected: KL-based bits beside the expected ones, if any are: of each group, of the pixels,
            and of the whole chain last.
    """

    parts: tuple[Part, ...]
    limit: float
    tiles: int
    expected: tuple[Part, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether the chain coded anything."""
        return bool(self.parts)

    @property
    def latents(self) -> bool:
        """Whether any latents were popped and pushed, so that bits-back itself was measured."""
        return any(part.name.startswith("step") for part in self.parts)

    @property
    def passed(self) -> bool:
        """Whether something was measured, and every part of it matches."""
        return self.measured and not self.failed

    @property
    def failed(self) -> tuple[Part, ...]:
        """The parts that do not match, KL-based or expected bits."""
        every = (*self.parts, *self.expected)
        return tuple(part for part in every if not part.passes(self.limit))

    @property
    def chain(self) -> Part:
        """All parts together; nil if nothing was measured."""
        return self.parts[-1] if self.parts else Part("chain", 0.0, 0.0, 0.0, 0.0)

    def __str__(self) -> str:
        if not self.measured:
            return "net and KL-based rate not measured: the chain coded nothing"
        parts = "in all parts" if self.latents else "of the pixels; no latents are coded"
        lines = self._lines("net and KL-based rate", parts, self.parts, "rounding bound")
        visible = self.chain.visible_bits(self.limit)
        promised = self.chain.promised_bits
        share = visible / promised if promised else math.inf
        lines.append(f"a leak of {visible / self.tiles:.3g} bits per tile ({share:.2g}) would show")
        if self.expected:
            what = "KL-based and expected rate"
            lines += self._lines(what, "in all parts", self.expected, "tolerance")
            lines += self._nats
        return "\n".join(lines)

    def _lines(self, what: str, where: str, parts: tuple[Part, ...], bound: str) -> list[str]:
        """The verdict on some parts, and those that fail, or the last one."""
        failed = [part for part in parts if not part.passes(self.limit)]
        if failed:
            where = f"in {len(failed)} of {len(parts)} parts"
        verdict = "DO NOT MATCH" if failed else "match"
        rule = f"|difference| <= {self.limit:.2f} standard errors + {bound}"
        shown = [part.line(self.tiles, bound) for part in failed or parts[-1:]]
        return [f"{what} {verdict} {where} ({rule})", *shown]

    @property
    def _nats(self) -> list[str]:
        """A hint, where expected bits are nearly those of the chain in nats."""
        ratio = self.expected[-1].promised_bits / self.expected[-1].bits
        if abs(ratio / math.log(2.0) - 1) < 0.05:
            return ["the expected numbers look like nats: divide them by ln 2"]
        return []


def check(parts: tuple[Part, ...], tiles: int, expected: tuple[Part, ...] = ()) -> Check:
    """Compare the parts of a chain of `tiles` tiles; for parts and expected see `Check`.

    The level is divided by the number of comparisons (Bonferroni).
    """
    if not tiles:
        return Check((), 0.0, 0)
    tail = FAMILY_LEVEL / (2 * (len(parts) + len(expected)))
    return Check(parts, -statistics.NormalDist().inv_cdf(tail), tiles, expected)
