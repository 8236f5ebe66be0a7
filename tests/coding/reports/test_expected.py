"""A float model's own ELBO beside the code's bits: what ports get wrong shows."""

import json

import numpy as np
import pytest
from float_vae import FloatVae, images, port

import bitsback
from bitsback.archive import rates
from bitsback.coding.reports.expected import Estimate, Expected, student

VAE, IMAGES = FloatVae(), images(300)
EXPECTED = VAE.expected_bits(IMAGES)
STEPS = {"step 1", "step 1, layer 2"}


def measured(wrong="", expected=EXPECTED, x=IMAGES, **options):
    return bitsback.rate(x, port(VAE, wrong), expected=expected, **options)


def failed(report):
    """Names of the parts whose expected bits do not match."""
    check = report.check()
    return {part.name for part in check.expected if not part.passes(check.limit)}


@pytest.fixture(scope="module")
def right():
    return measured()


def test_a_right_port_matches_its_elbo_in_every_part(right):
    check = right.check()
    assert check.passed, str(check)
    names = [part.name for part in check.expected]
    assert names == ["step 1", "step 1, layer 2", "pixels", "chain"]
    assert all(part.standard_error_bits > 0 for part in check.expected)
    assert "KL-based and expected rate match in all parts" in str(check)
    found = right.to_dict()["check"]["expected"]
    assert [part["passed"] for part in found] == [True] * 4
    json.dumps(right.to_dict(), allow_nan=False)


def test_chunks_keep_each_image_beside_its_own_expected_bits(right):
    report = measured(chunk=70, batch=9)
    assert report.check().passed, str(report.check())
    by_image = report.by_image
    assert len(by_image.numbers) == report.chained_images < right.chained_images
    assert len(set(by_image.numbers)) == len(by_image.numbers)
    assert by_image.bits.sum() == pytest.approx(report.kl_bits)
    # The expected bits of each image explain most of what ours differ by.
    ours, theirs = by_image.bits[:, 0], EXPECTED["groups"][0].mean(0)[by_image.numbers]
    assert np.abs(ours - theirs).mean() < 0.1 * theirs.std()


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ("variance", {*STEPS, "pixels", "chain"}),
        ("means", {*STEPS, "pixels", "chain"}),
        ("prior", {"step 1, layer 2"}),
    ],
)
def test_a_wrong_port_fails_beside_its_elbo_and_nowhere_else(wrong, parts):
    report = measured(wrong)
    check = report.check()
    assert failed(report) == parts
    assert not check.passed
    assert all(part.passes(check.limit) for part in check.parts)  # the code itself is consistent


def test_clipped_latents_are_an_error_and_fail_beside_the_elbo(monkeypatch):
    with pytest.raises(bitsback.ModelError, match="latents beyond their group's limit"):
        measured("z")
    monkeypatch.setattr(rates, "check_coverage", lambda *given: None)
    assert "pixels" in failed(measured("z"))


def test_a_kl_counted_twice_fails_at_its_layer_and_in_all():
    first, second = EXPECTED["groups"]
    twice = EXPECTED | {"groups": [first, 2 * second]}
    assert failed(measured(expected=twice)) == {"step 1, layer 2", "chain"}


def test_means_and_standard_errors_do_without_the_images():
    def summary(values):
        estimate = Estimate.of(values, "it")
        return {"mean": estimate.mean, "standard_error": estimate.standard_error}

    expected = {
        "groups": [summary(bits) for bits in EXPECTED["groups"]],
        "likelihood": summary(EXPECTED["likelihood"]),
    }
    paired = measured().check().expected
    alone = measured(expected=expected).check()
    assert alone.passed, str(alone)
    for ours, theirs in zip(paired, alone.expected, strict=True):
        assert theirs.standard_error_bits > ours.standard_error_bits
    assert failed(measured("variance", expected)) >= STEPS


def test_numbers_in_nats_are_told():
    nats = {
        "groups": [np.log(2) * bits for bits in EXPECTED["groups"]],
        "likelihood": np.log(2) * EXPECTED["likelihood"],
    }
    assert "look like nats" in str(measured(expected=nats).check())


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ([1.0], "need groups and a likelihood"),
        ({"groups": []}, "need likelihood"),
        ({"groups": [], "likelihood": [1.0, 2.0], "kl": 1}, "have no kl"),
        ({"groups": "ab", "likelihood": [1.0, 2.0]}, "must be a list"),
        ({"groups": [], "likelihood": [[[1.0]]]}, "must be an array"),
        ({"groups": [], "likelihood": ["a", "b"]}, "neither numbers nor"),
        ({"groups": [], "likelihood": [np.nan, 1.0]}, "not finite"),
        ({"groups": [], "likelihood": {"mean": 1.0}}, "needs a mean and a standard_error"),
        ({"groups": [], "likelihood": {"mean": "1", "standard_error": 0}}, "is no number"),
        ({"groups": [], "likelihood": {"mean": 1, "standard_error": -1}}, "negative"),
        ({"groups": [], "likelihood": {"mean": np.inf, "standard_error": 1}}, "not finite"),
        (EXPECTED | {"tolerance": -1.0}, "tolerance is negative"),
        (EXPECTED | {"groups": []}, "0 expected groups are given, but the model has 2"),
        (EXPECTED | {"likelihood": np.ones(7)}, "of 7 images are given, but 300 images"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(expected, message):
    with pytest.raises(bitsback.InputError, match=message):
        measured(expected=expected)


def test_few_images_or_images_of_several_tiles_are_refused():
    few = VAE.expected_bits(IMAGES[:8])
    with pytest.raises(bitsback.InputError, match="at least 16 images"):
        measured(expected=few, x=IMAGES[:8])
    wide = np.tile(IMAGES[:40], (1, 1, 2))
    bits = {"groups": [np.ones(40)] * 2, "likelihood": np.ones(40)}
    with pytest.raises(bitsback.InputError, match="one tile"):
        measured(expected=bits, x=wide)


def test_a_file_holds_the_same_numbers(tmp_path):
    path = tmp_path / "expected.json"
    numbers = {
        "groups": [EXPECTED["groups"][0].tolist(), {"mean": 3.5, "standard_error": 0.25}],
        "likelihood": EXPECTED["likelihood"].mean(0).tolist(),
        "tolerance": 0.01,
    }
    path.write_text(json.dumps(numbers))
    found, wanted = Expected.read(path), Expected.of(numbers)
    assert found.tolerance == 0.01
    assert (found.groups[1].mean, found.groups[1].standard_error) == (3.5, 0.25)
    np.testing.assert_array_equal(found.likelihood.by_image, wanted.likelihood.by_image)
    np.testing.assert_allclose(found.groups[0].by_image, EXPECTED["groups"][0].mean(0))
    for content, message in (("{", "is not JSON"), ("[]", "need groups and a likelihood")):
        path.write_text(content)
        with pytest.raises(bitsback.InputError, match=message):
            Expected.read(path)
    with pytest.raises(bitsback.InputError, match="cannot be read"):
        Expected.read(tmp_path / "none.json")


def test_few_images_have_the_wider_errors_of_students_distribution():
    # Quantiles of a tail of 2.87e-7, which is five standard errors of a normal distribution.
    assert 5 * student(15) == pytest.approx(8.267, rel=0.01)
    assert 5 * student(100) == pytest.approx(5.3442, rel=1e-4)
    assert 5 * student(1000) == pytest.approx(5.03268, rel=1e-6)
