"""A trained model codes exactly, at the rate that its training promised."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from conftest import SMALL, code_length
from torch.distributions import Normal, kl_divergence

import bitsback
from bitsback.ans.message import Message
from bitsback.errors import ModelError
from bitsback.models import store
from bitsback.models.draw import equations
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.floats import FloatOps
from bitsback.models.draw.grids import CANVAS_BITS, Z_BITS
from bitsback.models.draw.integers import IntegerOps
from bitsback.models.draw.model import DrawModel
from bitsback.models.draw.model import likelihood as likelihood_codec
from bitsback.models.draw.state import Gaussians
from bitsback.models.training import data, export, losses
from bitsback.models.training.calibrate import calibrate
from bitsback.models.training.network import DrawNetwork
from bitsback.models.training.plan import TrainConfig
from bitsback.models.training.run import finish
from bitsback.models.training.trainer import Trainer
from bitsback.tables import latent_grid

PLAN = TrainConfig(
    updates=100, batch=8, learning_rate=1e-2, warmup=10, ema=0.95, quantise_from=0.7, bf16=False
)
GREY = dataclasses.replace(SMALL, likelihood="logistic", mixtures=2)
TWO = dataclasses.replace(SMALL, layers=2, maps2=3, latents2=1)
COLOUR = dataclasses.replace(SMALL, channels=3, likelihood="logistic", mixtures=2)
CASES = {
    "binary": (SMALL, PLAN),
    "binary, beta 3, constant posterior": (
        dataclasses.replace(SMALL, posterior="constant"),
        dataclasses.replace(PLAN, beta=3.0),
    ),
    "grey, two layers": (dataclasses.replace(TWO, likelihood="gaussian"), PLAN),
    "grey, beta 0.5, constant posteriors": (
        dataclasses.replace(TWO, likelihood="logistic", mixtures=2, posterior="constant"),
        dataclasses.replace(PLAN, beta=0.5),
    ),
    "colour": (COLOUR, PLAN),
    "colour, pixels in passes": (dataclasses.replace(COLOUR, passes=4), PLAN),
    "colour, passes on two levels": (dataclasses.replace(COLOUR, passes=7), PLAN),
    "colour, passes with residual blocks": (
        dataclasses.replace(COLOUR, passes=7, pass_maps=8, blocks=2),
        PLAN,
    ),
    "colour, residual passes": (
        dataclasses.replace(COLOUR, passes=7, stride=4, pass_maps=8, blocks=1, residual=1),
        dataclasses.replace(PLAN, free_bits=0.5),
    ),
    "colour, pixels linear in their block": (
        dataclasses.replace(
            COLOUR, stride=4, head_maps=8, head_blocks=1, finer_hidden=1, finer_means=2
        ),
        PLAN,
    ),
    "grey, pixels linear in their block, two layers": (
        dataclasses.replace(TWO, likelihood="logistic", mixtures=3, head_maps=4),
        dataclasses.replace(PLAN, free_bits=0.5),
    ),
}


def random_images(config: DrawConfig, count: int, side: int, seed: int) -> np.ndarray:
    """Noisy ramps, or blobs of ink for a binary model; uint8 (count, side, side, C)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    slopes = random.normal(size=(2, count, 1, 1, config.channels))
    ramps = slopes[0] * y[None, :, :, None] + slopes[1] * x[None, :, :, None]
    noise = random.normal(size=ramps.shape)
    if config.likelihood == "bernoulli":
        return (ramps + 0.1 * noise > 0.4).astype(np.uint8)
    return np.clip(128 + 60 * ramps + 4 * noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trained():
    """Trainers of the cases, each trained once."""
    runs: dict[str, Trainer] = {}

    def ask(case: str) -> Trainer:
        if case not in runs:
            config, plan = CASES[case]
            images = random_images(config, 200, 12, 0)
            binary = config.likelihood == "bernoulli"
            source = data.TrainingImages((images * np.uint8(255) if binary else images,), 8, binary)
            runs[case] = Trainer(config, plan, source, "cpu")
            for _ in runs[case].run():
                pass
        return runs[case]

    return ask


@pytest.mark.parametrize("case", CASES)
def test_a_trained_model_codes_exactly_and_its_rates_match(trained, tmp_path, case):
    run = trained(case)
    finish(run, tmp_path / "tiny")
    model = store.load(str(tmp_path / "tiny"), "cpu")
    assert model.name == "tiny"
    images = random_images(run.model, 60, 8, 1)
    packed = bitsback.compress(images, model)
    assert np.array_equal(bitsback.decompress(packed, model), images)
    wide = random_images(run.model, 3, 21, 2)
    assert np.array_equal(bitsback.decompress(bitsback.compress(wide, model), model), wide)
    report = bitsback.rate(images, model)
    # The first images have batches of few groups, whose bits the chain starts with.
    assert 20 <= report.chained_images <= 60
    assert report.check().passed, str(report.check())
    # The training's promise, on other images: the grid and fewer updates cost a little.
    promised = run.history[-1]["bits_per_dim"]
    assert report.bits_per_dim(report.net_bits) < 1.15 * promised + 0.02


def test_finishing_leaves_the_log_of_the_training(trained, tmp_path):
    run = trained("binary")
    finish(run, tmp_path)
    log = json.loads((tmp_path / "log.json").read_text())
    assert log["updates"] == 100
    assert log["seconds"] > 0
    assert log["reverted"] == []
    assert [record["update"] for record in log["curve"]] == [50, 100]
    manifest, tensors = store.read(tmp_path)
    assert manifest.config == run.model
    wanted = export.export(run.model, run.averaged())
    assert all(np.array_equal(tensors[name], wanted[name]) for name in wanted)
    assert json.loads((tmp_path / "config.json").read_text())["config"] == run.model.to_dict()


def test_a_model_whose_weights_were_altered_is_refused(trained, tmp_path):
    finish(trained("binary"), tmp_path)
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError):
        store.load(str(tmp_path), "cpu")


class Recording(FloatOps):
    """Floats that note their latents."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.latents = []

    def latent(self, z):
        self.latents.append(z)
        return super().latent(z)


@torch.no_grad()
def nats(run: Trainer, levels: np.ndarray, quantised: bool, seed: int = 0):
    """Mean nats per image of the float network, those of its KL, and its latents, unrounded."""
    ops = Recording(run.model, run.averaged(), quantised)
    torch.manual_seed(seed)
    found = losses.losses(ops, run.model, torch.from_numpy(levels).float())
    kl = float(found.kl.sum(0).mean())
    return kl + float(found.likelihood.mean()), kl, ops.latents


@pytest.mark.parametrize("case", CASES)
def test_quantisation_costs_less_than_half_a_percent(trained, case):
    run = trained(case)
    levels = random_images(run.model, 1000, 8, 3).transpose(0, 3, 1, 2)
    quantised, real = (nats(run, levels, flag)[0] for flag in (True, False))
    assert quantised != real
    assert abs(quantised / real - 1) < 0.005


def grid_cost(z, p, log_width):
    """-log2 of the prior's mass in an interval of the grid's width about z, (B, C, h, w)."""
    mean, sigma = torch.from_numpy(p.mean / 256), torch.from_numpy(2 ** (p.log_scale / 64))
    half = torch.from_numpy(2 ** (log_width / 16))[:, None, None] / 2
    prior = Normal(mean, sigma.clamp(2 * half * 2.0**-6, 2 * half * 2.0**3))
    distance = (z - mean).abs()
    return -torch.log2(prior.cdf(mean - distance + half) - prior.cdf(mean - distance - half))


@pytest.mark.parametrize("case", CASES)
def test_the_integer_network_promises_the_rate_of_the_quantised_floats(trained, case):
    run = trained(case)
    levels = np.ascontiguousarray(random_images(run.model, 200, 8, 4).transpose(0, 3, 1, 2))
    wanted, wanted_kl, latents = nats(run, levels, True)
    ops = IntegerOps(run.model, export.export(run.model, run.averaged()), torch.device("cpu"))
    groups = equations.groups(run.model)
    constant = run.model.posterior == "constant"
    widths = [np.zeros(z.shape[1], np.int64) for z in latents]
    if constant:
        widths = calibrate(run.model, ops, run.images)
    model = DrawModel(run.model, ops, widths)
    state, memory, kl = model.start(200, 8, 8), model.observe(levels), 0.0
    for index, z in zip(range(len(groups)), latents, strict=True):
        p = model.prior(index, state)
        q, memory = model.posterior(index, memory, state, p)
        bits = latent_grid.continuous_kl_bits(q, p)
        if constant:
            bits = grid_cost(z.double(), p, widths[index])
        kl += float(bits.sum()) * math.log(2) / 200
        rounded = np.floor(z.double().numpy() * 2**Z_BITS + 0.5).astype(np.int64)
        state = model.step(index, state, np.clip(rounded, -512, 512))
    pixels = 0.0
    for number, where in enumerate(model.passes):
        part = levels[:, :, *where]
        coder = model.likelihood(state, False)
        pixels += float(code_length(coder, part).sum()) * math.log(2) / 200
        if number + 1 < len(model.passes):
            state = model.reveal(state, part)
    assert kl == pytest.approx(wanted_kl, rel=1e-4)
    # Beyond four sigma the coder's tables of 16 bits are coarser than the floats, which shows
    # where an ill-fitting Gaussian has its pixels there.
    near = 4e-3 if run.model.likelihood == "gaussian" else 1e-3
    assert kl + pixels == pytest.approx(wanted, rel=near)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "logistic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_the_code_length_of_pixels_drawn_from_the_coder(likelihood, channels):
    mixtures = 4 if likelihood == "logistic" else 1
    config = dataclasses.replace(SMALL, channels=channels, likelihood=likelihood, mixtures=mixtures)
    random = np.random.default_rng(5)
    canvas = random.normal(0, 2**CANVAS_BITS / 3, (20, config.canvas, 8, 8)).astype(np.int64)
    coder = likelihood_codec(config, canvas, False)
    drawn = coder.pop(Message.random(16, 50_000, 0))
    assert len(np.unique(drawn)) >= (2 if likelihood == "bernoulli" else 200)
    ops = FloatOps(config, DrawNetwork(config).named(), True)
    r = torch.from_numpy(canvas).float() / 2**CANVAS_BITS
    with torch.no_grad():
        found = losses.likelihood_nats(ops, config, r, torch.from_numpy(drawn).float())
    wanted = code_length(coder, drawn) * math.log(2)
    assert float(found.sum()) == pytest.approx(wanted.sum(), rel=2e-3)
    assert np.allclose(found.numpy(), wanted, rtol=2e-2)


def test_the_kl_of_gaussians_is_that_of_torch():
    random = torch.Generator().manual_seed(0)
    mean_q, mean_p = torch.randn(2, 1000, generator=random) * 3
    log_q, log_p = torch.randn(2, 1000, generator=random)
    found = losses.gaussian_kl(Gaussians(mean_q, log_q), Gaussians(mean_p, log_p))
    wanted = kl_divergence(Normal(mean_q, 2**log_q), Normal(mean_p, 2**log_p))
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert (losses.gaussian_kl(Gaussians(mean_q, log_q), Gaussians(mean_q, log_q)) == 0).all()


def masses(config: DrawConfig, canvas: torch.Tensor, levels: torch.Tensor, quantised: bool):
    """p(x) of images of one pixel, levels (N, C), all under one canvas (channels of r,)."""
    ops = FloatOps(config, DrawNetwork(config).named(), quantised)
    r = canvas[None, :, None, None].expand(len(levels), -1, 1, 1)
    with torch.no_grad():
        return torch.exp(-losses.likelihood_nats(ops, config, r, levels[:, :, None, None]).double())


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        dataclasses.replace(SMALL, likelihood="gaussian"),
        dataclasses.replace(SMALL, likelihood="logistic"),
        dataclasses.replace(SMALL, likelihood="logistic", mixtures=5),
    ],
)
def test_the_masses_of_all_levels_sum_to_one(config, quantised):
    levels = torch.arange(2.0 if config.likelihood == "bernoulli" else 256.0)[:, None]
    random = torch.Generator().manual_seed(1)
    # The means from off one end to off the other, scales from 2**-3 to 2**6 levels and beyond.
    for spread in (0.1, 0.5, 1.0, 2.0):
        for _ in range(15):
            canvas = torch.randn(config.canvas, generator=random) * spread
            found = masses(config, canvas, levels, quantised)
            assert (found >= 0).all()
            assert float(found.sum()) == pytest.approx(1, abs=1e-3)


def test_the_masses_of_all_colours_sum_to_one():
    config = dataclasses.replace(COLOUR, mixtures=1)
    random = torch.Generator().manual_seed(2)
    ops = FloatOps(config, DrawNetwork(config).named())
    for _ in range(5):
        # Canvas: 3 means, 1 weight, 3 offsets, 3 scales, 3 coefficients.
        scales = torch.rand(3, generator=random) / 4 - 0.25
        middle = torch.randn(7, generator=random) * torch.tensor([0.1, 0.1, 0.1, 1, 0.1, 0.1, 0.1])
        coefficients = torch.rand(3, generator=random) - 0.5
        canvas = torch.cat([middle, scales, coefficients])
        r, zero = canvas[None, :, None, None], torch.full((1, 3, 1, 1), 128.0)
        # Follow the conditional means to the colours that hold nearly all of the mass.
        for _ in range(3):
            zero = losses.mixture_parameters(ops, config, r, zero)[1][:, 0]
        centre = torch.round(zero.flatten())
        colours = [torch.arange(int(c) - 20, int(c) + 21) for c in centre.tolist()]
        levels = torch.tensor(list(itertools.product(*(c.tolist() for c in colours)))).float()
        found = masses(config, canvas, levels, False)
        assert float(found.sum()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", ["logistic", "gaussian"])
def test_a_levels_mass_is_that_of_its_bin(kind):
    config = dataclasses.replace(SMALL, likelihood=kind)
    ops = FloatOps(config, DrawNetwork(config).named())
    canvas = torch.randn(config.canvas, generator=torch.Generator().manual_seed(3)) / 4
    r = canvas[None, :, None, None]
    levels = torch.arange(256.0)[:, None]
    _, mean, log_scale = losses.mixture_parameters(ops, config, r, levels[:1, :, None, None])
    # The tails beyond the first and the last level are theirs.
    edges = torch.cat([torch.tensor([-1e6]), torch.arange(255) + 0.5, torch.tensor([1e6])]).double()
    scaled = (edges - float(mean)) / 2 ** float(log_scale)
    cdf = torch.sigmoid(scaled) if kind == "logistic" else Normal(0, 1).cdf(scaled)
    wanted = cdf.diff().clamp_min(2.0**-18)
    found = masses(config, canvas, levels, False)
    assert torch.allclose(found, wanted, rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "./planted"])
def test_a_name_that_is_no_path_is_refused(name):
    with pytest.raises(ModelError, match="unknown model"):
        store.load(name, "cpu")
