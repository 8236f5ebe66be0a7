"""Codecs on the ANS stack: pairs of push and pop."""

from bitsback.ans.codecs import (
    Codec,
    bernoulli,
    categorical,
    from_intervals,
    repeat,
    serial,
    substack,
    uniform,
)

__all__ = [
    "Codec",
    "bernoulli",
    "categorical",
    "from_intervals",
    "repeat",
    "serial",
    "substack",
    "uniform",
]
