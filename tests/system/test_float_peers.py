"""Why the network is in integers: in floats, as in BB-ANS, Bit-Swap and HiLLoC, it is not portable.

The same coder, the weights of a shipped model and the same chain are decoded by a machine that
evaluates the network one image at a time where the writer evaluated eight: nothing else differs.
"""

import numpy as np
import pytest
import torch

from bitsback.ans.message import Message
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.coding.micro_batches import MicroBatches
from bitsback.errors import BitsbackError
from bitsback.models import store
from bitsback.models.draw import equations
from bitsback.models.draw import model as coding
from bitsback.models.draw.floats import FloatOps
from bitsback.models.draw.grids import CANVAS_BITS, LOG_SCALE_BITS, MEAN_BITS, Z_BITS
from bitsback.models.draw.integers import IntegerOps
from bitsback.models.draw.model import DrawModel
from bitsback.models.training import export
from bitsback.tables import latent_grid

BATCH, BATCHES = 8, 12


class FloatModel(DrawModel):
    """The network in float32; its outputs are rounded only where the coder takes them."""

    def pixels(self, x):
        return torch.from_numpy(coding.to_network(self.config, x)).float() / 128

    def observe(self, x):
        return equations.observe(self.ops, self.config, self.pixels(x))

    def reveal(self, state, x):
        return equations.reveal(self.ops, self.config, state, self.pixels(x))

    def prior(self, index, state):
        return self.rounded(equations.prior(self.ops, self.order[index], state))

    def posterior(self, index, memory, state, p):
        group = self.order[index]
        q, memory = equations.posterior(self.ops, self.config, group, memory, state)
        return self.rounded(q), memory

    def step(self, index, state, z):
        group, z = self.order[index], torch.from_numpy(z).float() / 2**Z_BITS
        return equations.step(self.ops, self.config, group, state, z)

    def likelihood(self, state, gray):
        canvas = equations.pixels(self.ops, self.config, state).numpy()
        canvas = np.round(canvas.astype(np.float64) * 2**CANVAS_BITS)
        return coding.likelihood(self.config, canvas.astype(np.int64), gray)

    @staticmethod
    def rounded(found):
        mean, log_scale = (v.numpy().astype(np.float64) for v in (found.mean, found.log_scale))
        return latent_grid.Gaussian(
            np.round(mean * 2**MEAN_BITS).astype(np.int64),
            np.round(log_scale * 2**LOG_SCALE_BITS).astype(np.int64),
        )


@pytest.fixture(scope="module")
def setting():
    """A shipped model, and noisy ramps for it."""
    manifest, tensors = store.read(store.folder_of("mnist"))
    random = np.random.default_rng(0)
    ramps = np.multiply.outer(random.random((BATCHES, BATCH)) * 8, np.arange(28))
    levels = ramps[:, :, None, None] + random.integers(0, 30, (BATCHES, BATCH, 1, 28, 28))
    return manifest.config, tensors, manifest.log_widths, levels.astype(np.uint8)


def decoded_by_another(writer, reader, images):
    """Whether a chain of the writer's is given back by the reader."""
    message = Message.random(64, 1 << 16, 0)
    batches = [Batch(BATCH, 28, 28, 0, index) for index in range(BATCHES)]
    for batch, x in zip(batches, images, strict=True):
        bits_back.encode(message, writer, batch, x)
    try:
        found = [bits_back.decode(message, reader, batch) for batch in reversed(batches)]
    except (BitsbackError, ValueError, IndexError):
        return False
    return np.array_equal(np.stack(found[::-1]), images)


def test_files_of_a_float_network_do_not_decode_at_another_batch_size(setting):
    config, tensors, widths, images = setting

    def model(size):
        ops = FloatOps(config, export.restore(config, tensors))
        return MicroBatches(FloatModel(config, ops, widths), size)

    with torch.inference_mode():
        assert decoded_by_another(model(BATCH), model(BATCH), images)
        assert not decoded_by_another(model(BATCH), model(1), images)


def test_files_of_the_integer_network_do(setting):
    config, tensors, widths, images = setting

    def model(size):
        ops = IntegerOps(config, tensors, torch.device("cpu"))
        return MicroBatches(DrawModel(config, ops, widths), size)

    assert decoded_by_another(model(BATCH), model(1), images)
    assert decoded_by_another(model(3), model(BATCH), images)
