"""The known answer of a model: the digest by which a device proves that it computes exactly."""

import hashlib

import numpy as np

from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.model import IntegerArithmetic, to_network
from bitsback.models.draw.passes.order import passes
from bitsback.models.draw.state import Array

from .draw import equations


def known_answer(config: DrawConfig, ops: IntegerArithmetic[Array]) -> str:
    """SHA-256 of all outputs of the network over a fixed input: two images, fixed latents."""
    side = 4 * config.multiple
    random = np.random.Generator(np.random.Philox(key=1604_08772))
    high = 2 if config.likelihood == "bernoulli" else 256
    x = random.integers(0, high, (2, config.channels, side, side))
    state = equations.start(ops, config, 2, side, side)
    memory = equations.observe(ops, config, ops.tensor(to_network(config, x.astype(np.uint8))))
    answer = hashlib.sha256()
    for group in equations.groups(config):
        p = equations.prior(ops, group, state)
        q, memory = equations.posterior(ops, config, group, memory, state)
        for value in (p.mean, p.log_scale, q.mean, q.log_scale):
            answer.update(ops.array(value).astype("<i4").tobytes())
        z = random.integers(-128, 129, p.mean.shape)
        state = equations.step(ops, config, group, state, ops.tensor(z))
    for pixel_pass in passes(config)[:-1]:
        answer.update(ops.array(equations.pixels(ops, config, state)).astype("<i4").tobytes())
        known = to_network(config, x[:, :, *pixel_pass.where].astype(np.uint8))
        state = equations.reveal(ops, config, state, ops.tensor(known))
    answer.update(ops.array(equations.pixels(ops, config, state)).astype("<i4").tobytes())
    return answer.hexdigest()
