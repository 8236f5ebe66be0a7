"""The integer network gives the reference's numbers, whatever carries it."""

import dataclasses

import numpy as np
import pytest
import torch
from bitsback.models import draw, export, store
from bitsback.models.coding import to_network
from bitsback.models.integers import IntegerOps
from bitsback.models.reference import ReferenceOps
from conftest import SMALL, random_model

from bitsback.errors import ModelError

CONFIGS = [
    SMALL,
    dataclasses.replace(SMALL, likelihood="gaussian", kernel=5, posterior="constant"),
    dataclasses.replace(
        SMALL, channels=3, likelihood="logistic", mixtures=2, layers=2, maps2=3, latents2=2
    ),
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("carrier", [torch.float32, torch.float64])
def test_the_integer_network_equals_the_int64_reference(config, carrier):
    tensors, _ = random_model(config, seed=3)
    reference = store.known_answer(config, ReferenceOps(config, tensors))
    ops = IntegerOps(config, tensors, torch.device("cpu"), carrier)
    assert store.known_answer(config, ops) == reference


@pytest.mark.parametrize("config", CONFIGS)
def test_outputs_do_not_depend_on_the_batch(config):
    tensors, _ = random_model(config, seed=4)
    ops = IntegerOps(config, tensors, torch.device("cpu"))
    high = 2 if config.likelihood == "bernoulli" else 256
    x = np.random.default_rng(0).integers(0, high, (5, config.channels, 16, 16)).astype(np.uint8)

    def q_of(images):
        state = draw.start(ops, config, len(images), 16, 16)
        memory = draw.observe(ops, config, ops.tensor(to_network(config, images)))
        group = draw.groups(config)[0]
        p = draw.prior(ops, group, state)
        return ops.array(draw.posterior(ops, config, group, memory, state, p)[0].mean)

    together = q_of(x)
    assert np.array_equal(together, np.concatenate([q_of(x[i : i + 1]) for i in range(5)]))
    assert len(np.unique(together)) > 1


def test_weights_that_could_round_are_refused():
    tensors, _ = random_model(SMALL)
    export.check(SMALL, tensors)
    tensors["enc1/h"] = np.full_like(tensors["enc1/h"], 2**15 - 1)
    with pytest.raises(ModelError, match="enc1"):
        export.check(SMALL, tensors)


def test_the_quantised_floats_are_the_integers():
    from bitsback.models.floats import DrawNetwork

    network = DrawNetwork(SMALL, 5)
    tensors = export.export(SMALL, network.named())
    ops = IntegerOps(SMALL, tensors, torch.device("cpu"))
    x = (torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    group = draw.groups(SMALL)[0]
    with torch.no_grad():
        floats = network.ops(quantised=True)
        state = draw.start(floats, SMALL, 2, 8, 8)
        memory = draw.observe(floats, SMALL, x)
        p = draw.prior(floats, group, state)
        q = draw.posterior(floats, SMALL, group, memory, state, p)[0]
    state = draw.start(ops, SMALL, 2, 8, 8)
    memory = draw.observe(ops, SMALL, x * 128)
    p = draw.prior(ops, group, state)
    whole = draw.posterior(ops, SMALL, group, memory, state, p)[0]
    assert torch.allclose(q.mean * 256, whole.mean, atol=1.01)
    assert torch.equal(torch.floor(q.log_scale * 16 + 0.5), whole.log_scale)
