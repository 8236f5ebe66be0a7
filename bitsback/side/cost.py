"""What side information took."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SideCost:
    """Side information of some batches.

    Args:
        bits: its code length.
        symbols: that were pushed.
        saved: bits that it should save, less its own, as its encoder reckoned.
    """

    bits: float = 0.0
    symbols: int = 0
    saved: float = 0.0

    def __add__(self, other: "SideCost") -> "SideCost":
        return SideCost(
            self.bits + other.bits, self.symbols + other.symbols, self.saved + other.saved
        )


NO_SIDE = SideCost()
