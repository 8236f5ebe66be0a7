"""A report as JSON holds it."""

import dataclasses
import math
from typing import Any

from ..matching import Part
from ..rates import RateReport
from .coverage import Beyond


def to_dict(report: RateReport) -> dict[str, Any]:
    """The report as JSON holds it; bits, bits/dim and nats per image."""
    check = report.check()

    def of_part(part: Part) -> dict[str, Any]:
        return dataclasses.asdict(part) | {"z": part.z, "passed": part.passes(check.limit)}

    def of_kind(kind: Beyond) -> dict[str, Any]:
        cost = None if math.isnan(kind.cost_bits) else kind.cost_bits
        return dataclasses.asdict(kind) | {"share": kind.share, "cost_bits": cost}

    def rates(bits: float) -> dict[str, float]:
        return {
            "bits": bits,
            "bits_per_dim": report.bits_per_dim(bits),
            "nats_per_image": report.nats_per_image(bits),
        }

    return {
        "images": report.images,
        "dims": report.dims,
        "chained_images": report.chained_images,
        "chained_dims": report.chained_dims,
        "model_share": report.model_share,
        "net_bits_per_dim": report.bits_per_dim(report.net_bits),
        "kl_bits_per_dim": report.bits_per_dim(report.kl_bits),
        "file_bits_per_dim": report.file_bits / max(1, report.dims),
        "nats_per_image": report.nats_per_image(report.net_bits),
        "file_bits": report.file_bits,
        "net_bits": report.net_bits,
        "kl_bits": report.kl_bits,
        "initial_bits": report.initial_bits,
        "initial": {
            "payload_bits": report.payload_bits,
            "first_bits": report.first_bits,
            "filler_bits": report.filler_bits,
        },
        "overhead_bits": report.overhead_bits,
        "header_bits": report.header_bits,
        "head_bits": report.head_bits,
        "order": {"bits": report.order.bits, "promised_bits": report.order.promised_bits},
        "side_information": {"bits": report.side.bits, "saved_bits": report.side.saved},
        "likelihood": rates(report.likelihood_bits),
        "match": check.passed,
        "check": {
            "measured": check.measured,
            "latents": check.latents,
            "limit": check.limit,
            "parts": [of_part(part) for part in check.parts],
            "expected": [of_part(part) for part in check.expected],
        },
        "coverage": [of_kind(kind) for kind in report.coverage.kinds],
        "steps": [
            {
                "step": group.step,
                "layer": group.layer,
                "popped_bits": group.popped_bits,
                "pushed_bits": group.pushed_bits,
                "net": rates(group.net_bits),
                "kl": rates(group.kl_bits),
                "continuous_kl": rates(group.continuous_kl_bits),
            }
            for group in report.steps
        ],
    }
