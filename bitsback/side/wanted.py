"""Which side information an encoder may send."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """Which kinds may be sent, where they save more than they take.

    Args:
        predictor: weights of known neighbours, which move means.
        recalibration: shifts of log-scales.
    """

    predictor: bool = True
    recalibration: bool = True

    def __bool__(self) -> bool:
        return self.predictor or self.recalibration


BOTH = Wanted()
NOTHING = Wanted(predictor=False, recalibration=False)
