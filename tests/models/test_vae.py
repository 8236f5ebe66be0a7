"""A plain VAE codes through the same protocol: BB-ANS, and the paper's first scheme."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsback.ans.message import Message
from bitsback.coding import bits_back
from bitsback.coding.chain import Chain
from bitsback.coding.rates import RateReport
from bitsback.coding.reports.tally import Tally
from bitsback.models import vae
from bitsback.tiles.segments import Segment


def strokes(count, side, seed):
    """Binary images of one horizontal and one vertical bar: data that a VAE can learn."""
    random = np.random.default_rng(seed)
    images = np.zeros((count, side, side), np.uint8)
    for image, (row, column) in zip(images, random.integers(0, side, (count, 2)), strict=True):
        image[row], image[:, column] = 1, 1
    return images


def steps(count, height, width, batch):
    """The batches of so many images."""
    return Chain((Segment(count, height, width, 1, gray=False, classical=0),), batch, seed=5)


def chain(model, images, batch=4) -> tuple[Message, Message, RateReport]:
    """The message before and after all images, and the report of the chain between them."""
    message, tally = Message.random(16, 5_000, 0), Tally()
    before = message.copy()
    height, width = images.shape[1:]
    for step in steps(len(images), height, width, batch):
        x = images[step.where][:, None]
        tally.add(bits_back.encode(message, model, step.batch, x), x.size)
    report = tally.report(
        images=len(images),
        dims=images.size,
        chained_dims=images.size,
        payload_bits=0,
        first_bits=0,
        filler_bits=0,
        header_bits=0,
        head_bits=0.0,
    )
    return before, message, report


def unchain(message, model, count, height, width, batch=4):
    found = [
        bits_back.decode(message, model, step.batch)[:, 0]
        for step in list(steps(count, height, width, batch))[::-1]
    ]
    return np.concatenate(found[::-1])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99), st.booleans())
def test_an_untrained_vae_gives_any_binary_images_back(height, width, count, seed, dense):
    model = vae.rounded(vae.fresh(height, width, 7, 3, seed), height, width)
    chance = 0.9 if dense else 0.1
    images = (np.random.default_rng(seed).random((count, height, width)) < chance).astype(np.uint8)
    before, message, _ = chain(model, images, batch=2)
    assert np.array_equal(unchain(message, model, count, height, width, batch=2), images)
    assert message == before


def test_a_trained_vae_codes_unseen_images_below_their_pixel_entropy_and_at_its_kl_rate():
    model = vae.fit(strokes(2000, 12, 0), hidden=64, latents=8, updates=600)
    images = strokes(400, 12, 1)
    before, message, report = chain(model, images)
    check = report.check()
    assert check.passed, check
    share = images.mean()
    independent = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert report.net_bits / images.size < 0.5 * independent
    assert np.array_equal(unchain(message, model, len(images), 12, 12), images)
    assert message == before


class Certain:
    """A VAE whose posterior is uniform of the grid's width: the paper's first scheme."""

    def __init__(self, model):
        self.model = model
        self.groups = tuple(dataclasses.replace(g, constant_width=True) for g in model.groups)

    def __getattr__(self, name):
        return getattr(self.model, name)


def test_the_first_scheme_pops_nothing_and_needs_no_initial_bits():
    model = Certain(vae.fit(strokes(500, 8, 0), hidden=32, latents=4, updates=100))
    images = strokes(60, 8, 1)
    message = Message.empty(1)
    for step in steps(len(images), 8, 8, 4):
        cost = bits_back.encode(message, model, step.batch, images[step.where][:, None])
        assert cost.groups[0].popped == 0
        assert cost.groups[0].pushed > 0
    assert np.array_equal(unchain(message, model, len(images), 8, 8), images)
    assert message == Message.empty(1)
