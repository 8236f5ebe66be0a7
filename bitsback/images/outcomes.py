"""How the files of a set come back, counted before any is coded."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """How a file comes back."""

    EXACT = "byte for byte, from its pixels and a recipe"
    SAMPLES = "with the same samples and metadata, in other bytes"
    RECODED = "as a PNG of the pixels that a lossy file decodes to"
    CARRIED = "byte for byte, since it travels as it is"


@dataclass(frozen=True)
class Carried:
    """A file whose bytes travel as they are.

    Args:
        name: of the file in its set.
        reason: a predicate of the file, such as "is a JPEG"; "" of a file that is no image.
    """

    name: str
    reason: str = ""


@dataclass(frozen=True)
class Kept:
    """How many files of a set come back in which way.

    Args:
        exact: that come back byte for byte from their pixels.
        samples: of which the samples and metadata come back, in other bytes.
        recoded: lossy files that come back as PNG.
        carried: that come back byte for byte since they travel as they are.
    """

    exact: int = 0
    samples: int = 0
    recoded: int = 0
    carried: tuple[Carried, ...] = ()

    def lines(self) -> list[str]:
        """A sentence for each reason to carry images, with the first of their names."""
        named = [each for each in self.carried if each.reason]
        counts, firsts = Counter(each.reason for each in named), dict[str, str]()
        for each in named:
            firsts.setdefault(each.reason, each.name)
        return [
            f"{firsts[reason]}{f' and {count - 1} more' if count > 1 else ''}: {reason}"
            for reason, count in counts.items()
        ]


def count(outcomes: list[Outcome], carried: tuple[Carried, ...]) -> Kept:
    """The outcomes of the images that are coded, and the files that are carried."""
    counts = Counter(outcomes)
    return Kept(counts[Outcome.EXACT], counts[Outcome.SAMPLES], counts[Outcome.RECODED], carried)


NOTHING = Kept()
"""Of a set without files."""
