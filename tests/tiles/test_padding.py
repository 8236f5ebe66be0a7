"""What stands beyond an image's edge is not coded, and both sides put the same there."""

import dataclasses

import numpy as np
import pytest
from conftest import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bits_back import model_of

from bitsback.ans.message import Message
from bitsback.coding import bits_back
from bitsback.coding.batch import Batch
from bitsback.models.draw.passes.order import passes
from bitsback.tiles import padding, tiles

SIDES = st.integers(1, 23)
PASSES = {n: tuple(p.where for p in passes(dataclasses.replace(SMALL, passes=n))) for n in (1, 4)}


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=9), st.integers(1, 9))
def test_extents_are_those_of_the_tiles_that_are_cut(sizes, tile):
    images = [np.ones((h, w, 1), np.uint8) for h, w in sizes]
    runs = padding.image_runs(sizes, tile, tile)
    layout = padding.Layout(runs, tile, tile)
    count = tiles.count([p.shape for p in images], (tile, tile))
    if not runs:
        assert all(h % tile == w % tile == 0 for h, w in sizes)
        assert layout.extents(range(count)) is None
        return
    assert padding.tiles_of(runs, tile, tile) == count
    assert [size for n, *size in runs for _ in range(n)] == [list(size) for size in sizes]
    # Values of the tiles, padding left out, are known from the image's own side.
    values = tiles.values([p.shape for p in images], (tile, tile))
    for number in range(count):
        extents = layout.extents([number])
        assert values[number] == (tile**2 if extents is None else np.prod(extents[0]))
    assert layout.extents(range(count)) == tuple(
        (layout.extents([n]) or ((tile, tile),))[0] for n in range(count)
    )


@pytest.mark.parametrize("count", [1, 4])
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 99))
def test_what_stands_beyond_follows_from_the_pass_within(count, rows, columns, seed):
    random = np.random.default_rng(seed)
    x = random.integers(0, 256, (2, 3, 8, 8), np.uint8)
    extents = (rows, columns), (8, 8)
    found = x.copy()
    padding.fill_passes(found, extents, PASSES[count])
    assert np.array_equal(found[:, :, :rows, :columns], x[:, :, :rows, :columns])
    assert np.array_equal(found[1], x[1])
    for where in PASSES[count]:
        part, inside = found[:, :, *where], padding.known(extents, (4, 4), where)
        if count == 1:
            inside = padding.known(extents, (8, 8), where)
        values = {tuple(v) for v in part[0][:, inside[0]].T} or {(0, 0, 0)}
        assert {tuple(v) for v in part[0].reshape(3, -1).T} == values
        x[:, :, *where][~np.broadcast_to(inside[:, None], part.shape)] = 7
    again = x.copy()
    padding.fill_passes(again, extents, PASSES[count])
    assert np.array_equal(again, found)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_batch_of_cut_images_gives_back_what_lies_within(data):
    likelihood = data.draw(st.sampled_from(["bernoulli", "gaussian", "logistic"]))
    config = dataclasses.replace(
        SMALL,
        channels=data.draw(st.sampled_from([1, 3])),
        likelihood=likelihood,
        passes=data.draw(st.sampled_from([1, 4, 7])),
    )
    if likelihood == "logistic" and config.passes == 1 and data.draw(st.booleans()):
        config = dataclasses.replace(config, mixtures=2, stride=4, head_maps=4, head_blocks=1)
    gray = config.channels == 3 and data.draw(st.booleans())
    extent = st.tuples(st.integers(1, 8), st.integers(1, 8))
    extents = tuple(data.draw(st.lists(extent, min_size=1, max_size=4)))
    batch = Batch(len(extents), 8, 8, data.draw(st.integers(0, 99)), 3, gray, extents=extents)
    random = np.random.default_rng(batch.seed)
    high = 2 if likelihood == "bernoulli" else 256
    x = random.integers(0, high, (batch.size, config.channels, 8, 8)).astype(np.uint8)
    x = np.repeat(x[:, :1], 3, 1) if gray else x
    model, message = model_of(config), Message.random(8, 20_000, 1)
    before = message.copy()
    bits_back.encode(message, model, batch, x)
    coded = message.copy()
    found = bits_back.decode(message, model, batch)
    assert message == before
    for image, given_image, (rows, columns) in zip(found, x, extents, strict=True):
        assert np.array_equal(image[:, :rows, :columns], given_image[:, :rows, :columns])
    # What stands beyond does not matter to the encoder, either.
    padding.fill_passes(x, extents, model.passes)
    assert np.array_equal(found, x)
    bits_back.encode(message, model, batch, found)
    assert message == coded


def test_pixels_beyond_the_edge_cost_nothing():
    config = dataclasses.replace(SMALL, likelihood="logistic", passes=4)
    model = model_of(config)
    x = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8)).astype(np.uint8)
    whole, part = (
        bits_back.encode(Message.random(8, 20_000, 1), model, Batch(4, 8, 8, 0, 0, extents=e), x)
        for e in (None, ((8, 8), (8, 3), (1, 1), (2, 8)))
    )
    # An untrained model spends nearly the same on every pixel.
    share = (64 + 24 + 1 + 16) / 256
    assert part.expected_likelihood == pytest.approx(share * whole.expected_likelihood, rel=0.1)
    assert part.likelihood == pytest.approx(part.expected_likelihood, abs=1)
