"""Net bits are the author's own terms at the latents coded; what is wrong by little shows."""

import numpy as np
import pytest
import torch
from swap_vae import SIZES, Swap, adapted, digits
from torch.distributions import Normal

import bitsback
from bitsback.errors import InputError, ModelError
from bitsback.torch import Bernoulli, adapt, choose_widths, compare_terms

IMAGES = digits(160)


@pytest.fixture(scope="module")
def swap():
    return Swap().eval()


@pytest.fixture(scope="module")
def model(swap):
    return choose_widths(adapted(swap), IMAGES[:64], fineness=8.0)


def test_each_layer_is_the_authors_to_a_thousandth(swap, model):
    report = compare_terms(model, IMAGES, swap.terms)
    assert report.passed, str(report)
    assert [part.name for part in report.parts] == ["step 1", "step 2", "step 3", "pixels", "chain"]
    for part in report.parts:
        error = 3 * part.standard_error_bits
        assert abs(part.difference_bits) < 1e-3 * part.promised_bits + error
        # A layer's luck is some bits an image; here it is left out.
        assert part.standard_error_bits / report.images < 0.02
    assert "match at the latents coded" in str(report)


def mutated(swap, wrong):
    def terms(x, z):
        given = swap.terms(x, z)
        if wrong == "twice":
            given[1] = 2 * given[1]
        if wrong == "a hundredth of a layer":
            given[2] = 1.02 * given[2]
        if wrong == "prior of another step":
            q = swap.posterior(1, z[2])
            log_q = Normal(q[0], q[1].exp()).log_prob(z[1])
            given[1] = (log_q - Normal(0.0, 1.0).log_prob(z[1])).sum(1)
        if wrong == "variance for sigma":
            mean, log_sigma = swap.posterior(2, x)
            right, other = (Normal(mean, (n * log_sigma).exp()).log_prob(z[2]) for n in (1, 2))
            given[2] = given[2] + (other - right).sum(1)
        return given

    return terms


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        ("twice", "step 2"),
        ("a hundredth of a layer", "step 3"),
        ("prior of another step", "step 2"),
        ("variance for sigma", "step 3"),
    ],
)
def test_terms_of_another_model_do_not_match(swap, model, wrong, part):
    report = compare_terms(model, IMAGES, mutated(swap, wrong))
    failed = {p.name for p in report.parts if not p.passes(report.limit)}
    assert part in failed
    assert failed <= {part, "chain"}
    assert "DO NOT MATCH" in str(report)


def test_a_wrong_port_does_not_match(swap):
    """Clipped latents: the coder's own rate is consistent, but it is of another model."""

    def posterior(t, below):
        mean, log_sigma = swap.posterior(t, below)
        return mean.clamp(-0.5, 0.5), log_sigma

    port = choose_widths(adapted(swap, posterior=posterior), IMAGES[:64])
    assert not compare_terms(port, IMAGES, swap.terms).passed


def test_latents_come_in_the_order_of_decoding(model):
    shapes = []

    def terms(x, z):
        shapes.append([tuple(part.shape) for part in (x, *z)])
        return [torch.zeros(len(x))] * 4

    assert not compare_terms(model, IMAGES[:20], terms).passed
    full, rest = ([(n, 1, 8, 8), *((n, size) for size in SIZES)] for n in (16, 4))
    assert shapes == [full, rest]


def test_top_down_models_are_compared_too(swap):
    flat = adapt(
        swap,
        image=(1, 8, 8),
        latents=[10],
        posterior=lambda t, x, state: swap.posterior(2, x),
        likelihood=lambda z: Bernoulli(swap.decode(z[0])),
    )

    def terms(x, z):
        mean, log_sigma = swap.posterior(2, x)
        log_ratio = Normal(mean, log_sigma.exp()).log_prob(z[0]) - Normal(0.0, 1.0).log_prob(z[0])
        return [log_ratio.sum(1), swap.terms(x, [torch.zeros(len(x), 4), z[0][:, :6], z[0]])[3]]

    assert compare_terms(choose_widths(flat, IMAGES), IMAGES, terms).passed


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (lambda x, z: [torch.zeros(len(x))] * 3, "the terms are 4"),
        (lambda x, z: torch.zeros(4, len(x)), "the terms are 4"),
        (lambda x, z: [torch.zeros(())] * 4, "a term is a tensor of shape"),
        (lambda x, z: [torch.full((len(x),), np.nan)] * 4, "not finite"),
    ],
)
def test_what_is_no_term_is_refused(model, terms, message):
    with pytest.raises(ModelError, match=message):
        compare_terms(model, IMAGES[:20], terms)


def test_one_batch_has_no_standard_error(model, swap):
    with pytest.raises(InputError, match="more images than one batch of 16"):
        compare_terms(model, IMAGES[:16], swap.terms)
    with pytest.raises(ModelError, match="not from"):
        compare_terms(bitsback.load_model("omniglot"), IMAGES, swap.terms)
