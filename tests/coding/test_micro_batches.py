"""How many images the network is given at once is not seen in the file."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import SMALL, random_model

from bitsback.ans.message import Message
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.micro_batches import MicroBatches
from bitsback.errors import ModelError
from bitsback.models import store
from bitsback.models.draw.integers import IntegerOps
from bitsback.models.draw.model import DrawModel

BATCH = 7
TINY = {
    "binary": SMALL,
    "colour, two layers": dataclasses.replace(
        SMALL, channels=3, likelihood="logistic", mixtures=2, layers=2, maps2=3, latents2=2
    ),
    "binary, passes": dataclasses.replace(SMALL, passes=4),
    "binary, passes on levels": dataclasses.replace(SMALL, passes=10),
    "binary, passes with blocks": dataclasses.replace(SMALL, passes=7, pass_maps=4, blocks=1),
    "colour, residual passes": dataclasses.replace(
        SMALL,
        channels=3,
        likelihood="logistic",
        mixtures=2,
        passes=4,
        pass_maps=4,
        blocks=1,
        residual=1,
    ),
    "colour, pixels linear in their block": dataclasses.replace(
        SMALL, channels=3, likelihood="logistic", mixtures=2, head_maps=4, head_blocks=1
    ),
    "grey, constant posterior": dataclasses.replace(
        SMALL, likelihood="gaussian", posterior="constant"
    ),
}


def model_of(name):
    """A shipped model, or an untrained one; and a batch of noise for it."""
    if name in TINY:
        tensors, widths = random_model(TINY[name], seed=2)
        ops = IntegerOps(TINY[name], tensors, torch.device("cpu"))
        model = DrawModel(TINY[name], ops, widths)
    else:
        model = store.load(name, "cpu").model
    config = model.config
    high = 2 if config.likelihood == "bernoulli" else 256
    shape = (BATCH, config.channels, config.tile, config.tile)
    return model, np.random.default_rng(0).integers(0, high, shape).astype(np.uint8)


def outputs(model, x):
    """All arrays that the coder is given."""
    state, memory, found = model.start(len(x), *x.shape[2:]), model.observe(x), []
    random = np.random.default_rng(1)
    for index in range(len(model.groups)):
        p = model.prior(index, state)
        q, memory = model.posterior(index, memory, state, p)
        found += [p.mean, p.log_scale, q.mean, q.log_scale]
        state = model.step(index, state, random.integers(-128, 129, p.mean.shape))
    for number, where in enumerate(model.passes):
        codec = model.likelihood(state, False)
        fields = [getattr(codec, field.name) for field in dataclasses.fields(codec)]
        found += [value for value in fields if isinstance(value, np.ndarray)]
        if number + 1 < len(model.passes):
            state = model.reveal(state, x[:, :, *where])
    return found


def coded(writer, reader, x):
    """The message after two batches of x, and what another reads from it."""
    batches = [Batch(len(x), *x.shape[2:], seed=5, index=index) for index in range(2)]
    message = Message.random(16, 100_000, 0)
    before = message.copy()
    for batch in batches:
        bits_back.encode(message, writer, batch, x)
    written = message.copy()
    found = [bits_back.decode(message, reader, batch) for batch in reversed(batches)]
    assert message == before
    return written, found


@pytest.mark.parametrize("most", [1, 3, 32])
@pytest.mark.parametrize("name", [*TINY, *store.names()])
def test_outputs_are_those_of_the_whole_batch(name, most):
    model, x = model_of(name)
    wanted = outputs(model, x)
    found = outputs(MicroBatches(model, most), x)
    assert len(found) == len(wanted) > 4 * len(model.groups)
    for value, right in zip(found, wanted, strict=True):
        assert value.dtype == right.dtype
        assert np.array_equal(value, right)


@pytest.mark.parametrize("name", [*TINY, *store.names()])
def test_what_was_written_in_micro_batches_is_read_without_and_the_reverse(name):
    model, x = model_of(name)
    small = MicroBatches(model, 3)
    messages = []
    for writer, reader in ((small, model), (model, small), (MicroBatches(model, 1), small)):
        message, found = coded(writer, reader, x)
        messages.append(message)
        assert all(np.array_equal(images, x) for images in found)
    assert messages[0] == messages[1] == messages[2]


def test_the_network_is_never_given_more(monkeypatch):
    loaded = store.load("omniglot", "cpu", micro_batch=3)
    seen, convolve = set(), IntegerOps.convolve

    def spying(self, sources, kernel):
        seen.update(len(source) for source in sources)
        return convolve(self, sources, kernel)

    monkeypatch.setattr(IntegerOps, "convolve", spying)
    x = np.zeros((BATCH, 1, 28, 28), np.uint8)
    _, found = coded(loaded.model, loaded.model, x)
    assert np.array_equal(found[0], x)
    assert seen == {1, 3}


@pytest.mark.parametrize("most", [0, -1])
def test_a_micro_batch_of_nothing_is_refused(most):
    with pytest.raises(ModelError, match="at least 1 image"):
        store.load("omniglot", "cpu", micro_batch=most)
