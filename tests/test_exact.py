"""The integer network gives the reference's numbers, whatever carries it."""

import dataclasses

import numpy as np
import pytest
import torch
from bitsback.models import draw, engine, exact, export, store
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


class LaidOut(IntegerOps):
    """The integer network with every convolution's input and weights in one memory format."""

    layout = torch.contiguous_format

    def partial(self, layer, part, sources):
        key = f"{layer}/{part}"
        self.weights[key] = self.weights[key].contiguous(memory_format=self.layout)
        x = torch.cat(sources, 1).contiguous(memory_format=self.layout)
        return super().partial(layer, part, [x])


def outputs(config, ops, side=16, batch=32):
    """All outputs of the network over noise and fixed latents: what decides a decoded pixel."""
    random = np.random.Generator(np.random.Philox(key=7))
    high = 2 if config.likelihood == "bernoulli" else 256
    # The whole batch is drawn first, so that a smaller one is the head of a larger one.
    x = random.integers(0, high, (32, config.channels, side, side)).astype(np.uint8)[:batch]
    state = draw.start(ops, config, batch, side, side)
    memory = draw.observe(ops, config, ops.tensor(to_network(config, x)))
    found = []
    for group in draw.groups(config):
        p = draw.prior(ops, group, state)
        q, memory = draw.posterior(ops, config, group, memory, state, p)
        found += [ops.array(v) for v in (p.mean, p.log_scale, q.mean, q.log_scale)]
        shape = (32, *found[-1].shape[1:])
        z = random.integers(-128, 129, shape)[:batch]
        state = draw.step(ops, config, group, state, ops.tensor(z))
    return [*found, ops.array(state.r)]


def assert_exact(config, tensors, side=16):
    """Equality with the reference at every batch, thread count, layout and carrier."""
    wanted = outputs(config, ReferenceOps(config, tensors), side)
    assert sum(len(np.unique(value)) > 1 for value in wanted) > len(wanted) // 2
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for carrier in (torch.float32, torch.float64):
                for layout in (torch.contiguous_format, torch.channels_last):
                    ops = LaidOut(config, tensors, torch.device("cpu"), carrier)
                    ops.layout = layout
                    for batch in (1, 3, 32):
                        found = outputs(config, ops, side, batch)
                        for value, right in zip(found, wanted, strict=True):
                            assert np.array_equal(value, right[:batch])
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("config", CONFIGS)
def test_random_networks_equal_the_int64_reference(config):
    assert_exact(config, random_model(config, seed=3)[0])


@pytest.mark.parametrize("name", store.names())
def test_shipped_networks_equal_the_int64_reference(name):
    config, tensors, _, _ = store.read(store.folder_of(name))
    assert_exact(config, tensors, side=3 * config.multiple)


def test_a_convolution_that_rounds_is_found_and_float64_takes_over(monkeypatch):
    tensors, _ = random_model(SMALL, seed=3)
    answer = store.known_answer(SMALL, ReferenceOps(SMALL, tensors))
    conv2d = torch.nn.functional.conv2d

    def shortened(x, *args, **kwargs):
        """TF32's ten bits of fraction, for float32 alone."""
        if x.dtype == torch.float32:
            x = (x.view(torch.int32) & ~0x1FFF).view(torch.float32) * (1 + 2**-12)
        return conv2d(x, *args, **kwargs)

    device = torch.device("cpu")
    assert engine.integer_ops(SMALL, tensors, answer, device).carrier == torch.float32
    monkeypatch.setattr(torch.nn.functional, "conv2d", shortened)
    assert engine.integer_ops(SMALL, tensors, answer, device).carrier == torch.float64
    monkeypatch.setattr(
        torch.nn.functional, "conv2d", lambda *args, **kwargs: conv2d(*args, **kwargs) * 1.5
    )
    with pytest.raises(ModelError, match="does not compute the model exactly"):
        engine.integer_ops(SMALL, tensors, answer, device)


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
    exact.check(SMALL, tensors)
    tensors["enc1/h"] = np.full_like(tensors["enc1/h"], 2**15 - 1)
    with pytest.raises(ModelError, match="enc1"):
        exact.check(SMALL, tensors)


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
    assert torch.equal(torch.floor(q.log_scale * 64 + 0.5), whole.log_scale)
