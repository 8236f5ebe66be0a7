"""Reached rates beside the KL-based ones."""

from bitsback.coding.matching import Check, Part
from bitsback.coding.rates import (
    GroupRate,
    RateReport,
)
from bitsback.coding.reports.coverage import Beyond, Coverage
from bitsback.coding.reports.expected import Estimate, Expected

__all__ = [
    "Beyond",
    "Check",
    "Coverage",
    "Estimate",
    "Expected",
    "GroupRate",
    "Part",
    "RateReport",
]
