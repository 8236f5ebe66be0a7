"""What each shipped model is for, how well and how fast it does: `weights/shipped.json`."""

import json
from dataclasses import dataclass

from .store import WEIGHTS


@dataclass(frozen=True)
class Use:
    """What a model is for.

    Args:
        use: in a few words.
        lossless: whether `compress` takes it; the others write lossy files.
        measured_on: the images of the two figures; "" if there are none.
        bits_per_dim: of the file of these images.
        images_per_second: that one core decodes of them.
    """

    use: str
    lossless: bool
    measured_on: str = ""
    bits_per_dim: float | None = None
    images_per_second: float | None = None


def uses() -> dict[str, Use]:
    """By the names of the models that ship, the most general first."""
    fields = json.loads((WEIGHTS / "shipped.json").read_text("utf-8"))
    return {name: Use(**use) for name, use in fields.items()}
