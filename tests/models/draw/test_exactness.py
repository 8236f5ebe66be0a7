"""The integer network gives the reference's numbers, whatever carries it."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from conftest import SMALL, random_model
from safetensors.numpy import save_file

from bitsback.errors import ModelError
from bitsback.models import engine, store
from bitsback.models.draw import equations, exactness
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.integers import IntegerOps
from bitsback.models.draw.layers import initials, layers
from bitsback.models.draw.model import to_network
from bitsback.models.draw.passes.order import passes
from bitsback.models.draw.reference import ReferenceOps
from bitsback.models.draw.state import conv
from bitsback.models.exact.convolution import in_float64
from bitsback.models.known_answer import known_answer
from bitsback.models.training import export

COLOUR = dataclasses.replace(
    SMALL, channels=3, likelihood="logistic", mixtures=2, layers=2, maps2=3, latents2=2
)
CONFIGS = [
    SMALL,
    dataclasses.replace(SMALL, likelihood="gaussian", kernel=5, posterior="constant"),
    COLOUR,
    dataclasses.replace(COLOUR, posterior="constant", likelihood="gaussian", mixtures=1, kernel=1),
    dataclasses.replace(SMALL, passes=4),
    dataclasses.replace(COLOUR, passes=4),
    dataclasses.replace(COLOUR, passes=10),
    dataclasses.replace(SMALL, passes=4, pass_maps=3, blocks=2),
    dataclasses.replace(COLOUR, passes=10, pass_maps=16, blocks=1),
    dataclasses.replace(SMALL, likelihood="logistic", mixtures=3, head_maps=3, stride=4),
    dataclasses.replace(COLOUR, head_maps=5, head_blocks=2, kernel=1),
    dataclasses.replace(COLOUR, passes=4, blocks=1, finer_hidden=1, finer_means=2),
    dataclasses.replace(COLOUR, passes=4, pass_maps=5, blocks=1, residual=1, finer_hidden=1),
    dataclasses.replace(
        SMALL, likelihood="logistic", mixtures=2, passes=7, pass_maps=3, stride=4, residual=1
    ),
]


def drawn_config(seed):
    """A tiny configuration, all of whose fields are drawn."""
    random = np.random.default_rng(seed)
    likelihood = random.choice(["bernoulli", "gaussian", "logistic"])
    layers, stride, stride2 = (int(random.choice(v)) for v in ((1, 2), (1, 2, 4), (1, 2)))
    passes = int(random.choice([1, 4, 7])) if stride == 2 else 1
    residual = likelihood == "logistic" and stride > 1 and random.random() < 0.3
    if residual:
        passes = {2: 4, 4: 7}[stride]
    head = likelihood == "logistic" and passes == 1 and stride > 1 and random.random() < 0.5
    return DrawConfig(
        channels=int(random.choice([1, 3])),
        likelihood=str(likelihood),
        mixtures=int(random.integers(1, 4)) if likelihood == "logistic" else 1,
        steps=int(random.integers(2, 5)),
        layers=layers,
        kernel=int(random.choice([1, 3, 5])),
        maps=int(random.integers(1, 9)),
        latents=int(random.integers(1, 4)),
        stride=stride,
        maps2=int(random.integers(1, 6)) if layers == 2 else 0,
        latents2=int(random.integers(1, 4)) if layers == 2 else 0,
        stride2=stride2,
        posterior=str(random.choice(["gaussian", "constant"])),
        tile=8,
        passes=passes,
        pass_maps=int(random.choice([4, 8] if residual else [0, 4, 8])) if passes > 1 else 0,
        residual=int(residual),
        blocks=int(random.integers(0, 3)) if passes > 1 else 0,
        head_maps=int(random.integers(1, 9)) if head else 0,
        head_blocks=int(random.integers(0, 3)) if head else 0,
        finer_hidden=int(random.integers(0, 4)),
        finer_means=int(random.integers(0, 5)) if likelihood != "bernoulli" else 0,
    )


class LaidOut(IntegerOps):
    """The integer network with every convolution's input and weights in one memory format."""

    layout = torch.contiguous_format

    def convolve(self, sources, kernel):
        x = torch.cat(sources, 1).contiguous(memory_format=self.layout)
        weight = kernel.weight.contiguous(memory_format=self.layout)
        return super().convolve([x], dataclasses.replace(kernel, weight=weight))


class Noting(ReferenceOps):
    """The reference, noting the cells of its LSTMs."""

    def __init__(self, *args):
        super().__init__(*args)
        self.cells = []

    def lstm(self, gates, cell):
        hidden, cell = super().lstm(gates, cell)
        self.cells.append(cell)
        return hidden, cell


def outputs(config, ops, side=16, batch=32):
    """All outputs of the network over noise and fixed latents: what decides a decoded pixel."""
    random = np.random.Generator(np.random.Philox(key=7))
    high = 2 if config.likelihood == "bernoulli" else 256
    # The whole batch is drawn first, so that a smaller one is the head of a larger one.
    x = random.integers(0, high, (32, config.channels, side, side)).astype(np.uint8)[:batch]
    state = equations.start(ops, config, batch, side, side)
    memory = equations.observe(ops, config, ops.tensor(to_network(config, x)))
    found = []
    for group in equations.groups(config):
        p = equations.prior(ops, group, state)
        q, memory = equations.posterior(ops, config, group, memory, state)
        found += [ops.array(v) for v in (p.mean, p.log_scale, q.mean, q.log_scale)]
        shape = (32, *found[-1].shape[1:])
        z = random.integers(-128, 129, shape)[:batch]
        state = equations.step(ops, config, group, state, ops.tensor(z))
    found.append(ops.array(state.r))
    for each in passes(config)[:-1]:
        known = ops.tensor(to_network(config, x[:, :, *each.where]))
        state = equations.reveal(ops, config, state, known)
        found.append(ops.array(equations.pixels(ops, config, state)))
    return found


F32, F64 = torch.float32, torch.float64
ROWS, LAST = torch.contiguous_format, torch.channels_last
# Ways to run a network: batch, threads, carrier, layout. The few hold every pair of values.
ALL = tuple(itertools.product((1, 3, 32), (1, 2), (F32, F64), (ROWS, LAST)))
FEW = (
    *((1, 1, F32, ROWS), (1, 2, F64, LAST)),
    *((3, 1, F64, ROWS), (3, 2, F32, LAST)),
    *((32, 1, F32, LAST), (32, 2, F64, ROWS)),
)


def assert_exact(config, tensors, side=16, ways=ALL, wanted=None):
    """Equality with the reference, whose outputs may be given, in some ways to run a network."""
    if wanted is None:
        wanted = outputs(config, ReferenceOps(config, tensors), side)
    assert sum(len(np.unique(value)) > 1 for value in wanted) > len(wanted) // 2
    before = torch.get_num_threads()
    try:
        for batch, threads, carrier, layout in ways:
            torch.set_num_threads(threads)
            ops = LaidOut(config, tensors, torch.device("cpu"), carrier)
            ops.layout = layout
            found = outputs(config, ops, side, batch)
            for value, right in zip(found, wanted, strict=True):
                assert np.array_equal(value, right[:batch])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("config", CONFIGS)
def test_random_networks_equal_the_int64_reference(config):
    assert_exact(config, random_model(config, seed=3)[0])


@pytest.mark.parametrize("seed", range(8))
def test_networks_of_drawn_configurations_equal_the_int64_reference(seed):
    config = drawn_config(seed)
    tensors, _ = random_model(config, seed)
    random = np.random.default_rng(seed)
    for name, (channels, bits, limit) in initials(config).items():
        most = int(min(limit, 2.0) * 2**bits)
        tensors[f"init/{name}"] = random.integers(-most, most + 1, channels).astype(np.int32)
    assert_exact(config, tensors, side=8)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("config", CONFIGS)
def test_networks_near_all_their_limits_equal_the_int64_reference(config, sign):
    """Open gates until the cells can go no further, and a canvas that cannot either."""
    config = dataclasses.replace(config, steps=10)
    tensors, _ = random_model(config)
    random = np.random.default_rng(0)
    for name, layer in layers(config).items():
        for part in layer.parts:
            shape = tensors[f"{name}/{part}"].shape
            share = min(0.3, 3 / np.prod(shape[1:]))
            weights = random.choice([-1, 0, 1], shape, p=[share, 1 - 2 * share, share])
            tensors[f"{name}/{part}"] = weights.astype(np.int16)
        limits = np.full(layer.out, layer.high if sign > 0 else layer.low)
        if name[:3] in ("enc", "dec", "see"):
            limits[: layer.out // 4 * 3] = layer.high
        limits *= random.uniform(0.92, 1.0, layer.out)
        tensors[f"{name}/bias"] = (limits * 2 ** (layer.bits + 2)).astype(np.int32)
        tensors[f"{name}/exponent"] = np.full(layer.out, layer.bits + 2, np.int8)
    exactness.check(config, tensors)
    ops = Noting(config, tensors)
    reached = outputs(config, ops)
    assert max(np.abs(cell).max() for cell in ops.cells) == 8 * 2**10
    assert np.abs(reached[-1]).max() == 16 * 2**11
    assert_exact(config, tensors, ways=FEW, wanted=reached)


@pytest.mark.parametrize("name", store.names())
def test_shipped_networks_equal_the_int64_reference(name):
    manifest, tensors = store.read(store.folder_of(name))
    config = manifest.config
    assert_exact(config, tensors, side=3 * config.multiple, ways=FEW)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_prior_is_that_of_the_hidden_maps_after_every_step(config):
    """Eq. 4, 16 and 17, although p is computed beside the canvas."""
    tensors, _ = random_model(config, seed=3)
    ops = ReferenceOps(config, tensors)
    random, state = np.random.default_rng(0), equations.start(ops, config, 2, 16, 16)
    for group in equations.groups(config):
        p = equations.prior(ops, group, state)
        sources = [state.hd2] if group.layer == 2 else [state.hd1]
        if group.layer == 1 and config.layers == 2:
            sources.append(state.up2)
        assert np.array_equal(p.mean, conv(ops, f"p{group.layer}_mean", sources))
        assert np.array_equal(p.log_scale, conv(ops, f"p{group.layer}_scale", sources))
        z = random.integers(-128, 129, p.mean.shape)
        state = equations.step(ops, config, group, state, z)


def test_a_convolution_that_rounds_is_found_and_float64_takes_over(monkeypatch):
    tensors, _ = random_model(SMALL, seed=3)
    answer = known_answer(SMALL, ReferenceOps(SMALL, tensors))
    conv2d = torch.nn.functional.conv2d

    def shortened(x, *args, **kwargs):
        """TF32's ten bits of fraction, for float32 alone."""
        if x.dtype == torch.float32:
            x = (x.view(torch.int32) & ~0x1FFF).view(torch.float32) * (1 + 2**-12)
        return conv2d(x, *args, **kwargs)

    device = torch.device("cpu")
    monkeypatch.setattr(torch.nn.functional, "conv2d", shortened)
    ops = engine.integer_ops(SMALL, tensors, answer, device)
    assert {way for kernel in ops.kernels.values() for way in kernel.ways.values()} == {in_float64}
    # What is left to the known answer: operations other than convolutions.
    floor = torch.Tensor.floor_
    monkeypatch.setattr(
        torch.Tensor, "floor_", lambda x: floor(x.add_(0.5) if x.dtype == F32 else x)
    )
    assert engine.integer_ops(SMALL, tensors, answer, device).carrier == torch.float64
    monkeypatch.setattr(torch.Tensor, "floor_", lambda x: floor(x.add_(0.5)))
    with pytest.raises(ModelError, match="does not compute the model exactly"):
        engine.integer_ops(SMALL, tensors, answer, device)


@pytest.mark.parametrize("config", CONFIGS)
def test_outputs_do_not_depend_on_the_batch(config):
    tensors, _ = random_model(config, seed=4)
    ops = IntegerOps(config, tensors, torch.device("cpu"))
    high = 2 if config.likelihood == "bernoulli" else 256
    x = np.random.default_rng(0).integers(0, high, (5, config.channels, 16, 16)).astype(np.uint8)

    def q_of(images):
        state = equations.start(ops, config, len(images), 16, 16)
        memory = equations.observe(ops, config, ops.tensor(to_network(config, images)))
        group = equations.groups(config)[0]
        return ops.array(equations.posterior(ops, config, group, memory, state)[0].mean)

    together = q_of(x)
    assert np.array_equal(together, np.concatenate([q_of(x[i : i + 1]) for i in range(5)]))
    assert len(np.unique(together)) > 1


def bound(config, tensors, name, channel):
    """The furthest from nil that any accumulator gets with the worst inputs, term by term."""
    layer = layers(config)[name]
    shift = int(tensors[f"{name}/exponent"][channel]) - layer.bits
    high = low = 0
    signed = abs(int(tensors[f"{name}/bias"][channel])) + (2**shift // 2)
    for part, sources in layer.parts.items():
        each = [s for s in sources for _ in range(s.channels)]
        for weights, source in zip(tensors[f"{name}/{part}"][channel], each, strict=True):
            limit = int(source.limit * 2**source.bits)
            for w in map(int, weights.ravel()):
                if not source.positive:
                    signed += abs(w) * limit
                elif w > 0:
                    high += w * limit
                else:
                    low -= w * limit
    return signed + max(high, low)


SHIPPED = [(name, *store.read(store.folder_of(name))) for name in store.names()]
MODELS = [
    *(pytest.param(c, random_model(c, seed=3)[0], id=f"random {i}") for i, c in enumerate(CONFIGS)),
    *(pytest.param(manifest.config, tensors, id=name) for name, manifest, tensors in SHIPPED),
]


@pytest.mark.parametrize(("config", "tensors"), MODELS)
def test_no_channel_of_an_accepted_model_leaves_what_float32_counts(config, tensors):
    exactness.check(config, tensors)
    for name, layer in layers(config).items():
        reach = exactness.accumulators(name, layer, tensors)
        assert list(reach) == [bound(config, tensors, name, c) for c in range(layer.out)]
        assert reach.max() < 2**24


@pytest.mark.parametrize("config", CONFIGS)
def test_one_channel_that_could_round_is_refused_at_export_and_at_load(config, tmp_path):
    tensors, widths = random_model(config)
    store.save(tmp_path, config, tensors, widths)
    for name, layer in layers(config).items():
        for channel in range(layer.out):
            worse = {key: value.copy() for key, value in tensors.items()}
            room = 2**24 - bound(config, tensors, name, channel)
            sign = -1 if tensors[f"{name}/bias"][channel] < 0 else 1
            worse[f"{name}/bias"][channel] += sign * (room - 1)
            exactness.check(config, worse)
            worse[f"{name}/bias"][channel] += sign
            with pytest.raises(ModelError, match=rf"'{name}/.*channel {channel} could reach"):
                store.save(tmp_path / "worse", config, worse, widths)
    assert not (tmp_path / "worse").exists()
    save_file(worse, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=rf"model.safetensors: .*'{name}/.*channel {channel} "):
        store.load(str(tmp_path), "cpu")


def test_the_quantised_floats_are_the_integers():
    from bitsback.models.training.network import DrawNetwork

    network = DrawNetwork(SMALL, 5)
    tensors = export.export(SMALL, network.named())
    ops = IntegerOps(SMALL, tensors, torch.device("cpu"))
    x = (torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    group = equations.groups(SMALL)[0]
    with torch.no_grad():
        floats = network.ops(quantised=True)
        state = equations.start(floats, SMALL, 2, 8, 8)
        memory = equations.observe(floats, SMALL, x)
        q = equations.posterior(floats, SMALL, group, memory, state)[0]
    state = equations.start(ops, SMALL, 2, 8, 8)
    memory = equations.observe(ops, SMALL, x * 128)
    whole = equations.posterior(ops, SMALL, group, memory, state)[0]
    assert torch.allclose(q.mean * 256, whole.mean, atol=1.01)
    assert torch.equal(torch.floor(q.log_scale * 64 + 0.5), whole.log_scale)
