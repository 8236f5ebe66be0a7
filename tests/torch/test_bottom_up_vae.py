"""Float VAEs from the bottom up: the rate of their ELBO on the initial bits of one layer."""

import math

import numpy as np
import pytest
import torch
from swap_vae import SIZES, Swap, adapted, digits

import bitsback
from bitsback.errors import ModelError
from bitsback.testing import check_model
from bitsback.torch import Bernoulli, adapt, choose_widths, quantise, quantised_cost, width_costs


@pytest.fixture(scope="module")
def swap():
    return Swap().eval()


@pytest.fixture(scope="module")
def model(swap):
    return choose_widths(adapted(swap), digits(64), fineness=8.0)


@pytest.fixture(scope="module")
def expected(swap):
    x = torch.from_numpy(digits()).float()[:, None]
    with torch.no_grad():
        samples = [swap.terms(x, swap.sample(x)) for _ in range(30)]
    bits = [np.stack([s[i].double().numpy() / math.log(2) for s in samples]) for i in range(4)]
    *groups, likelihood = bits
    return {"groups": groups, "likelihood": likelihood}


def test_the_rate_is_the_elbo_of_each_layer(model, expected):
    report = bitsback.rate(digits(), model, expected=expected)
    check = report.check()
    assert check.passed, str(check)
    assert [part.name for part in check.expected] == [
        *("step 1", "step 2", "step 3", "pixels", "chain")
    ]


def test_initial_bits_are_those_of_one_layer(swap, model):
    """Beside them, those of the same latents taken all at once, as top-down models take them."""
    report = bitsback.rate(digits(), model)
    taken = [step.popped_bits / report.chained_images for step in report.steps]
    assert report.filler_bits == 0
    assert max(taken) < 0.6 * sum(taken)
    assert report.initial_bits < 16 * max(taken) + 400 < 16 * sum(taken)
    costs = width_costs(model, digits(64), (4.0, 8.0))
    assert costs[1].initial_bits - costs[0].initial_bits == pytest.approx(max(SIZES), abs=0.1)


@pytest.mark.parametrize(
    ("wrong", "parts"),
    [
        ("variance", {"step 2", "step 3"}),
        ("prior", {"step 2", "step 3"}),
        ("means", {"step 2", "step 3"}),
    ],
)
def test_wrong_ports_do_not_match(swap, expected, wrong, parts):
    def posterior(t, below):
        mean, log_sigma = swap.posterior(t, below)
        if wrong == "means":
            mean = mean.clamp(-0.5, 0.5)
        return mean, 2 * log_sigma if wrong == "variance" else log_sigma

    def prior(t, above):
        return None if wrong == "prior" else swap.prior(t, above)

    port = choose_widths(adapted(swap, posterior=posterior, prior=prior), digits(64))
    check = bitsback.rate(digits(), port, expected=expected).check()
    assert not check.passed
    failed = {part.name for part in check.expected if not part.passes(check.limit)}
    assert failed >= parts
    assert all(part.passes(check.limit) for part in check.parts)


def test_it_is_checked_and_comes_back_in_any_batch(model):
    assert check_model(model, digits(40)).passed
    data = bitsback.compress(digits(70), model, always_chain=True, check="all", batch=9)
    assert np.array_equal(bitsback.decompress(data, model), digits(70))


def test_in_integers_it_decodes_everywhere(swap, model):
    grids = {"widths": model.model.log_widths, "limits": model.model.limits}
    exact = adapted(quantise(swap), exact=True, **grids)
    reference = adapted(quantise(swap, engine="numpy"), exact=True, **grids)
    assert exact.machine == ""
    assert exact.sha256 == reference.sha256
    data = bitsback.compress(digits(30), exact, always_chain=True)
    assert np.array_equal(bitsback.decompress(data, reference), digits(30))


def test_what_integers_cost_is_of_the_same_terms(swap, model, expected):
    """The costs' bits are the ELBO's, as those of the rate are."""
    grids = {"widths": model.model.log_widths, "limits": model.model.limits}
    exact = adapted(quantise(swap), exact=True, **grids)
    cost = quantised_cost(model, exact, digits(), draws=8)
    assert abs(cost.share) < 0.005
    wanted = [*(bits.mean() for bits in expected["groups"]), expected["likelihood"].mean()]
    for bits, mean in zip(cost.float_bits, wanted, strict=True):
        assert bits / cost.images == pytest.approx(mean, abs=0.5)


def test_the_file_knows_order_grids_and_limits(swap, model):
    data = bitsback.compress(digits(20), model, always_chain=True)
    other = adapted(swap, widths=model.model.log_widths, limits=(99, 99, 99))
    with pytest.raises(ModelError, match="SHA-256"):
        bitsback.decompress(data, other)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order": "sideways"}, "unknown order 'sideways'"),
        ({"step": lambda t, state, z: z}, "leave start and step out"),
        ({"start": lambda batch: None}, "leave start and step out"),
        ({"limits": (1, 2)}, "one for each latent"),
        ({"limits": (1, 2, 4097)}, "from 1 to 4096"),
        ({"widths": [np.full(n, 300) for n in SIZES]}, "from -256 to 256"),
        ({"order": "top-down", "limits": (1, 2, 3)}, "limits are of bottom-up models"),
        (
            {"posterior": lambda t, b: torch.distributions.OneHotCategorical(torch.ones(16, 10))},
            "categorical ones are not supported",
        ),
    ],
)
def test_what_is_no_such_model_is_refused(swap, changes, reason):
    with pytest.raises(ModelError, match=reason):
        adapted(swap, **changes)


def test_a_model_of_one_layer_is_the_flat_one(swap):
    flat = adapt(
        swap,
        image=(1, 8, 8),
        latents=[10],
        order="bottom-up",
        posterior=lambda t, x: swap.posterior(2, x),
        likelihood=lambda z: Bernoulli(swap.decode(z)),
    )
    data = bitsback.compress(digits(20), flat, always_chain=True)
    assert np.array_equal(bitsback.decompress(data, flat), digits(20))
