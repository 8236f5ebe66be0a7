"""An ablation codes every set without and with each switch, and names what it leaves out."""

import math
from functools import partial

import numpy as np
import pytest
from PIL import Image

from bitsback.benchmarks.sets import ablation, round_trip
from bitsback.benchmarks.sets.ablation import Row, Switch, Without
from bitsback.errors import BitsbackError
from bitsback.images.image_set import from_array


@pytest.fixture
def loaded(build_model):
    return build_model()


@pytest.fixture(autouse=True)
def chained(monkeypatch):
    """An untrained model codes all images, though a classical code is smaller."""
    monkeypatch.setattr(ablation, "Settings", partial(ablation.Settings, always_chain=True))


@pytest.fixture(autouse=True)
def order_alone(monkeypatch, request):
    """Binary images have no side information; a test that is of it asks for all switches."""
    if "all_switches" not in request.fixturenames:
        monkeypatch.setattr(ablation, "SWITCHES", ablation.SWITCHES[:2])


@pytest.fixture
def all_switches():
    return ablation.SWITCHES


def drawings(count):
    return (np.random.default_rng(0).random((count, 8, 8)) < 0.2).astype(np.uint8)


def folder_of(tmp_path, count=120):
    np.savez(tmp_path / "omniglot.npz", test_binary=drawings(count))
    np.savez(tmp_path / "cifar10.npz", train=np.zeros((3, 8, 8, 3), np.uint8))
    (tmp_path / "kodak").mkdir()
    Image.fromarray(drawings(1)[0] != 0).save(tmp_path / "kodak" / "1.png")
    return tmp_path


def rows_of(folder, loaded, limit=None, progress=None):
    subjects, absent = ablation.standard(folder, limit, lambda name: loaded)
    return list(ablation.run(subjects, progress=progress)), absent


def test_what_the_order_is_worth_is_what_a_set_saves(tmp_path, loaded):
    found, absent = rows_of(folder_of(tmp_path), loaded)
    base, ordered, cifar, kodak, no_order = found
    assert (base.title, base.switch, base.images, base.dims) == (
        "Omniglot test_binary",
        "none",
        120,
        120 * 64,
    )
    assert (ordered.switch, ordered.change) == (
        "any order",
        ordered.bits_per_dim / base.bits_per_dim - 1,
    )
    promised = math.lgamma(121) / math.log(2)
    assert 0.8 * promised < ordered.promised_order_bits <= promised
    assert ordered.order_bits == pytest.approx(ordered.promised_order_bits, abs=0.1)
    saved = (base.bits_per_dim - ordered.bits_per_dim) * base.dims
    assert saved == pytest.approx(promised, rel=0.25)
    assert base.order_bits == base.promised_order_bits == base.change == 0
    assert all(speed > 0 for row in (base, ordered) for speed in row.speeds)
    # A set of another form, and one without an order to leave out, say why they have no figures.
    assert isinstance(cifar, Without)
    assert "has no array heldout or test" in str(cifar)
    assert isinstance(kodak, Row)
    assert str(no_order).startswith("Kodak, any order: only arrays")
    assert [each.title for each in absent] == ["MNIST", "McMaster", "Set14"]
    assert all("absent: there is no" in str(each) for each in absent)


def test_a_limit_bounds_every_set(tmp_path, loaded):
    found, _ = rows_of(folder_of(tmp_path), loaded, limit=7)
    assert found[0].images == 7


def test_a_set_of_several_chunks_is_also_one_chunk(tmp_path, loaded, monkeypatch):
    monkeypatch.setattr(round_trip.writer, "CHUNK_BINARY_VALUES", 50 * 64)
    np.savez(tmp_path / "omniglot.npz", test_binary=drawings(120))
    (base, parts, whole), _ = rows_of(tmp_path, loaded)
    assert (base.switch, parts.switch, whole.switch) == (
        "none",
        "any order",
        "any order, one chunk",
    )
    # log2 of 120! is more than that of 40! three times.
    assert whole.promised_order_bits > parts.promised_order_bits + 100
    assert whole.bits_per_dim < parts.bits_per_dim < base.bits_per_dim


def test_switches_are_coded_alone_and_together(tmp_path, loaded, monkeypatch):
    switches = (
        Switch("any order", {"any_order": True}),
        Switch("seed", {"seed": 3}, off={"seed": 2}),
        Switch("impossible", {"batch": 1 << 20}),
    )
    monkeypatch.setattr(ablation, "SWITCHES", switches)
    settings, encode = [], round_trip.encode

    def spy(images, loaded, given, *rest):
        settings.append(given)
        return encode(images, loaded, given, *rest)

    monkeypatch.setattr(round_trip, "encode", spy)
    np.savez(tmp_path / "omniglot.npz", test_binary=drawings(60))
    found, _ = rows_of(tmp_path, loaded)
    assert [row.switch for row in found] == ["none", "any order", "seed", "impossible", "all"]
    assert [type(row) for row in found] == [Row, Row, Row, Without, Row]
    assert [(each.any_order, each.seed) for each in settings[:3]] == [
        (False, 2),
        (True, 2),
        (False, 3),
    ]
    assert (settings[-1].any_order, settings[-1].seed) == (True, 3)


def test_each_kind_of_side_information_saves(tmp_path, build_model, all_switches):
    colour = build_model(
        channels=3, likelihood="logistic", mixtures=2, passes=4, blocks=1, pass_maps=4, batch=24
    )
    y, x = np.mgrid[:8, :8]
    slopes = np.random.default_rng(0).normal(size=(60, 2, 1, 1, 3)) * 3
    levels = 128 + slopes[:, 0] * y[..., None] + slopes[:, 1] * x[..., None]
    images = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "cifar10.npz", heldout=images)
    found, _ = rows_of(tmp_path, colour)
    changes = {row.switch: row.change for row in found}
    assert list(changes) == ["none", "any order", "predictor", "recalibration", "all"]
    assert changes["predictor"] < -0.05
    assert changes["recalibration"] < -0.05
    assert changes["all"] < min(changes["predictor"], changes["recalibration"])


def test_phases_name_the_run(tmp_path, loaded):
    class Told:
        def __init__(self):
            self.phases, self.done = [], []

        def __call__(self, done, total):
            self.done.append(done / total)

        def phase(self, name):
            self.phases.append(name)

    told = Told()
    np.savez(tmp_path / "omniglot.npz", test_binary=drawings(60))
    rows_of(tmp_path, loaded, progress=told)
    assert "Omniglot test_binary, any order: encoding" in told.phases
    assert "Omniglot test_binary, none: decoding" in told.phases
    assert max(told.done) == 1


def test_json_has_every_row_and_what_was_left_out(tmp_path, loaded):
    found, absent = rows_of(folder_of(tmp_path, 60), loaded)
    rows = [each for each in found if isinstance(each, Row)]
    told = ablation.to_dict(rows, absent, 5)
    assert told["limit"] == 5
    assert told["rows"][0]["encoded_per_second"] == rows[0].speeds[0]
    assert told["rows"][1]["decode"]["wall"] == rows[1].decode.wall
    assert len(told["without"]) == 3


@pytest.mark.parametrize("any_order", [False, True])
def test_images_that_do_not_come_back_are_found(any_order, loaded):
    images = from_array(drawings(80))
    settings = ablation.Settings(any_order=any_order)
    data = round_trip.encode(images, loaded, settings).packed.data
    seconds = round_trip.decode(data, images, loaded, any_order)
    assert seconds.processor >= 0
    other = drawings(80)
    other[3, 4, 4] ^= 1
    for wrong in (other, drawings(79)):
        with pytest.raises(BitsbackError, match="did not give the images back"):
            round_trip.decode(data, from_array(wrong), loaded, any_order)
    if any_order:
        with pytest.raises(BitsbackError, match="did not give the images back"):
            round_trip.decode(data, images, loaded)
