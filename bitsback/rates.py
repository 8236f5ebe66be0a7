"""Reached rates beside the KL-based ones."""

from bitsback.coding.matching import Check, Part
from bitsback.coding.rates import (
    GroupRate,
    RateReport,
)

__all__ = [
    "Check",
    "GroupRate",
    "Part",
    "RateReport",
]
