"""What a file is made of: where chunks begin, and which code is chosen for them."""

import dataclasses
import io
import itertools

import numpy as np
import pytest
from conftest import SMALL, random_model
from hypothesis import given, settings
from hypothesis import strategies as st

import bitsback
from bitsback.archive import writer
from bitsback.archive.reader import Reader
from bitsback.archive.writer import chunk_bounds
from bitsback.benchmarks.files import TimedModel
from bitsback.chunks import cost
from bitsback.chunks.plan import Settings
from bitsback.images.image_set import from_array
from bitsback.models import store
from bitsback.tables import latent_grid


@pytest.fixture
def images():
    return (np.random.default_rng(0).random((40, 8, 8)) < 0.3).astype(np.uint8)


@pytest.fixture
def loaded(build_model):
    return build_model()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=60), st.data())
def test_bounds_divide_all_images_evenly(sizes, data):
    sizes = np.array(sizes)
    chunk = data.draw(st.one_of(st.none(), st.integers(1, 70)))
    bounds = chunk_bounds(sizes, chunk, 1000)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == len(sizes)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
    assert all(begin < end for begin, end in bounds)
    if chunk is None:
        # One image may be larger than a chunk; two that together are need not be one.
        most = 1000 + sizes.max()
        assert all(sizes[begin:end].sum() <= most for begin, end in bounds)
    else:
        assert all(end - begin == chunk for begin, end in bounds[:-1])


@pytest.mark.parametrize("chunk", [0, -1, 2**32])
def test_a_chunk_of_no_images_is_refused(images, loaded, chunk):
    with pytest.raises(bitsback.InputError, match="chunk"):
        bitsback.compress(images, loaded, chunk=chunk)


def test_a_batch_larger_than_decoders_allow_is_refused(loaded):
    images = np.zeros((2**15, 8, 8), np.uint8)
    with pytest.raises(bitsback.InputError, match="at most 16384"):
        bitsback.compress(images, loaded, batch=2**15)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("always_chain", [False, True])
def test_few_tiles_whose_first_one_fills_the_initial_bits(build_model, count, always_chain):
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2, tile=16)
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    packed = writer.compress_set(
        from_array(images), loaded, settings=Settings(always_chain=always_chain)
    )
    assert np.array_equal(bitsback.decompress(packed.data, loaded), images)
    assert not always_chain or packed.report.chained_images >= 1


def test_where_a_classical_code_is_far_smaller_the_chain_is_not_tried(loaded):
    calls = []

    class Counting(TimedModel):
        def _timed(self, call):
            return lambda *words: calls.append(call) or call(*words)

    counted = dataclasses.replace(loaded, model=Counting(loaded.model))
    blank = np.zeros((4000, 8, 8), np.uint8)
    packed = writer.compress_set(from_array(blank), counted)
    assert packed.report.chained_images == 0
    assert len(packed.data) < 300
    few = len(calls)
    through = writer.compress_set(from_array(blank), counted, settings=Settings(always_chain=True))
    assert through.report.chained_images > 3000
    assert len(calls) > 100 * few
    assert np.array_equal(bitsback.decompress(packed.data, loaded), blank)


def test_reports_of_chunks_add_up(loaded, images):
    packed = writer.compress_set(
        from_array(images),
        loaded,
        payload=b"p" * 900,
        chunk=15,
        settings=Settings(always_chain=True),
    )
    report = packed.report
    assert report.file_bits == pytest.approx(8 * len(packed.data))
    assert report.images == 40
    assert report.dims == images.size
    assert report.chained_images == sum(batch.images for batch in report.batches)
    latents = sum(group.net_bits for group in report.steps)
    assert report.net_bits == pytest.approx(latents + report.likelihood_bits)
    assert len(report.steps) == 2


def test_a_chain_begins_without_filler_where_it_is_long_enough(loaded, images):
    many = from_array(np.concatenate([images] * 4))
    packed = writer.compress_set(many, loaded, settings=Settings(heads=8, always_chain=True))
    report = packed.report
    assert report.filler_bits == 0
    assert 0 < report.first_bits < report.net_bits
    assert report.chained_images < report.images == 160
    assert report.initial_bits == pytest.approx(report.payload_bits + report.first_bits)
    head = Reader(io.BytesIO(packed.data), lambda *_: loaded).head(0)
    assert sum(head.partial) == 160 - report.chained_images
    assert head.partial


def test_few_images_have_no_latents_where_that_is_least(loaded, images):
    packed = writer.compress_set(from_array(images[:1]), loaded)
    assert packed.report.chained_images == 0
    assert packed.report.filler_bits == 0
    assert np.array_equal(bitsback.decompress(packed.data, loaded), images[:1])
    forced = writer.compress_set(
        from_array(images[:1]), loaded, settings=Settings(always_chain=True)
    )
    assert forced.report.chained_images == 1
    assert forced.report.filler_bits > 0
    assert np.array_equal(bitsback.decompress(forced.data, loaded), images[:1])


def test_a_batch_that_finds_too_few_bits_is_tried_again_with_more(loaded, images, monkeypatch):
    chain_cost = cost.chain_cost

    def careless(plan, loaded, *rest):
        sample = chain_cost(plan, loaded, *rest)
        return cost.ChainCost(sample.net, tuple(bits / 3 for bits in sample.popped))

    monkeypatch.setattr(cost, "chain_cost", careless)
    many = np.concatenate([images] * 4)
    packed = writer.compress_set(from_array(many), loaded, settings=Settings(always_chain=True))
    assert packed.report.chained_images > 0
    assert np.array_equal(bitsback.decompress(packed.data, loaded), many)


@pytest.mark.parametrize("count", [1, 160])
def test_heads_that_take_more_bits_than_usual_are_given_more(tmp_path, images, monkeypatch, count):
    tensors, widths = random_model(SMALL)
    for width in widths:
        width[:] = latent_grid.NIL  # nothing is popped: only the heads take bits
    store.save(tmp_path / "nil", SMALL, tensors, widths)
    loaded = store.load(str(tmp_path / "nil"), "cpu")
    monkeypatch.setattr(cost, "_BITS_OF_HEAD", 20)
    many = np.concatenate([images] * 4)[:count]
    packed = writer.compress_set(
        from_array(many), loaded, settings=Settings(heads=16, always_chain=True)
    )
    assert packed.report.chained_images > 0
    assert np.array_equal(bitsback.decompress(packed.data, loaded), many)
