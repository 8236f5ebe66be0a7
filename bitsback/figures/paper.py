"""The paper's figures by their numbers, drawn from our models.

Source: Gregor et al., Towards Conceptual Compression, https://arxiv.org/abs/1604.08772
"""

import json
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from bitsback.coding.model import LoadedModel
from bitsback.errors import InputError
from bitsback.lossy import bench, coder
from bitsback.lossy.peers import peers

from . import latents, sheets

RATES = (0.1, 0.2, 0.4)  # bits/dim
_BATCH = 32  # images an update in the runs of figure 8
_MOST_NATS = 260  # that figure 8 shows
TIMES = 4  # times that figure 2 shows each image


def reconstructions(images: NDArray[np.uint8], loaded: LoadedModel, seed: int = 0) -> Figure:
    """Figure 1: images from the latents of the first t steps, the rest drawn; originals below.

    A model whose pixels come in passes has little in its latents; the other models show more.

    Args:
        images: (N, H, W, C).
        seed: of the latents that are drawn.

    Raises:
        InputError: the images do not suit the model.
    """
    shown = [
        (_label(t), _first(images, loaded, t, seed)) for t in latents.steps_of(images, loaded, 7)
    ]
    title = f"{loaded.name}: the latents of the first steps, the rest drawn from the priors"
    return sheets.rows([*shown, ("original", _levels(images, loaded))], title)


def variations(images: NDArray[np.uint8], loaded: LoadedModel, seed: int = 0) -> Figure:
    """Figure 2: as figure 1, with each image shown `TIMES` times and drawn anew each time.

    Args:
        images: (N, H, W, C).
        seed: of the first drawing.

    Raises:
        InputError: the images do not suit the model.
    """
    shown = []
    for t in latents.steps_of(images, loaded, 7):
        drawn = [_first(images, loaded, t, seed + again) for again in range(TIMES)]
        joined = np.stack(drawn, 1).reshape(-1, *images.shape[1:3], drawn[0].shape[3])
        shown.append((_label(t), joined))
    originals = np.repeat(_levels(images, loaded), TIMES, 0)
    title = f"{loaded.name}: what is drawn differs, what is stored stays"
    return sheets.rows([*shown, ("original", originals)], title)


def comparison(images: NDArray[np.uint8], models: Mapping[float, LoadedModel], show: int) -> Figure:
    """Figures 4 and 12: codecs at equal bytes, all images of a set together; rates below another.

    Args:
        images: (N, H, W, 3).
        models: the model for each rate, bits/dim.
        show: how many of the images the figure shows.
    """
    labelled = []
    for rate, loaded in models.items():
        coded = coder.analyse(images, loaded)
        made = coder.write_within(rate, coded, images.shape[1:], loaded, bare=True)
        labelled.append((f"at {made.bits_per_dim:.3f} bits/dim:\noriginal", images[:show]))
        for variance in (1.0, 0.0):
            decoded = coder.decode(made.data, loaded, variance)
            labelled.append((f"ours, variance {variance:.0f}", decoded[:show]))
        for peer in peers():
            peers_own = bench.recode(peer, images, len(made.data), bench.TOGETHER)
            if peers_own is not None:
                labelled.append((peer.name, peers_own[1][:show]))
    title = f"{len(images)} images together at equal bytes (absent: cannot be so small)"
    return sheets.rows(labelled, title)


def samples(models: Sequence[LoadedModel], count: int, seed: int = 0) -> Figure:
    """Figures 5, 6, 7, 10 and 11: images drawn from models, four rows of `count` for each."""
    rows = 4
    labelled = []
    for loaded in models:
        drawn = latents.samples(loaded, count * rows, seed)
        sheet = sheets.grid(drawn, count)
        labelled += [(loaded.name if i == 0 else "", row) for i, row in enumerate(sheet)]
    return sheets.rows(labelled, "drawn from the models")


def training() -> Figure:
    """Figure 8: the rate during training for several T, over images seen and over time."""
    text = (
        resources.files("bitsback.models").joinpath("logs", "paper_steps.json").read_text("utf-8")
    )
    figure, axes = sheets.panels(2, "Omniglot, one layer: the rate in training for several T")
    runs = {
        int((row["change"] or "steps=8").removeprefix("steps=")): row["curve"]
        for row in json.loads(text)
    }
    visible: tuple[list[float], list[float]] = ([], [])
    for steps, curve in sorted(runs.items()):
        rates = [point["nats"] for point in curve]
        seen = [_BATCH * point["update"] for point in curve]
        seconds = [point["seconds"] for point in curve]
        for panel, x in zip(axes, (seen, seconds), strict=True):
            panel.plot(x, rates, label=f"T = {steps}", linewidth=1.2)
        for places, x in zip(visible, (seen, seconds), strict=True):
            places += [place for place, rate in zip(x, rates, strict=True) if rate <= _MOST_NATS]
    labels = ("images seen", "seconds on one core")
    for panel, label, places in zip(axes, labels, visible, strict=True):
        # From where the first curve comes down into the panel.
        panel.set(xlabel=label, ylabel="nats per drawing", xscale="log")
        panel.set(xlim=(0.8 * min(places), 1.2 * max(places)), ylim=(95, _MOST_NATS))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        panel.legend(fontsize=7)
    return figure


def information(images: NDArray[np.uint8], models: Sequence[LoadedModel]) -> Figure:
    """Figure 9: bits of each step and layer, a mean over images (N, H, W, C)."""
    figure, axes = sheets.panels(len(models), "What each step of latents tells of an image")
    for panel, loaded in zip(axes, models, strict=True):
        measured = latents.information(images, loaded)
        steps, bits = np.array(measured.steps), np.array(measured.bits)
        count = len(set(measured.layers))
        width = 0.8 / count
        for layer in sorted(set(measured.layers)):
            of_layer = np.array(measured.layers) == layer
            places = steps[of_layer] + (layer - (count + 1) / 2) * width
            panel.bar(places, bits[of_layer], width, label=f"layer {layer}")
        if count > 1:  # a layer may tell a hundredth of what the other does
            panel.set_yscale("log")
        panel.set(xlabel="step", ylabel="bits per image")
        panel.set_title(loaded.name, fontsize=8)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if count > 1:
            panel.legend(fontsize=7, loc="upper right")
        panel.margins(y=0.2)
    return figure


def _label(steps: int) -> str:
    return f"{steps} step{'s' * (steps != 1)}" if steps else "none"


def _first(
    images: NDArray[np.uint8], loaded: LoadedModel, steps: int, seed: int
) -> NDArray[np.uint8]:
    return latents.from_first(images, loaded, steps, 1.0, seed)


def _levels(images: NDArray[np.uint8], loaded: LoadedModel) -> NDArray[np.uint8]:
    if images.ndim != 4:
        raise InputError("figures take a stack of images")
    return images * np.uint8(255) if loaded.binary else images
