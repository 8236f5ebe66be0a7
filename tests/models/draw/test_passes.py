"""The passes take every pixel once, coarse levels first; each sees what was before it only."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import SMALL, random_model

from bitsback.errors import ModelError
from bitsback.models.draw import equations
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.floats import Clip
from bitsback.models.draw.integers import IntegerOps
from bitsback.models.draw.model import to_network
from bitsback.models.draw.passes.order import passes
from bitsback.models.draw.reference import ReferenceOps

TWO_LEVELS = """
0525
6464
3515
6464
"""


def numbers(count):
    """The number of each pixel's pass, 8 x 8."""
    found = np.full((8, 8), -1)
    for number, each in enumerate(passes(dataclasses.replace(SMALL, passes=count))):
        assert (found[each.where] == -1).all()
        found[each.where] = number
    return found


@pytest.mark.parametrize("count", [1, 4, 7, 10])
def test_every_pixel_is_in_one_pass(count):
    assert sorted(set(numbers(count).ravel())) == list(range(count))


def test_the_order_of_two_levels_is_the_one_in_the_documentation():
    wanted = np.array([list(map(int, row)) for row in TWO_LEVELS.split()])
    assert np.array_equal(numbers(7), np.tile(wanted, (2, 2)))


def test_layers_of_a_level_have_the_same_names_however_many_levels_there_are():
    four, seven = (dataclasses.replace(SMALL, passes=count) for count in (4, 7))
    assert [each.number for each in passes(seven)[4:]] == [each.number for each in passes(four)[1:]]


@pytest.mark.parametrize(("count", "sides"), [(4, 8), (7, 8), (10, 8)])
def test_sides_are_multiples_of_the_coarsest_block(count, sides):
    config = dataclasses.replace(SMALL, passes=count, tile=sides)
    assert config.multiple == 1 << config.levels
    with pytest.raises(ModelError, match="tile"):
        dataclasses.replace(config, tile=sides + config.multiple // 2)


@pytest.mark.parametrize(
    ("word", "changes"),
    [
        ("pass_maps", {"passes": 1, "pass_maps": 8}),
        ("pass_maps", {"passes": 7, "pass_maps": 6}),
        ("pass_maps", {"passes": 10, "pass_maps": 8}),
        ("pass_maps", {"passes": 4, "pass_maps": -4}),
        ("blocks", {"passes": 1, "blocks": 1}),
        ("blocks", {"passes": 4, "blocks": 17}),
        ("blocks", {"passes": 4, "blocks": -1}),
        ("head_maps", {"head_maps": 4}),
        ("head_maps", {"likelihood": "gaussian", "head_maps": 4}),
        ("head_maps", {"likelihood": "logistic", "head_maps": 4, "passes": 4}),
        ("head_maps", {"likelihood": "logistic", "head_maps": 4, "stride": 1}),
        ("head_maps", {"likelihood": "logistic", "head_maps": 4, "stride": 8}),
        ("head_maps", {"likelihood": "logistic", "head_maps": 1025}),
        ("head_maps", {"likelihood": "logistic", "head_maps": -1}),
        ("head_blocks", {"likelihood": "logistic", "head_maps": 4, "head_blocks": 17}),
        ("head_blocks", {"likelihood": "logistic", "head_blocks": 1}),
        ("finer_hidden", {"finer_hidden": 5}),
        ("finer_hidden", {"finer_hidden": -1}),
        ("finer_means", {"finer_means": 1}),
        ("finer_means", {"likelihood": "gaussian", "finer_means": 5}),
        ("residual", {"likelihood": "logistic", "passes": 4, "residual": 1}),
        ("residual", {"passes": 4, "pass_maps": 4, "residual": 1}),
        ("residual", {"likelihood": "logistic", "passes": 4, "pass_maps": 4, "residual": 2}),
        ("passes", {"likelihood": "logistic", "passes": 7, "pass_maps": 4, "residual": 1}),
        ("pass_maps", {"likelihood": "logistic", "pass_maps": 4, "residual": 1}),
    ],
)
def test_impossible_networks_of_passes_are_refused(word, changes):
    with pytest.raises(ModelError, match=word):
        dataclasses.replace(SMALL, **changes)


def test_fields_that_earlier_models_lack_are_told_only_where_they_are_used():
    later = {"pass_maps", "blocks", "head_maps", "head_blocks", "finer_hidden", "finer_means"}
    assert not (later | {"residual"}) & SMALL.to_dict().keys()
    deep = dataclasses.replace(SMALL, passes=4, pass_maps=8, blocks=2)
    assert deep.to_dict().items() >= {"pass_maps": 8, "blocks": 2}.items()
    head = dataclasses.replace(SMALL, likelihood="logistic", head_maps=4, head_blocks=2)
    assert head.to_dict().items() >= {"head_maps": 4, "head_blocks": 2}.items()
    residual = dataclasses.replace(deep, likelihood="logistic", residual=1)
    assert residual.to_dict().items() >= {"residual": 1}.items()
    for config in (SMALL, deep, head, residual):
        assert DrawConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("count", [-(10**12), -2, 0, 5, 13, 10**12])
def test_other_numbers_of_passes_are_refused(count):
    with pytest.raises(ModelError, match="passes"):
        dataclasses.replace(SMALL, passes=count)


@pytest.mark.parametrize("make", [ReferenceOps, lambda *a: IntegerOps(*a, torch.device("cpu"))])
@pytest.mark.parametrize("residual", [0, 1])
@pytest.mark.parametrize("count", [4, 7, 10])
def test_a_pass_depends_on_the_pixels_before_it_and_on_no_others(make, count, residual):
    """What a pass is shown changes with each earlier pass near it, never with itself or later."""
    colour = dataclasses.replace(SMALL, channels=3, likelihood="logistic", mixtures=2, maps=6)
    config = dataclasses.replace(colour, passes=count)
    if residual:
        stride = 1 << config.levels
        config = dataclasses.replace(
            colour, passes=count, stride=stride, pass_maps=6, blocks=1, residual=1
        )
    ops = make(config, random_model(config, seed=3)[0])
    order = passes(config)

    def shown(x):
        state = equations.start(ops, config, 1, 8, 8)
        for group in equations.groups(config):
            prior = equations.prior(ops, group, state)
            z = ops.tensor(np.ones(tuple(prior.mean.shape), np.int64))
            state = equations.step(ops, config, group, state, z)
        found = [ops.array(equations.pixels(ops, config, state))]
        for each in order[:-1]:
            known = ops.tensor(to_network(config, x[:, :, *each.where]))
            state = equations.reveal(ops, config, state, known)
            found.append(ops.array(equations.pixels(ops, config, state)))
        return found

    x = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)
    first = shown(x)
    for number, each in enumerate(order):
        other = x.copy()
        other[:, :, *each.where] = 255 - x[:, :, *each.where]
        same = [np.array_equal(*pair) for pair in zip(first, shown(other), strict=True)]
        assert all(same[: number + 1])
        assert not any(same[number + 1 :])


def test_a_gradient_leads_back_from_the_limit_and_not_beyond_it():
    x = torch.tensor([-5.0, -5.0, 0.5, 5.0, 5.0], requires_grad=True)
    clipped = Clip.apply(x, 4.0)
    assert clipped.tolist() == [-4.0, -4.0, 0.5, 4.0, 4.0]
    clipped.backward(torch.tensor([-1.0, 1.0, 1.0, -1.0, 1.0]))
    assert x.grad.tolist() == [-1.0, 0.0, 1.0, 0.0, 1.0]
