"""Reached rates beside the KL-based ones."""

from bitsback.coding.rates import (
    Check,
    GroupRate,
    RateReport,
)

__all__ = [
    "Check",
    "GroupRate",
    "RateReport",
]
