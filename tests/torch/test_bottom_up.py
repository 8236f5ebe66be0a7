"""Float VAEs from the bottom up: the rate of their ELBO on the initial bits of one layer."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import bitsback
from bitsback.errors import ModelError
from bitsback.testing import check_model
from bitsback.torch import Bernoulli, adapt, choose_widths, quantise, width_costs

SIZES = (4, 6, 10)


class Swap(nn.Module):
    """Three layers, each given its neighbour alone; images of 8 x 8 bits."""

    def __init__(self):
        super().__init__()

        def net(inputs, outputs):
            return nn.Sequential(nn.Linear(inputs, 16), nn.ELU(), nn.Linear(16, outputs))

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            below = (*SIZES[1:], 64)
            self.p = nn.ModuleList(net(SIZES[t], 2 * SIZES[t + 1]) for t in range(2))
            self.q = nn.ModuleList(net(below[t], 2 * SIZES[t]) for t in range(3))
            self.decoder = net(SIZES[2], 64)
            for layers in (*self.p, *self.q):
                layers[2].weight.data *= 3.0
                layers[2].weight.data[len(layers[2].weight) // 2 :] /= 8.0

    def prior(self, t, above):
        return self.p[t - 1](above).chunk(2, 1) if t else None

    def posterior(self, t, below):
        mean, log_sigma = self.q[t](below.flatten(1)).chunk(2, 1)
        return mean, log_sigma - 1

    def decode(self, z):
        return self.decoder(z).reshape(-1, 1, 8, 8)

    def terms(self, x):
        """log q - log p of each latent and -log p(x | z), bits of every image, of one sample."""
        below, z, q = x, [None] * 3, [None] * 3
        for t in (2, 1, 0):
            q[t] = torch.distributions.Normal(*exp(self.posterior(t, below)))
            below = z[t] = q[t].sample()
        found = []
        for t in range(3):
            given = self.prior(t, z[t - 1]) if t else (torch.zeros(()), torch.zeros(()))
            p = torch.distributions.Normal(*exp(given))
            found.append((q[t].log_prob(z[t]) - p.log_prob(z[t])).sum(1))
        pixels = torch.distributions.Bernoulli(logits=self.decode(z[2]))
        found.append(-pixels.log_prob(x).flatten(1).sum(1))
        return [part.double().numpy() / math.log(2) for part in found]


def exp(parameters):
    mean, log_sigma = parameters
    return mean, log_sigma.exp()


def adapted(vae, **changes):
    given = {
        "image": (1, 8, 8),
        "latents": SIZES,
        "order": "bottom-up",
        "prior": vae.prior,
        "posterior": vae.posterior,
        "likelihood": lambda z: Bernoulli(vae.decode(z)),
    }
    return adapt(vae, **(given | changes))


def digits(count=120):
    return (np.random.default_rng(0).random((count, 8, 8)) < 0.3).astype(np.uint8)


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
        samples = [swap.terms(x) for _ in range(30)]
    *groups, likelihood = (np.stack([s[i] for s in samples]) for i in range(4))
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
