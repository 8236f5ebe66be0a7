"""Each figure of the paper by its number.

Source: Gregor et al., arXiv:1604.08772; what each shows of ours is in its docstring.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError
from bitsback.lossy import bench, coder
from bitsback.lossy.peers import peers

from . import latents, sheets

RATES = (0.1, 0.2, 0.4)  # bits/dim
_BATCH = 32  # of the runs of figure 8
TIMES = 4  # that an image is shown with other latents


def reconstructions(images: np.ndarray, loaded: LoadedModel, seed: int = 0) -> Figure:
    """Figure 1: images from the latents of the first t steps, the rest drawn; originals below.

    Of a model whose pixels come in passes, little is in the latents: the others say more here.
    """
    shown = [(_label(t), _first(images, loaded, t, seed)) for t in latents.steps_of(loaded, 7)]
    title = f"{loaded.name}: the latents of the first steps, the rest drawn from the priors"
    return sheets.rows([*shown, ("original", _levels(images, loaded))], title)


def variations(images: np.ndarray, loaded: LoadedModel, seed: int = 0) -> Figure:
    """Figure 2: the same, each image several times with other latents drawn."""
    shown = []
    for t in latents.steps_of(loaded, 7):
        drawn = [_first(images, loaded, t, seed + each) for each in range(TIMES)]
        joined = np.stack(drawn, 1).reshape(-1, *images.shape[1:3], drawn[0].shape[3])
        shown.append((_label(t), joined))
    originals = np.repeat(_levels(images, loaded), TIMES, 0)
    title = f"{loaded.name}: what is drawn differs, what is stored stays"
    return sheets.rows([*shown, ("original", originals)], title)


def comparison(images: np.ndarray, models: Mapping[float, LoadedModel], show: int) -> Figure:
    """Figures 4 and 12: codecs at equal bytes, all images of a set together; `show` of them.

    Args:
        images: (N, H, W, 3) uint8.
        models: the model for each rate, bits/dim.
    """
    found: dict[str, list[np.ndarray]] = {}
    headings = []
    for rate, loaded in models.items():
        coded = coder.analyse(images, loaded)
        made = coder.write_within(rate, coded, images.shape[1:], loaded, bare=True)
        headings.append((f"{made.bits_per_dim:.3f} bits/dim", show))
        found.setdefault("original", []).append(images[:show])
        for variance in (1.0, 0.0):
            decoded = coder.decode(made.data, loaded, variance)
            found.setdefault(f"ours, variance {variance:.0f}", []).append(decoded[:show])
        for peer in peers():
            peers_own = bench.recoded(peer, images, len(made.data), bench.TOGETHER)
            blank = np.full_like(images[:show], 255)
            found.setdefault(peer.name, []).append(
                blank if peers_own is None else peers_own[1][:show]
            )
    labelled = [(name, np.concatenate(parts)) for name, parts in found.items()]
    title = f"{len(images)} images together at equal bytes (blank: cannot be so small)"
    return sheets.rows(labelled, title, headings)


def samples(models: Sequence[LoadedModel], count: int, seed: int = 0) -> Figure:
    """Figures 5, 6, 7, 10 and 11: images drawn from models, four rows of each."""
    rows = 4
    labelled = []
    for loaded in models:
        drawn = latents.samples(loaded, count * rows, seed)
        sheet = sheets.grid(drawn, count)
        labelled += [(loaded.name if i == 0 else "", row) for i, row in enumerate(sheet)]
    return sheets.rows(labelled, "drawn from the models")


def training() -> Figure:
    """Figure 8: the rate while it is trained, for several T, over images seen and over time."""
    text = resources.files("bitsback.models").joinpath("logs", "paper_steps.json").read_text()
    figure, axes = sheets.panels(2, "Omniglot, one layer: the rate in training for several T")
    runs = {
        int((row["change"] or "steps=8").removeprefix("steps=")): row["curve"]
        for row in json.loads(text)
    }
    for steps, curve in sorted(runs.items()):
        rates = [point["nats"] for point in curve]
        seen = [_BATCH * point["update"] for point in curve]
        seconds = [point["seconds"] for point in curve]
        for each, x in zip(axes, (seen, seconds), strict=True):
            each.plot(x, rates, label=f"T = {steps}", linewidth=1.2)
    for each, label in zip(axes, ("images seen", "seconds on one core"), strict=True):
        each.set(xlabel=label, ylabel="nats per drawing", xscale="log", ylim=(95, 260))
        each.legend(fontsize=7)
    return figure


def information(images: np.ndarray, models: Sequence[LoadedModel]) -> Figure:
    """Figure 9: bits of each step and layer."""
    figure, axes = sheets.panels(len(models), "What each step of latents tells of an image")
    for each, loaded in zip(axes, models, strict=True):
        found = latents.information(images, loaded)
        steps, bits = np.array(found.steps), np.array(found.bits)
        for layer in sorted(set(found.layers)):
            mine = np.array(found.layers) == layer
            base = bits[~mine] if layer > 1 else 0.0
            each.bar(steps[mine], bits[mine], bottom=base, label=f"layer {layer}")
        each.set(xlabel="step", ylabel="bits per image")
        each.set_title(loaded.name, fontsize=8)
        each.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(set(found.layers)) > 1:
            each.legend(fontsize=7, loc="upper right")
        each.margins(y=0.2)
    return figure


def _label(steps: int) -> str:
    return f"{steps} step{'s' * (steps != 1)}" if steps else "none"


def _first(images: np.ndarray, loaded: LoadedModel, steps: int, seed: int) -> np.ndarray:
    return latents.from_first(images, loaded, steps, 1.0, seed)


def _levels(images: np.ndarray, loaded: LoadedModel) -> np.ndarray:
    if images.ndim != 4:
        raise InputError("figures take a stack of images")
    return images * np.uint8(255) if loaded.binary else images
