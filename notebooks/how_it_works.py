"""Draw `how_it_works.svg`: the message's length while one batch of images is encoded.

    python notebooks/how_it_works.py OUT.svg

Every number in the figure is measured on a real run of the coder with the model `omniglot`.
"""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import StrMethodFormatter

import bitsback
from bitsback.ans.message import DEFAULT_HEADS, Message
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.latents import pop_prior
from bitsback.coding.model import LoadedModel
from bitsback.models.draw import model as coding
from bitsback.tables import pixels
from bitsback.tables.tables import LOGIT_UNIT

MODEL = "omniglot"
BATCH = 4
POP, PUSH_X, PUSH = "#c8553d", "#444444", "#3d7ea6"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bitsback",
    "font.family": "sans-serif",
    "font.size": 9,
}


def real_images(count: int) -> tuple[str, np.ndarray]:
    """At most `count` binary images: Omniglot if it is at hand, else scikit-image's.

    Returns:
        What they are, and (n, 28, 28) uint8 of 0 and 1: `test_binary` of omniglot.npz in the
        folder that the environment variable BITSBACK_DATA names; or tiles of four of
        scikit-image's images, with a 1 where a pixel is not lighter than Otsu's threshold.
    """
    folder = os.environ.get("BITSBACK_DATA")
    if folder and (file := Path(folder) / "omniglot.npz").is_file():
        return "Omniglot, test set", np.load(file)["test_binary"][:count]
    from skimage import data, filters

    tiles = []
    for image in (data.page(), data.text(), data.coins(), data.horse().astype(np.uint8)):
        dark = image <= filters.threshold_otsu(image)
        rows, columns = (side // 28 for side in dark.shape)
        cut = dark[: 28 * rows, : 28 * columns].reshape(rows, 28, columns, 28)
        tiles.append(cut.swapaxes(1, 2).reshape(-1, 28, 28))
    joined = np.concatenate(tiles).astype(np.uint8)
    # Mixed, so that a few of them are of every kind.
    order = np.random.default_rng(0).permutation(len(joined))
    return "tiles of scikit-image's images", joined[order][:count]


@dataclasses.dataclass(frozen=True)
class Run:
    """What encoding one batch did.

    Args:
        x: the images, (B, 1, H, W).
        cost: the bits, as measured on the message.
        canvases: probabilities of ink before the first group and after every one, (B, 1, H, W).
    """

    x: np.ndarray
    cost: bits_back.BatchCost
    canvases: list[np.ndarray]

    @property
    def kl_bits(self) -> float:
        """The rate that the KL promises for this batch."""
        groups = sum(group.kl_bits for group in self.cost.groups)
        return groups + self.cost.expected_likelihood

    @property
    def changes(self) -> list[float]:
        """What every operation added to the message: pops, the push of x, pushes."""
        groups = self.cost.groups
        pushes = [group.pushed for group in reversed(groups)]
        return [-group.popped for group in groups] + [self.cost.likelihood] + pushes


def encode(loaded: LoadedModel, images: np.ndarray) -> Run:
    """Encode images (B, H, W) as one batch, and decode them again to see the canvases."""
    x = images[:, None]
    batch, _, height, width = x.shape
    assert isinstance(loaded.model, coding.DrawModel)
    model, batch = loaded.model, Batch(batch, height, width, seed=0, index=0)
    message = Message.random(DEFAULT_HEADS, 1 << 16, seed=0)
    before = message.copy()
    cost = bits_back.encode(message, model, batch, x)
    # The first half of decoding finds the same latents, hence the same canvases.
    copy = message.copy()
    visits, end = bits_back.walk(
        model, batch, lambda index, state, latents: pop_prior(copy, latents)
    )
    states = [visit.state for visit in visits] + [end]
    canvases = []
    for state in states:
        # Of the latents alone, whatever the passes of the pixels add to it.
        r = np.asarray(model.ops.array(state.r), np.int64)
        likelihood = coding.likelihood(model.config, r, gray=False)
        assert isinstance(likelihood, pixels.Bernoulli)
        canvases.append(1 / (1 + np.exp(-likelihood.logits / LOGIT_UNIT)))
    assert np.array_equal(bits_back.decode(message, model, batch), x)
    assert message == before
    return Run(x, cost, canvases)


def draw_canvases(axes: Axes, run: Run, shown: int) -> None:
    """The canvas after every group above its pop, and the images above the push of x."""
    count = len(run.cost.groups)
    for column, values in enumerate([*run.canvases, run.x]):
        for row in range(shown):
            where = (column - 1.44, column - 0.56, -row - 0.44, -row + 0.44)
            ink = np.round(255 * (1 - values[row, 0])).astype(np.uint8)
            axes.imshow(ink, cmap="gray", vmin=0, vmax=255, extent=where, interpolation="none")
            axes.add_patch(Rectangle(where[::2], 0.88, 0.88, fill=False, lw=0.6, ec="#999999"))
    axes.text(-1, 0.62, "start", ha="center")
    axes.text((count - 1) / 2, 0.62, "canvas after z", ha="center")
    axes.text(count, 0.62, "x", ha="center")
    axes.text(
        count + 0.75,
        0.5 - shown / 2,
        "Every z adds to the canvas, from the whole\nto the detail; the canvas is the probability\n"
        "of each pixel, under which x is then cheap.\n\n"
        "The z are chosen with bits that lie on the\nmessage already; decoding gives them back.",
        va="center",
    )
    axes.set_ylim(0.5 - shown, 1.1)
    axes.set_aspect("equal")
    axes.axis("off")


def draw_bits(axes: Axes, run: Run) -> None:
    """The length of the message after every operation, as bars from the length before it."""
    groups, changes = run.cost.groups, run.changes
    count = len(groups)
    colours = [POP] * count + [PUSH_X] + [PUSH] * count
    levels = np.concatenate([[0.0], np.cumsum(changes)])
    assert abs(levels[-1] - run.cost.net) < 1e-3
    reach = float(np.ptp(levels))
    end = 2 * count + 0.7
    axes.hlines(0, -0.5, end + 0.1, color="#999999", lw=0.8, ls="--")
    axes.bar(range(len(changes)), changes, 0.88, levels[:-1], color=colours)
    steps = np.arange(len(changes) - 1)
    axes.hlines(levels[1:-1], steps + 0.44, steps + 0.56, color="k", lw=0.6)
    for place, change in enumerate(changes):
        low, high = sorted(levels[place : place + 2])
        text = f"{change:+,.0f}".replace("-", "\N{MINUS SIGN}")
        if high - low > 0.06 * reach:
            axes.text(place, (low + high) / 2, text, color="w", ha="center", va="center", size=7.5)
        else:
            axes.text(place, high + 0.015 * reach, text, ha="center", va="bottom", size=7.5)
    axes.text(0.6, -0.12 * reach, "pop z under q", color=POP, size=11)
    axes.text(
        count, levels[count] - 0.03 * reach, "push x", color=PUSH_X, size=11, ha="center", va="top"
    )
    axes.text(2 * count - 1.6, -0.12 * reach, "push z under p", color=PUSH, size=11, ha="right")
    axes.annotate(
        "", (end, run.cost.net), (end, 0), arrowprops={"arrowstyle": "|-|,widthA=.3,widthB=.3"}
    )
    axes.text(
        end + 0.2,
        run.cost.net / 2,
        f"net {run.cost.net:+,.0f} bits\n= {run.cost.net / run.x.size:.3f} bits per pixel\n"
        f"KL-based {run.kl_bits:+,.0f} bits",
        va="center",
    )
    axes.set_xticks(
        range(len(changes)),
        [*(str(g.group.step) for g in groups), "x", *(str(g.group.step) for g in reversed(groups))],
    )
    axes.set_xlabel(
        "step t of the model, in the order of encoding", x=(count + 1.5) / (2 * count + 5.1)
    )
    axes.set_ylabel("message length, bits from the start")
    axes.set_ylim(levels.min() - 0.1 * reach, levels.max() + 0.08 * reach)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def figure(run: Run, source: str, shown: int = BATCH) -> Figure:
    """Both halves of the figure, over one axis of operations."""
    drawing = Figure(figsize=(10, 6.2), facecolor="w", layout="constrained")
    top, bottom = drawing.subplots(2, 1, sharex=True, height_ratios=(shown + 0.6, 6))
    draw_canvases(top, run, shown)
    draw_bits(bottom, run)
    bottom.set_xlim(-1.5, 2 * len(run.cost.groups) + 3.6)
    bottom.set_title(
        f"{len(run.x)} images of 28 by 28 pixels ({source}) through the model {MODEL}: "
        "bits are borrowed, then paid back",
        loc="left",
        size=10,
    )
    return drawing


def main(out: Path) -> None:
    """Run the coder on real images and write the figure."""
    source, images = real_images(64)
    # Blank tiles show nothing.
    ink = images.mean((1, 2))
    drawn = images[(ink > 0.05) & (ink < 0.3)][:BATCH]
    run = encode(bitsback.load_model(MODEL), drawn)
    with matplotlib.rc_context(STYLE):
        figure(run, source).savefig(out, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python notebooks/how_it_works.py OUT.svg")
    main(Path(sys.argv[1]))
