"""Checks of a model of one's own, for its author's tests.

    def test_my_model():
        report = check_model(my_model, images)
        assert report.passed, report

`image_arrays` is a strategy of hypothesis for images that a model codes.
"""

import dataclasses
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitsback import api
from bitsback.ans.message import Message
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.model import Likelihood, LoadedModel, Model
from bitsback.coding.rates import RateReport
from bitsback.coding.reports.rows import coverage_lines
from bitsback.errors import BitsbackError, EmptyMessageError, InputError
from bitsback.images.image_set import from_array
from bitsback.tables.latent_grid import Gaussian
from bitsback.tables.tables import Ints

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_WORDS = 1 << 20  # of the messages that the checks code on
_TABLE_SCALES, _FINE_SCALES = (-512, 192), (-1024, 1024)


@dataclasses.dataclass(frozen=True)
class ModelReport:
    """What `check_model` found.

    Args:
        problems: a sentence each; none if the model codes and its rate is the KL-based one.
        notes: what lies beyond the tables, and other facts.
        rate: where the bits went; None if the model does not code.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    rate: RateReport | None

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def __str__(self) -> str:
        verdict = "the model passes" if self.passed else "the model does not pass"
        return "\n".join([verdict, *self.problems, *self.notes])


def check_model(
    model: LoadedModel, images: Any, batches: tuple[int, ...] = (1, 2, 5), seed: int = 0
) -> ModelReport:
    """Encode and decode images in batches of several sizes, and look at all that the model says.

    It is a problem if the model gives no integers, or other numbers when it is asked again or in
    another batch (unless it decodes on one machine only, in batches of its own); if a Gaussian's
    parameters are out of range; if images or the bits below them do not come back; or if net and
    KL-based rate differ.

    Args:
        images: as `bitsback.compress` takes arrays, at least 2 of the model's size.
        batches: sizes to code in.
        seed: of the dither.

    Raises:
        InputError: there are fewer than 2 images, or they are not of the model's size.

    >>> import bitsback
    >>> images = np.random.default_rng(0).integers(0, 2, (3, 28, 28), np.uint8)
    >>> print(bitsback.check_model(bitsback.load_model("omniglot"), images, batches=(1, 2)))
    the model passes
    ...
    """
    x = _pixels(model, images)
    checked = _Checked(model.model)
    for size in dict.fromkeys(min(size, len(x)) for size in batches):
        checked.code(x[:size], seed)
    if not model.machine:
        checked.alone(x[: max(batches)])
    problems, notes, rate = list(checked.problems), [], None
    if not problems:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the notes have it
                rate = api.rate(images, model, seed=seed)
            notes += coverage_lines(rate)
            check = rate.check()
            (notes if check.passed else problems).append(str(check))
        except BitsbackError as error:
            problems.append(str(error))
    if model.machine:
        notes.append(f"files decode on this machine only: {model.machine}")
    return ModelReport(tuple(dict.fromkeys(problems)), tuple(notes), rate)


def image_arrays(model: LoadedModel, most: int = 8) -> "SearchStrategy[NDArray[np.uint8]]":
    """Arrays of 1 to `most` images of a model's size: (N, H, W), or (N, H, W, 3) of colour."""
    from hypothesis import strategies
    from hypothesis.extra import numpy

    side = model.tiles[0]
    colours = (3,) if model.channels == 3 else ()
    top = 1 if model.binary else 255

    def arrays(count: int) -> "SearchStrategy[NDArray[np.uint8]]":
        values = strategies.integers(0, top)
        return numpy.arrays(np.uint8, (count, side, side, *colours), elements=values)

    return strategies.integers(1, most).flatmap(arrays)


def _pixels(model: LoadedModel, images: Any) -> NDArray[np.uint8]:
    found = from_array(images).pixels
    side = model.tiles[0]
    if len(found) < 2 or any(p.shape != (side, side, model.channels) for p in found):
        raise InputError(
            f"the check needs at least 2 images of {side} x {side} pixels and "
            f"{model.channels} channel{'s' * (model.channels > 1)}"
        )
    return np.stack(list(found)).transpose(0, 3, 1, 2)


class _Checked:
    """The protocol over another model, which notes what is wrong with what that says."""

    def __init__(self, model: Model[Any, Any]) -> None:
        self.model, self.problems = model, list[str]()
        self.groups, self.passes = model.groups, model.passes

    def code(self, x: NDArray[np.uint8], seed: int) -> None:
        """Encode and decode images as one batch."""
        batch = Batch(len(x), x.shape[2], x.shape[3], seed, 0)
        message = Message.random(8, _WORDS, seed)
        before = message.copy()
        try:
            bits_back.encode(message, self, batch, x)
            back = bits_back.decode(message, self, batch)
        except (ValueError, IndexError, TypeError, EmptyMessageError, BitsbackError) as error:
            self.problems.append(f"a batch of {len(x)}: {type(error).__name__}: {error}")
            return
        if not np.array_equal(back, x):
            self.problems.append(f"a batch of {len(x)}: the images do not come back")
        elif message != before:
            self.problems.append(
                f"a batch of {len(x)}: the bits below do not come back: a posterior differs "
                "when it is computed from the decoded image"
            )

    def alone(self, x: NDArray[np.uint8]) -> None:
        """Whether an image's numbers depend on the others of its batch."""
        if self.problems:
            return
        single, found = ([g[:1] for g in self._numbers(x[:size])] for size in (1, len(x)))
        if not all(np.array_equal(a, b) for a, b in zip(single, found, strict=True)):
            self.problems.append(
                f"an image's numbers differ in batches of 1 and {len(x)}: floats that round, or "
                "batch normalisation; bitsback.torch.adapt is for such models"
            )

    def _numbers(self, x: NDArray[np.uint8]) -> Iterator[Ints]:
        """Parameters of all priors and posteriors, where all latents are nil."""
        model: Any = self.model
        state, memory = model.start(len(x), *x.shape[2:]), model.observe(x)
        states = [state]
        for index, group in enumerate(self.groups):
            p = model.prior(index, state)
            yield from (p.mean, p.log_scale)
            if not group.bottom_up:
                q, memory = model.posterior(index, memory, state, p)
                yield from (q.mean, q.log_scale)
            state = model.step(index, state, np.zeros(p.mean.shape, np.int64))
            states.append(state)
        if self.groups and self.groups[-1].bottom_up:
            last = len(self.groups) - 1
            for index in range(last + 1):
                below = (memory, states[0]) if index == last else (None, states[index + 2])
                q = model.infer(index, *below)
                yield from (q.mean, q.log_scale)

    def start(self, batch: int, height: int, width: int) -> Any:
        return self.model.start(batch, height, width)

    def observe(self, x: NDArray[np.uint8]) -> Any:
        return self.model.observe(x)

    def prior(self, index: int, state: Any) -> Gaussian:
        p, again = self.model.prior(index, state), self.model.prior(index, state)
        self._look(f"the prior of group {index}", index, p, again)
        return p

    def posterior(self, index: int, memory: Any, state: Any, p: Gaussian) -> tuple[Gaussian, Any]:
        again, _ = self.model.posterior(index, memory, state, p)
        q, after = self.model.posterior(index, memory, state, p)
        self._look(f"the posterior of group {index}", index, q, again)
        if q.mean.shape != p.mean.shape:
            self.problems.append(
                f"the posterior of group {index} has shape {q.mean.shape}, its prior {p.mean.shape}"
            )
        return q, after

    def infer(self, index: int, memory: Any, state: Any) -> Gaussian:
        model: Any = self.model
        q, again = model.infer(index, memory, state), model.infer(index, memory, state)
        self._look(f"the posterior of group {index}", index, q, again)
        return q

    def step(self, index: int, state: Any, z: NDArray[np.int64]) -> Any:
        return self.model.step(index, state, z)

    def likelihood(self, state: Any, gray: bool) -> Likelihood:
        return self.model.likelihood(state, gray)

    def image(self, state: Any) -> NDArray[np.uint8]:
        return self.model.image(state)

    def reveal(self, state: Any, x: NDArray[np.uint8]) -> Any:
        return self.model.reveal(state, x)

    def _look(self, who: str, index: int, found: Gaussian, again: Gaussian) -> None:
        group = self.groups[index]
        low, high = _FINE_SCALES if group.fine else _TABLE_SCALES
        for name, values, second in (
            ("means", found.mean, again.mean),
            ("log-scales", found.log_scale, again.log_scale),
        ):
            if np.asarray(values).dtype.kind not in "iu":
                self.problems.append(f"{who}: {name} are {values.dtype}, not integers")
            if not np.array_equal(values, second):
                self.problems.append(f"{who}: {name} differ when it is asked again")
            if np.ndim(values) != 4 or values.shape[1] != len(group.log_width):
                self.problems.append(
                    f"{who}: {name} have shape {np.shape(values)}, not "
                    f"(batch, {len(group.log_width)}, height, width)"
                )
        scales = np.asarray(found.log_scale)
        if scales.size and (scales.min() < low or scales.max() > high):
            self.problems.append(
                f"{who}: log-scales lie in {scales.min()}..{scales.max()}, not {low}..{high} "
                "(64 to the octave)"
            )
