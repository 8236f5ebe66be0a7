"""The bits that a float model's own ELBO promises, to be compared with those of the code.

The code's latents are samples from the model's posteriors, as the ELBO's are, but other ones. So
the two differ by the luck of both; image by image, as the images are the same.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitsback.errors import InputError

TOLERANCE = 1e-3
LEAST_IMAGES = 16
_KEYS = {"groups", "likelihood", "tolerance"}
_PAIR = {"mean", "standard_error"}


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """Expected bits per image.

    Args:
        mean: over the images, bits.
        standard_error: of the mean, over images and samples of the latents; 0 if it is exact.
        by_image: (N,) bits, one number for each image in order, if they are known.
    """

    mean: float
    standard_error: float
    by_image: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, value: "Estimate | Mapping[str, float] | ArrayLike", what: str) -> "Estimate":
        """From `{"mean": ..., "standard_error": ...}`, or from bits by image.

        Args:
            value: an array (N,) holds the bits of every image, (S, N) those of S samples each.
            what: it is of, as an error says.

        Raises:
            InputError: neither of these, or a number that is not finite.
        """
        if isinstance(value, Estimate):
            return value
        if isinstance(value, Mapping):
            if set(value) != _PAIR:
                raise InputError(f"{what} needs a mean and a standard_error, and nothing else")
            mean, spread = (_number(value[key], f"{key} of {what}") for key in sorted(_PAIR))
            if spread < 0:
                raise InputError(f"the standard_error of {what} is negative")
            return cls(mean, spread)
        try:
            bits = np.asarray(value, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{what} is neither numbers nor a mean and standard_error") from error
        if bits.ndim not in (1, 2) or bits.shape[-1] < 2 or not bits.size:
            raise InputError(f"{what} must be an array of (images,) or (samples, images)")
        if not np.isfinite(bits).all():
            raise InputError(f"{what} holds a number that is not finite")
        bits = bits.mean(0) if bits.ndim == 2 else bits
        spread = float(bits.std(ddof=1)) / math.sqrt(len(bits))
        return cls(float(bits.mean()), spread, bits)


@dataclasses.dataclass(frozen=True, eq=False)
class Expected:
    """What a float model's ELBO promises, in bits per image.

    Args:
        groups: KL(q || p) of each of the model's groups, in their order.
        likelihood: -log2 p(x | all latents).
        tolerance: the largest share of the expected bits by which grids and tables may change a
            part; no failure below it.
    """

    groups: tuple[Estimate, ...]
    likelihood: Estimate
    tolerance: float = TOLERANCE

    @classmethod
    def of(cls, value: "Expected | Mapping[str, Any]") -> "Expected":
        """From a mapping with "groups" (a sequence), "likelihood" and perhaps "tolerance".

        Raises:
            InputError: something is missing, unknown or no number.
        """
        if isinstance(value, Expected):
            return value
        if not isinstance(value, Mapping):
            raise InputError("expected bits need groups and a likelihood")
        if unknown := set(value) - _KEYS:
            raise InputError(f"expected bits have no {', '.join(sorted(map(str, unknown)))}")
        if missing := {"groups", "likelihood"} - set(value):
            raise InputError(f"expected bits need {' and '.join(sorted(missing))}")
        groups = value["groups"]
        if isinstance(groups, str | Mapping) or not isinstance(groups, Sequence):
            raise InputError("the expected groups must be a list, one entry for each group")
        tolerance = _number(value.get("tolerance", TOLERANCE), "tolerance")
        if tolerance < 0:
            raise InputError("the tolerance is negative")
        return cls(
            tuple(Estimate.of(bits, f"expected group {n + 1}") for n, bits in enumerate(groups)),
            Estimate.of(value["likelihood"], "the expected likelihood"),
            tolerance,
        )

    @classmethod
    def read(cls, path: Path) -> "Expected":
        """From a JSON file.

        Raises:
            InputError: it cannot be read, is no JSON, or as `of`.
        """
        try:
            fields = json.loads(path.read_text())
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"{path} is not JSON") from error
        return cls.of(fields)

    def check_fits(self, groups: int, images: int) -> None:
        """Raise InputError unless it is of so many groups, and of so many images if by image."""
        if len(self.groups) != groups:
            raise InputError(
                f"{len(self.groups)} expected groups are given, but the model has {groups}"
            )
        for estimate in (*self.groups, self.likelihood):
            if estimate.by_image is not None and len(estimate.by_image) != images:
                count = len(estimate.by_image)
                raise InputError(f"expected bits of {count} images are given, but {images} images")


@dataclasses.dataclass(frozen=True, eq=False)
class ByImage:
    """Bits of the images in the chain, each of which is one tile.

    Args:
        numbers: (n,) of the images in the file, from 0.
        bits: (n, groups + 1): KL on the grid of every group, and the pixels' code length.
    """

    numbers: NDArray[np.int64]
    bits: NDArray[np.float64]

    def compared(self, column: int, estimate: Estimate) -> tuple[float, float]:
        """Expected bits of all these images, and the standard error of ours minus these."""
        return self._against(self.bits[:, column], [estimate])

    def compared_in_all(self, expected: Expected) -> tuple[float, float]:
        """`compared`, of all groups and the likelihood together."""
        return self._against(self.bits.sum(1), [*expected.groups, expected.likelihood])

    def _against(self, ours: NDArray[np.float64], estimates: list[Estimate]) -> tuple[float, float]:
        count = len(ours)
        known = [e.by_image[self.numbers] for e in estimates if e.by_image is not None]
        others = [e for e in estimates if e.by_image is None]
        paired = np.sum(known, axis=0) if known else np.zeros(count)
        # How the estimates' errors hang together is not known: at worst they add up.
        error = count * sum(e.standard_error for e in others)
        luck = float((ours - paired).std(ddof=1)) * math.sqrt(count) * student(count - 1)
        total = float(paired.sum()) + count * sum(e.mean for e in others)
        return total, math.hypot(error, luck)


def student(freedom: int) -> float:
    """How much wider than a normal one Student's distribution is at five standard errors.

    Source: Cornish and Fisher's expansion; Abramowitz and Stegun, 26.7.5.
    """
    z, n = 5.0, freedom
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return 1 + (first / n + second / n**2 + third / n**3) / z


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise InputError(f"the {what} is no number")
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"the {what} is not finite")
    return number
