"""The bytes of a file, with what they are made of."""

from typing import Self

from bitsback.coding.rates import RateReport


class CompressedBytes(bytes):
    """The bytes of a file, and where its bits went.

    Args:
        data: the bytes.
        report: of their rate; its `model_share` is nil where a classical code was smaller.
    """

    report: RateReport

    def __new__(cls, data: bytes, report: RateReport) -> Self:
        whole = super().__new__(cls, data)
        whole.report = report
        return whole

    def __getnewargs__(self) -> tuple[bytes, RateReport]:  # type: ignore[override]
        return bytes(self), self.report

    @property
    def model_share(self) -> float:
        """The share of the values that went through the model, 0..1."""
        return self.report.model_share
