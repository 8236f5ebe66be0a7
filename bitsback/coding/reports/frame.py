"""A report as a pandas table."""

import dataclasses
from typing import TYPE_CHECKING

from bitsback.errors import InputError

from ..rates import RateReport
from .rows import chain_rows

if TYPE_CHECKING:
    from pandas import DataFrame


def to_frame(report: RateReport) -> "DataFrame":
    """See `RateReport.to_frame`."""
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise InputError("tables need pandas: pip install 'bitsback[frames]'") from error
    return DataFrame([dataclasses.asdict(row) for row in chain_rows(report)]).set_index("part")
