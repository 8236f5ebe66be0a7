"""The model for a set of images that the user names none for: by their kind, then by a sample."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitsback.chunks.plan import Settings
from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError
from bitsback.images.image_set import ImageSet, from_array
from bitsback.models import shipped

from .. import writer

_log = logging.getLogger(__name__)

_SMALL = 64  # pixels of a side: larger gray images are photographs
_SAMPLE = 16  # images
_SIDE = 64  # of what is taken from the middle of each


@dataclass(frozen=True)
class Choice:
    """A model, and why.

    Args:
        loaded: the model.
        rates: by name, net bits/dim of the candidates on a sample; empty where there was one.
        kind: of the images.
    """

    loaded: LoadedModel
    rates: dict[str, float]
    kind: str

    def __str__(self) -> str:
        if not self.rates:
            return f"model {self.loaded.name}, for {self.kind}"
        first, *rest = (f"{name} {rate:.3f}" for name, rate in self.rates.items())
        beside = f" ({', '.join(rest)})" if rest else ""
        return f"model {first} bits/dim on a sample{beside}, for {self.kind}"


def choose(images: ImageSet, load: Callable[[str], LoadedModel]) -> Choice:
    """The model for images: the only candidate of their kind, or the best on a sample.

    Args:
        images: at least one.
        load: gives a shipped model by its name.
    """
    kind, names = _candidates(images)
    _log.info("%s: the candidates are %s", kind, ", ".join(names))
    if len(names) == 1:
        return Choice(load(names[0]), {}, kind)
    sample = from_array(_sample(images))
    rates, models = dict[str, float](), dict[str, LoadedModel]()
    for name in names:
        models[name] = load(name)
        report = writer.compress_set(sample, models[name], Settings(always_chain=True)).report
        is_chained = report.chained_dims > 0  # one small image is all initial bits
        rates[name] = (
            report.net_bits / report.chained_dims if is_chained else report.file_bits / report.dims
        )
    best = sorted(rates, key=lambda name: (rates[name], name))
    return Choice(models[best[0]], {name: rates[name] for name in best}, kind)


def check_lossless(name: str) -> None:
    """Raise InputError if a shipped model of this name is for lossy files."""
    use = shipped.uses().get(name)
    if use is not None and not use.lossless:
        raise InputError(f"model {name!r} is for lossy files: bitsback lossy encode takes it")


def _candidates(images: ImageSet) -> tuple[str, list[str]]:
    """What the images are, and the models that may suit them."""
    shapes = images.manifest.image_shapes(len(images.pixels))
    if images.binary:
        return "binary images", ["omniglot", "mnist", "photo"]
    if any(channels > 2 for _, _, channels in shapes):
        return "colour images", ["photo"]
    if max(max(height, width) for height, width, _ in shapes) > _SMALL:
        return "gray images", ["photo"]
    return "small gray images", ["mnist", "photo"]


def _sample(images: ImageSet) -> NDArray[np.uint8]:
    """The middle of some images, spread over the set, without alpha: (n, H, W, 1) uint8."""
    count = len(images.pixels)
    numbers = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).round().astype(int))
    chosen = [images.pixels[number] for number in numbers.tolist()]
    height, width = (min(_SIDE, *(each.shape[axis] for each in chosen)) for axis in (0, 1))
    middles = []
    for each in chosen:
        top, left = (each.shape[0] - height) // 2, (each.shape[1] - width) // 2
        middles.append(each[top : top + height, left : left + width, :1])
    return np.stack(middles)
