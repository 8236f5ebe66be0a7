import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from bitsback.ans import codecs
from bitsback.ans.message import Message
from bitsback.tables import latent_grid, tables

pytestmark = pytest.mark.usefixtures("either_way")
seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(*(st.integers(1, n) for n in (3, 4, 5, 5)))


def random_case(seed, shape, log_width):
    """Any q, p and dither on grids of given width (None: one for each channel)."""
    rng = np.random.default_rng(seed)
    if log_width is None:
        log_width = rng.integers(-48, 33, (shape[1], 1, 1))
    near = rng.random() < 0.5

    def gaussian():
        mean = rng.integers(-256, 257, shape) if near else rng.integers(-4096, 4097, shape)
        scale = rng.integers(-128, 65, shape) if near else rng.integers(-512, 193, shape)
        return latent_grid.Gaussian(mean.astype(np.int32), scale.astype(np.int32))

    return gaussian(), gaussian(), np.asarray(log_width), latent_grid.dither(seed, 1, 2, shape)


def constant(mean, log_scale, shape):
    """A Gaussian everywhere; its log-scale is in units of a grid's width, 1/16 octave."""
    return latent_grid.Gaussian(
        np.full(shape, mean, np.int32), np.full(shape, 4 * log_scale, np.int32)
    )


def real_offset(q, p, log_width, d):
    """o - u, what k is centred on, in floats."""
    step = 2.0 ** (p.log_scale / 64 + log_width / 16)
    return (q.mean - p.mean) / 256 / step - ((d + 0.5) / 32 - 0.5)


def posterior_codec(rows):
    return codecs.categorical(tables.posterior_table(), rows, tables.PRECISION)


def prior_codec(log_width, d):
    rows = latent_grid.prior_rows(log_width, d)
    return codecs.categorical(tables.prior_table(), rows, tables.PRECISION)


@settings(max_examples=60, deadline=None)
@given(seeds, shapes, st.one_of(st.none(), st.integers(-48, 32)))
def test_coding_there_and_back_leaves_the_message_as_it_was(seed, shape, log_width):
    q, p, log_width, d = random_case(seed, shape, log_width)
    message = Message.random(8, 1000, seed)
    before = message.copy()
    rows, base = latent_grid.posterior_rows(q, p, log_width, d)
    posterior, prior = posterior_codec(rows), prior_codec(log_width, d)
    k = base + posterior.pop(message)[1] - 128
    assert k.min() >= -128
    assert k.max() <= 127
    prior.push(message, k + 128)
    assert np.array_equal(prior.pop(message)[1] - 128, k)
    posterior.push(message, k - base + 128)
    assert message == before


@settings(max_examples=60, deadline=None)
@given(seeds, shapes)
def test_the_whole_support_of_a_posterior_lies_in_the_window(seed, shape):
    q, p, log_width, d = random_case(seed, shape, None)
    rows, base = latent_grid.posterior_rows(q, p, log_width, d)
    assert ((rows >= 0) & (rows < len(tables.posterior_table()))).all()
    radius = tables.posterior_radius()[rows // 32]
    assert (base - radius >= -128).all()
    assert (base + radius <= 127).all()


@settings(max_examples=60, deadline=None)
@given(seeds, shapes)
def test_posterior_rows_are_centred_within_a_cell_and_have_the_width(seed, shape):
    q, p, log_width, d = random_case(seed, shape, None)
    rows, base = latent_grid.posterior_rows(q, p, log_width, d)
    width = np.floor((q.log_scale - p.log_scale) / 4 + 0.5).astype(int) - log_width
    width = np.clip(width, -29, 48)
    assert np.array_equal(rows // 32 - 29, width)
    centre = base + (rows % 32 + 0.5) / 32 - 0.5
    exact = real_offset(q, p, log_width, d)
    free = np.abs(exact) < 126 - tables.posterior_radius()[rows // 32]
    # scales have an error of 2**-21 absolute, 2**-16 relative at the worst
    bound = 1 / 64 + np.abs(exact + 1) * 2.0**-15
    assert (np.abs(centre - exact) <= bound)[free].all()


@settings(max_examples=60, deadline=None)
@given(seeds, shapes)
def test_the_nearest_point_is_within_half_a_cell(seed, shape):
    q, p, log_width, d = random_case(seed, shape, None)
    k = latent_grid.nearest(q, p, log_width, d)
    assert k.min() >= -128
    assert k.max() <= 127
    exact = np.clip(real_offset(q, p, log_width, d), -128, 127)
    assert (np.abs(k - exact) <= 0.5 + 1 / 32 + np.abs(exact) * 2.0**-15).all()


@settings(max_examples=60, deadline=None)
@given(seeds, shapes)
def test_latents_are_the_rounded_formula(seed, shape):
    _, p, log_width, d = random_case(seed, shape, None)
    k = np.random.default_rng(seed).integers(-128, 128, shape)
    z = latent_grid.latent(p, log_width, k, d)
    step = 2.0 ** (p.log_scale / 64 + log_width / 16)
    point = k + (d + 0.5) / 32 - 0.5
    exact = np.clip((p.mean / 256 + step * point) * 64, -512, 512)
    # half a unit of rounding, and a scale that has an absolute error of 2**-21
    bound = 0.5 + np.abs(point) * 64 * 2.0**-20 + 1e-6
    assert z.dtype.kind == "i"
    assert (np.abs(z - exact) <= bound).all()


@pytest.mark.parametrize("octaves", [-2, 0, 1])
@pytest.mark.parametrize(("mean_q", "scale_q", "mean_p", "scale_p"), [
    (128, -16, 0, 0), (-77, -24, 50, 3), (301, -8, 256, -16),
])  # fmt: skip
def test_latents_under_the_coder_have_qs_mean_and_variance(
    octaves, mean_q, scale_q, mean_p, scale_p
):
    """delta = sigma_q / sigma_p * 2**octaves: the grid's own noise is part of q's variance."""
    shape = (1, 1, 200, 400)
    log_width = np.full((1, 1, 1), scale_q - scale_p + 16 * octaves)
    q, p = constant(mean_q, scale_q, shape), constant(mean_p, scale_p, shape)
    d = latent_grid.dither(5, 0, octaves + 2, shape)
    rows, base = latent_grid.posterior_rows(q, p, log_width, d)
    message = Message.random(64, 60_000, 7)
    k = base + posterior_codec(rows).pop(message)[1] - 128
    z = latent_grid.latent(p, log_width, k, d) / 64
    n, sigma = z.size, 2.0 ** (scale_q / 16)
    offset_rounding = sigma * 2.0**octaves / 64
    assert abs(z.mean() - mean_q / 256) < 5 * sigma / np.sqrt(n) + offset_rounding
    rounding = 2.0**-12 / 12
    assert abs(z.var() - rounding - sigma**2) < 5 * sigma**2 * np.sqrt(2 / n)


def test_the_first_scheme_has_noise_uniform_over_the_width():
    shape, log_width = (1, 1, 100, 200), np.full((1, 1, 1), -16)
    q, p = constant(60, -16, shape), constant(0, 0, shape)
    d = latent_grid.dither(3, 0, 0, shape)
    z = latent_grid.latent(p, log_width, latent_grid.nearest(q, p, log_width, d), d) / 64
    noise = (z - 60 / 256) / 0.5
    assert np.abs(noise).max() <= 0.5 + 1 / 32 + 1 / 64
    assert noise.var() == pytest.approx(1 / 12, rel=0.03)


@settings(max_examples=30, deadline=None)
@given(seeds, shapes)
def test_kl_and_luck_on_the_grid_are_sums_over_the_tables(seed, shape):
    q, p, log_width, d = random_case(seed, shape, None)
    rows, base = latent_grid.posterior_rows(q, p, log_width, d)
    p_rows = latent_grid.prior_rows(log_width, d)
    found = latent_grid.kl_bits(rows, base, p_rows)
    luck = latent_grid.luck_variance(rows, base, p_rows)
    assert found.shape == luck.shape == shape
    for index in np.ndindex(shape):
        fq = np.diff(tables.posterior_table()[rows[index]].astype(float))
        fp = np.diff(tables.prior_table()[p_rows[index]].astype(float))
        j = np.flatnonzero(fq)
        exact = (fq[j] * np.log2(fq[j] / fp[j + base[index]])).sum() / 2**24
        assert found[index] == pytest.approx(exact, rel=1e-9, abs=1e-9)
        square = (fq[j] * np.log2(fq[j] / fp[j + base[index]]) ** 2).sum() / 2**24
        assert luck[index] == pytest.approx(square - exact**2, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("octaves", "slack"), [(-2, 0.001), (-1, 0.003), (0, 0.009), (1, 0.033)])
def test_kl_on_the_grid_is_that_of_the_noisy_latents(octaves, slack):
    """q = N(0.5, 0.5**2), p = N(0, 1): 0.639 bits, and a little more on wide grids.

    Averaged over the dither, the KL of k is that of z's density: q narrowed by the grid's
    noise, then blurred by it, against p blurred by it.
    """
    shape = (1, 1, 1, 32)
    log_width = np.full((1, 1, 1), -16 + 16 * octaves)
    delta = 0.5 * 2.0**octaves
    q, p = constant(128, -16, shape), constant(0, 0, shape)
    d = np.arange(32).reshape(shape)
    rows, base = latent_grid.posterior_rows(q, p, log_width, d)
    on_grid = latent_grid.kl_bits(rows, base, latent_grid.prior_rows(log_width, d)).mean()
    t = np.linspace(-6, 7, 20_001)
    narrow = np.sqrt(0.25 - delta**2 / 12)
    blurred_q, blurred_p = (
        special.ndtr((t + delta / 2 - mean) / sigma) - special.ndtr((t - delta / 2 - mean) / sigma)
        for mean, sigma in ((0.5, narrow), (0.0, 1.0))
    )
    exact = special.rel_entr(blurred_q, blurred_p).sum() * (t[1] - t[0]) / delta / np.log(2)
    assert on_grid == pytest.approx(exact, abs=5e-4)
    continuous = latent_grid.continuous_kl_bits(q, p)[0, 0, 0, 0]
    assert continuous == pytest.approx(1 - 0.25 / np.log(2), rel=1e-12)
    assert on_grid <= continuous + slack


@settings(max_examples=60, deadline=None)
@given(seeds, shapes)
def test_continuous_kl_is_the_integral(seed, shape):
    rng = np.random.default_rng(seed)
    mean, scale = rng.integers(-600, 600, (2, *shape)), rng.integers(-160, 161, (2, *shape))
    q, p = (latent_grid.Gaussian(m, s) for m, s in zip(mean, scale, strict=True))
    found = latent_grid.continuous_kl_bits(q, p)
    t = np.linspace(-12, 12, 4001)
    for index in list(np.ndindex(shape))[:3]:
        mq, mp = mean[0][index] / 256, mean[1][index] / 256
        sq, sp = 2.0 ** (scale[0][index] / 64), 2.0 ** (scale[1][index] / 64)
        density = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
        ratio = -(t**2) / 2 - np.log(sq) + ((mq + sq * t - mp) / sp) ** 2 / 2 + np.log(sp)
        exact = (density * ratio).sum() * (t[1] - t[0]) / np.log(2)
        assert found[index] == pytest.approx(exact, rel=1e-6, abs=1e-6)


def test_dither_is_a_function_of_its_counter_alone():
    d = latent_grid.dither(1, 2, 3, (2, 3, 4, 5))
    assert np.array_equal(d, latent_grid.dither(1, 2, 3, (2, 3, 4, 5)))
    assert np.array_equal(d.ravel()[:7], latent_grid.dither(1, 2, 3, (7,)))
    others = [latent_grid.dither(*key, (2, 3, 4, 5)) for key in ((2, 2, 3), (1, 3, 3), (1, 2, 4))]
    assert not any(np.array_equal(d, other) for other in others)


def test_dither_and_nil_numbers_are_the_same_on_every_machine():
    """Part of the format: written files depend on them."""
    raw = np.random.Philox(key=9, counter=np.array([0, 0, 4, 6], np.uint64)).random_raw(5)
    nil = np.random.Philox(key=9, counter=np.array([0, 1, 4, 6], np.uint64)).random_raw(5)
    assert latent_grid.dither(9, 6, 4, (5,)).tolist() == [(int(v) >> 32) % 32 for v in raw]
    assert latent_grid.nil_cf(9, 6, 4, (5,)).tolist() == [int(v) >> 40 for v in nil]
    assert latent_grid.dither(9, 6, 4, (5,)).tolist() == [7, 25, 23, 21, 23]
    assert latent_grid.nil_cf(9, 6, 4, (5,)).tolist() == [
        8708173,
        2572427,
        13399342,
        12749037,
        4148075,
    ]


def test_dither_and_nil_numbers_are_uniform():
    d = latent_grid.dither(0, 0, 0, (32_000,))
    counts = np.bincount(d, minlength=32)
    assert len(counts) == 32
    assert ((counts - 1000) ** 2 / 1000).sum() < 80  # chi-square, 31 degrees of freedom
    cf = latent_grid.nil_cf(0, 0, 0, (32_000,))
    assert cf.min() >= 0
    assert cf.max() < 1 << 24
    assert abs(cf.mean() / 2**24 - 0.5) < 5 / np.sqrt(12 * 32_000)
    assert abs(np.corrcoef(cf, d)[0, 1]) < 5 / np.sqrt(32_000)
