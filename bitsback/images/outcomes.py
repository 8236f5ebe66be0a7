"""How the files of a set come back."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum

LARGER = "takes more as pixels"
"""Why a file travels as it is whose pixels could be coded."""


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
        coded: the outcome of every file whose pixels are coded, in order.
        carried: files that come back byte for byte since they travel as they are.
    """

    coded: tuple[Outcome, ...] = ()
    carried: tuple[Carried, ...] = ()

    @property
    def exact(self) -> int:
        """Files that come back byte for byte from their pixels."""
        return self.coded.count(Outcome.EXACT)

    @property
    def samples(self) -> int:
        """Files of which the samples and metadata come back, in other bytes."""
        return self.coded.count(Outcome.SAMPLES)

    @property
    def recoded(self) -> int:
        """Lossy files that come back as PNG."""
        return self.coded.count(Outcome.RECODED)

    def with_larger(self, names: dict[int, str]) -> "Kept":
        """What is kept where files travel as they are after all, since their pixels took more.

        Args:
            names: of these files by their number among the coded ones.
        """
        coded = tuple(each for number, each in enumerate(self.coded) if number not in names)
        return Kept(coded, (*self.carried, *(Carried(name, LARGER) for name in names.values())))

    def lines(self, told: "Kept | None" = None) -> list[str]:
        """A sentence for each reason to carry images, with the first of their names.

        Args:
            told: what was told of before.
        """
        known = set() if told is None else set(told.carried)
        named = [each for each in self.carried if each.reason and each not in known]
        counts, firsts = Counter(each.reason for each in named), dict[str, str]()
        for each in named:
            firsts.setdefault(each.reason, each.name)
        return [
            f"{firsts[reason]}{f' and {count - 1} more' if count > 1 else ''}: {reason}"
            for reason, count in counts.items()
        ]


NOTHING = Kept()
"""Of a set without files."""
