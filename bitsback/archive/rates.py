"""The rate that a model reaches on a set of images, compared with what is expected of it."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

from bitsback.chunks.plan import Settings
from bitsback.coding.model import LoadedModel
from bitsback.coding.rates import RateReport
from bitsback.coding.reports.expected import LEAST_IMAGES, Expected
from bitsback.errors import CoverageWarning, InputError, ModelError
from bitsback.images.image_set import ImageSet
from bitsback.progress import Progress

from . import writer


def measure(
    images: ImageSet,
    loaded: LoadedModel,
    settings: Settings,
    *,
    chunk: int | None = None,
    expected: Expected | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> RateReport:
    """Compress a set in memory; for the arguments see `bitsback.rate`.

    Raises:
        InputError: the images cannot be coded, or the expected bits do not fit model and images.
        ModelError: what was coded does not decode, or clipping costs more than 0.1 %.

    Warns:
        CoverageWarning: a share of 1e-6 or more lies beyond the tables.
    """
    promised = None if expected is None else Expected.of(expected)
    if promised is not None:
        groups = {(group.step, group.layer) for group in loaded.model.groups}
        promised.check_fits(len(groups), len(images.pixels))
    report = writer.compress_set(images, loaded, settings, chunk=chunk, progress=progress).report
    if promised is not None:
        report = _promising(report, promised)
    if not loaded.clips:
        check_coverage(report, loaded.name)
    return report


def _promising(report: RateReport, expected: Expected) -> RateReport:
    if report.by_image is None and report.chained_images:
        raise InputError(
            "expected bits can be compared only where every image is one tile of the model's size"
        )
    if report.chained_images < LEAST_IMAGES:
        raise InputError(
            f"expected bits need at least {LEAST_IMAGES} images in the chain, not "
            f"{report.chained_images}: give more images"
        )
    return dataclasses.replace(report, expected=expected)


def check_coverage(report: RateReport, name: str) -> None:
    """Warn of what lies beyond the tables, or raise ModelError; see `measure`."""
    for kind in report.coverage.warned:
        line = f"model {name!r}: {kind.line(report.kl_bits)}"
        if kind.fails(report.kl_bits):
            raise ModelError(line)
        warnings.warn(line, CoverageWarning, stacklevel=4)
