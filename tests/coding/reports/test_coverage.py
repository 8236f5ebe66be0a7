"""What lies beyond the tables is counted, and costs what is said."""

import dataclasses
import re

import numpy as np
import pytest
from float_vae import LOW, TOP, FloatVae, Port, images, port

import bitsback
from bitsback.coding.reports import coverage
from bitsback.coding.reports.coverage import Beyond, Coverage
from bitsback.coding.reports.rows import coverage_lines
from bitsback.protocol import Group
from bitsback.tables import latent_grid
from bitsback.tables.pixels import Mixture

IMAGES = images(60)


class Odd(Port):
    """A port whose latents lie elsewhere, or on other grids.

    Args:
        scale: log2 of the unit of latents.
        shift: of prior and posterior means.
        log_width: of the grids.
        push: of the posteriors' means alone.
        narrow: added to the posteriors' log2 sigma.
        limit: of the groups.
        fine: whether the groups' grids are fine; of the width 2**-scale, as the unit of latents.
    """

    def __init__(
        self,
        shift=0.0,
        log_width=-48,
        push=0.0,
        narrow=0.0,
        limit=latent_grid.Z_LIMIT,
        scale=0.0,
        fine=False,
    ):
        super().__init__(FloatVae())
        self.shift, self.move, self.narrow = shift, push, narrow
        self.scale = scale
        widths = [np.full(size, 0 if fine else log_width) for size in (TOP, LOW)]
        self.groups = tuple(
            Group(1, n + 1, w, limit=limit, fine=fine) for n, w in enumerate(widths)
        )

    def prior(self, index, state):
        return self._moved(super().prior(index, state), 0.0, 0.0)

    def posterior(self, index, memory, state, p):
        q, memory = super().posterior(index, memory, state, p)
        return self._moved(q, self.move, self.narrow), memory

    def step(self, index, state, z):
        return super().step(index, state, (z - 64 * self.shift) / 2.0**self.scale)

    def _moved(self, g, push, narrow):
        mean = np.round(2.0**self.scale * (g.mean + 256 * push) + 256 * self.shift)
        log_scale = g.log_scale + round(64 * (self.scale + narrow))
        return latent_grid.Gaussian(mean.astype(np.int64), log_scale)


def rate(expected=None, **odd):
    loaded = dataclasses.replace(port(FloatVae()), model=Odd(**odd))
    return bitsback.rate(IMAGES, loaded, expected=expected)


def shares(report):
    return {kind.what: kind.share for kind in report.coverage.kinds}


def test_within_the_tables_nothing_is_counted():
    report = rate()
    assert set(shares(report)) == {
        coverage.LATENTS,
        coverage.GRIDS,
        coverage.SCALES,
        coverage.WINDOW,
        coverage.NARROW,
        coverage.WIDTHS,
    }
    assert not any(shares(report).values())
    latents = (TOP + LOW) * report.chained_images
    assert [kind.total for kind in report.coverage.kinds] == [latents] * 6
    assert coverage_lines(report) == []


def test_latents_of_any_location_need_but_a_limit():
    near = rate()
    with pytest.raises(
        bitsback.ModelError, match=r"latents beyond their group's limit \(1.00e\+00"
    ):
        rate(shift=100.0)
    far = rate(shift=100.0, limit=latent_grid.UNLIMITED)
    assert not any(shares(far).values())
    assert far.check().passed
    assert far.net_bits == pytest.approx(near.net_bits, rel=1e-3)


@pytest.mark.parametrize("scale", [-3.0, 4.0])
def test_latents_of_any_scale_need_but_a_unit(scale):
    expected = FloatVae().expected_bits(IMAGES)
    report = rate(expected, scale=scale, limit=latent_grid.UNLIMITED)
    assert not any(shares(report).values())
    assert report.check().passed, str(report.check())


@pytest.mark.parametrize("scale", [3.0, 6.0])
def test_grids_finer_than_the_table_has_are_fine_ones(scale):
    report = rate(FloatVae().expected_bits(IMAGES), scale=scale, fine=True)
    assert set(shares(report)) == {coverage.WINDOW, coverage.FINE_SIGMAS, coverage.FINE_WIDTHS}
    assert not any(shares(report).values())
    assert report.check().passed, str(report.check())


def test_posteriors_much_narrower_than_a_fine_grid_are_a_warning():
    with pytest.warns(bitsback.CoverageWarning, match=re.escape(coverage.FINE_WIDTHS)):
        report = rate(scale=2.0, narrow=-5.0, fine=True)
    assert shares(report)[coverage.FINE_WIDTHS] > 0.5


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        ({"log_width": -60}, coverage.GRIDS),
        ({"push": 40.0, "scale": 6.0, "fine": True}, coverage.WINDOW),
        ({"scale": 10.0, "fine": True}, coverage.FINE_SIGMAS),
        ({"scale": -4.0, "fine": True}, coverage.FINE_SIGMAS),
        ({"push": 40.0, "limit": 1 << 20}, coverage.WINDOW),
        ({"scale": 17.0, "limit": 1 << 40}, coverage.SCALES),
    ],
)
def test_what_costs_too_much_is_an_error(odd, what):
    with pytest.raises(bitsback.ModelError, match=re.escape(what)):
        rate(**odd)


def test_posteriors_of_other_widths_are_a_warning():
    with pytest.warns(bitsback.CoverageWarning, match=r"narrower than 0.29 .* unknown cost"):
        report = rate(narrow=-4.0)
    assert shares(report)[coverage.WIDTHS] > 0.5
    assert "narrower than 0.29" in coverage_lines(report)[0]


def test_posteriors_finer_than_a_latents_unit_are_a_warning():
    with pytest.warns(bitsback.CoverageWarning, match=re.escape(coverage.NARROW)):
        report = rate(scale=-6.0)
    assert shares(report)[coverage.NARROW] > 0.5


def test_clipping_that_a_model_was_trained_with_is_counted_and_no_more(build_model):
    loaded = build_model(channels=1, likelihood="logistic", mixtures=2)
    likelihood = type(loaded.model).likelihood

    def brighter(self, state, gray):
        found = likelihood(self, state, gray)
        return dataclasses.replace(found, means=found.means + 16 * 400)

    model = type("Brighter", (type(loaded.model),), {"likelihood": brighter})
    own = dataclasses.replace(loaded, model=model.__new__(model))
    vars(own.model).update(vars(loaded.model))
    dark = np.zeros((40, 8, 8), np.uint8)
    report = bitsback.rate(dark, own)
    assert shares(report)[coverage.COMPONENTS] > 0.9
    assert len(coverage_lines(report)) >= 1
    white = np.full((40, 8, 8), 255, np.uint8)
    with pytest.raises(bitsback.ModelError, match="components of pixel mixtures"):
        bitsback.rate(white, dataclasses.replace(own, clips=False))
    assert bitsback.rate(white, own).check().passed


def test_means_of_pixel_mixtures_may_lie_anywhere(build_model):
    loaded = build_model(channels=1, likelihood="logistic", mixtures=2)
    likelihood = type(loaded.model).likelihood

    def brighter(self, state, gray):
        found = likelihood(self, state, gray)
        return dataclasses.replace(found, means=found.means + 16 * 400, clips=False)

    model = type("Brighter", (type(loaded.model),), {"likelihood": brighter})
    own = dataclasses.replace(loaded, model=model.__new__(model), clips=False)
    vars(own.model).update(vars(loaded.model))
    white = np.full((40, 8, 8), 255, np.uint8)
    report = bitsback.rate(white, own)
    assert report.check().passed
    assert shares(report)[coverage.COMPONENTS] == 0
    # All mass of a mean of 528 lies in the highest level; of one that is clipped to 255, half.
    assert report.pixels_kl_bits < 0.01 * report.chained_dims
    data = bitsback.compress(white, own, always_chain=True)
    assert np.array_equal(bitsback.decompress(data, own), white)


def test_sums_and_the_two_limits():
    few, many = Beyond("means", 1, 10**7, 0.5), Beyond("means", 19, 10**6, 1.5)
    assert Coverage((few,)).warned == ()
    both = Coverage((few,)) + Coverage((many, Beyond("others", 0, 5)))
    assert both.kinds == (Beyond("means", 20, 11 * 10**6, 2.0), both.kinds[1])
    assert [kind.what for kind in both.warned] == ["means"]
    assert both.kinds[0].fails(1999.0)
    assert not both.kinds[0].fails(2001.0)
    shorter = Beyond("means", 9, 10, -1.0)
    assert Coverage((shorter,)).warned == ()
    assert shorter.line(100.0).endswith("are clipped, which saves 1.0 bits, 1.0000% of the chain's")
    assert "which costs 2.0 bits, 0.1000% of" in both.kinds[0].line(2000.0)


def mixture(means, log_scale=0, kind="logistic"):
    """One pixel of three channels under two components with these means of each, levels."""
    levels = np.round(16 * np.asarray(means, float)).astype(np.int64).reshape(1, 2, 3, 1, 1)
    zeros = np.zeros((1, 2, 1, 1), np.int64)
    coeffs = np.zeros((1, 2, 3, 1, 1), np.int64)
    return Mixture(kind, zeros, levels, np.full_like(levels, log_scale), coeffs, clips=True)


@pytest.mark.parametrize("kind", ["logistic", "gaussian"])
def test_means_beyond_the_levels_are_counted_and_their_cost_is_known(kind):
    inside = mixture([[1, 2, 3], [250, 255, 0]], kind=kind)
    x = np.array([3, 255, 0], np.uint8).reshape(1, 3, 1, 1)
    assert inside.beyond(x) == (0, 6, 0.0)
    outside = mixture([[-8, 2, 3], [300, 255, -0.5]], 24, kind)
    count, total, cost = outside.beyond(x)
    assert (count, total) == (3, 6)
    # The level 3 is likelier under a mean of 0 than under -8, so clipping saves bits.
    assert -2 < cost < 0
    low = mixture([[-60, 2, 3], [300, 255, 0]], 24, kind)
    assert low.beyond(np.array([0, 255, 0], np.uint8).reshape(1, 3, 1, 1))[2] > 0


def test_scales_beyond_the_tables_are_counted_and_their_cost_is_known():
    x = np.array([9, 120, 250], np.uint8).reshape(1, 3, 1, 1)
    middle = [[100, 100, 100], [100, 100, 100]]
    assert mixture(middle, 48).beyond(x) == (0, 6, 0.0)
    count, total, cost = mixture(middle, 80).beyond(x)
    # Beside 2**10 levels, 0..255 have a uniform density; its tails go to the ends, which x is not.
    assert (count, total) == (6, 6)
    assert cost < 0
    narrow = mixture([[9, 120, 250], [9, 120, 250]], -60)
    assert narrow.beyond(x)[:2] == (6, 6)
    assert 0 < narrow.beyond(x)[2] < 0.2


def test_means_that_move_with_earlier_channels_are_counted_as_moved():
    base = mixture([[100, 250, 9], [100, 250, 9]])
    coeffs = base.coeffs.copy()
    coeffs[:, :, 0] = 2048  # one level up for each level of the first channel above 128
    moved = dataclasses.replace(base, coeffs=coeffs)
    assert moved.beyond(np.array([138, 255, 9], np.uint8).reshape(1, 3, 1, 1))[0] == 2
    assert moved.beyond(np.array([128, 255, 9], np.uint8).reshape(1, 3, 1, 1))[0] == 0
