"""The paper's figures: what is in them, and that each is drawn by its command."""

import dataclasses
import sys

import matplotlib.image
import numpy as np
import pytest
from conftest import SMALL, random_model
from skimage import data
from test_coder import CONSTANT, TWO, loaded, random_images

from bitsback.cli import main
from bitsback.errors import InputError
from bitsback.figures import latents, paper, sheets
from bitsback.lossy import coder
from bitsback.models import store


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["bitsback", "figure", *map(str, words)])
    with pytest.raises(SystemExit) as exit_:
        main()
    captured = capsys.readouterr()
    return exit_.value.code or 0, captured.err


@pytest.fixture
def folder(tmp_path):
    """An untrained model for tiles of 16 and a .npy of images."""
    config = dataclasses.replace(TWO, tile=16)
    store.save(tmp_path / "model", config, *random_model(config))
    np.save(tmp_path / "x.npy", random_images(8, 32, 32, 3))
    return tmp_path


@pytest.mark.parametrize("name", ["1", "2", "4", "5", "6", "7", "8", "9", "10", "11", "12"])
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_every_figure_has_its_command(name, suffix, folder, monkeypatch, capsys):
    if name in ("4", "12"):
        pytest.importorskip("imagecodecs")
    output = folder / f"figure{suffix}"
    words = ("--data", folder / "x.npy", "--tile", 16, "--model", folder / "model", "-n", 4)
    code, told = run(monkeypatch, capsys, name, "-o", output, *words)
    assert (code, told) == (0, f"{output}: figure {name}\n")
    if suffix == ".svg":
        assert "<svg" in output.read_text()
    else:
        assert matplotlib.image.imread(output).std() > 0.05


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("3", "-o", "x.png"), "no figure '3'"),
        (("1", "-o", "x.png"), "--data"),
        (("8", "-o", "x.gif"), ".png"),
        (("8", "-o", "nowhere/x.png"), "nowhere"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(words, word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, told = run(monkeypatch, capsys, *words)
    assert code == 2
    assert word in told
    assert told.count("\n") == 1


def test_the_first_steps_are_those_of_the_lossy_file(monkeypatch):
    model, images = loaded(), random_images(3, 16, 16, 3)
    for steps in (1, 2, 3):
        stored = coder.encode(images, model, steps, bare=True).data
        # One dither for all images there, each its own here: the first image's is the same.
        shown = latents.from_first(images, model, steps, 0.0)[0]
        assert np.array_equal(shown, coder.decode(stored, model, 0.0)[0])
    assert latents.steps_of(images, model, 7) == [0, 1, 2, 3]
    told = latents.Information((1, 2, 3), (1, 1, 1), (0.5, 3.0, 9.0))
    monkeypatch.setattr(latents, "information", lambda *_: told)
    assert latents.steps_of(images, model, 7) == [0, 3]
    with pytest.raises(InputError, match="multiples of 4"):
        latents.from_first(random_images(1, 18, 16, 3), model, 1)


def test_latents_of_a_posterior_that_depends_on_the_image_are_drawn_from_it():
    model = loaded(dataclasses.replace(CONSTANT, posterior="gaussian"))
    images = random_images(2, 16, 16, 3)
    one, two, other = (latents.from_first(images, model, 3, 1.0, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("config", [CONSTANT, TWO, dataclasses.replace(SMALL, passes=4)])
def test_samples_differ_and_repeat_with_their_seed(config):
    model = dataclasses.replace(loaded(config), binary=config.likelihood == "bernoulli")
    one, two, other = (latents.samples(model, 6, seed) for seed in (1, 1, 2))
    assert one.shape == (6, 8, 8, config.channels)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert len({image.tobytes() for image in one}) == 6


def test_information_is_the_cost_of_every_step_and_layer():
    model, images = loaded(TWO), random_images(4, 16, 16, 3)
    found = latents.information(images, model)
    assert list(zip(found.steps, found.layers, strict=True)) == [
        (t, layer) for t in (1, 2, 3) for layer in (2, 1)
    ]
    # Beside the dither, the same latents as those that a lossy file would store.
    costs = np.mean([coded.bits for coded in coder.analyse(images, model)], 0)
    assert found.bits == pytest.approx(costs, rel=0.15)


def test_rows_show_the_images_the_right_way_up():
    image = data.astronaut()[:64, 180:244]
    rows = [("one", np.stack([image, image[::-1]])), ("two", image[None][[0, 0]])]
    figure = sheets.rows(rows, "title")
    assert {text.get_text() for text in figure.texts} == {"one", "two", "title"}
    axes = figure.axes
    assert len(axes) == 4
    for place, wanted in enumerate((image, image[::-1], image, image)):
        shown = axes[place].images[0]
        assert np.array_equal(shown.get_array(), wanted)
        assert shown.origin == "upper"
    tops = [axis.get_position().y1 for axis in axes]
    assert tops[0] == tops[1] > tops[2]


def test_the_curves_of_training_are_those_of_the_logs():
    figure = paper.training()
    left, right = figure.axes
    labels = [line.get_label() for line in left.lines]
    assert labels == [f"T = {t}" for t in (2, 4, 8, 16, 32)]
    # More steps make more of every image, and cost more time.
    images_seen, seconds = (
        [line.get_xdata()[np.argmax(np.array(line.get_ydata()) < 140)] for line in axes.lines]
        for axes in (left, right)
    )
    assert images_seen[0] > images_seen[2]
    assert seconds == sorted(seconds)
