"""Muon's steps are near-orthogonal matrices of Adam's size, and its runs resume."""

import dataclasses

import pytest
import torch
from training_runs import GREY, PLAN, advance, resumed, trainer

from bitsback.models.training.optimisers.choice import optimisers
from bitsback.models.training.optimisers.muon import ITERATIONS, QUINTIC, Muon, orthogonal

PASSES = dataclasses.replace(
    GREY, likelihood="logistic", passes=4, stride=2, pass_maps=6, blocks=1, residual=1
)
MUON = dataclasses.replace(PLAN, muon=True)


@pytest.mark.parametrize("shape", [(2, 8, 30), (3, 30, 8), (1, 9, 9)])
def test_the_singular_values_of_a_matrix_come_near_one_and_its_vectors_stay(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    scaled = values / values.square().sum(1, keepdim=True).sqrt()
    for _ in range(ITERATIONS):
        scaled = sum(c * scaled**n for c, n in zip(QUINTIC, (1, 3, 5), strict=True))
    wanted = left @ torch.diag_embed(scaled) @ right
    assert torch.allclose(orthogonal(matrices), wanted, atol=1e-4)
    assert 0.6 < float(scaled.min()) <= float(scaled.max()) < 1.3


def test_a_step_follows_the_running_mean_and_has_the_size_of_one_of_adam():
    shapes = ((4, 5, 3, 3), (4, 5, 3, 3), (9, 2, 3, 3))
    first, second, other = (torch.nn.Parameter(torch.zeros(shape)) for shape in shapes)
    muon = Muon([first, second, other], lr=0.01, momentum=0.75)
    generator = torch.Generator().manual_seed(1)
    mean = torch.zeros(4, 5, 3, 3)
    for _ in range(3):
        before = second.detach().clone()
        for p in (first, second, other):
            p.grad = torch.randn(p.shape, generator=generator)
        muon.step()
        mean = 0.75 * mean + 0.25 * second.grad
        ahead = 0.75 * mean + 0.25 * second.grad
        wanted = -0.01 * 0.2 * 45**0.5 * orthogonal(ahead.flatten(1)[None]).view(4, 5, 3, 3)
        assert torch.allclose(second.detach() - before, wanted, atol=1e-6)
    # Four directions, each of length 0.2 * 45**0.5 in units of the rate.
    size = float((second - before).detach().square().sum().sqrt()) / (0.01 * 0.2 * 45**0.5)
    assert 0.6 < size / 4**0.5 < 1.3


def test_only_hidden_layers_are_muons():
    run = trainer(MUON, PASSES)
    named = {id(p): name for name, p in run.network.named().items()}
    by_kind = {
        kind: {named[id(p)].split("/")[0] for group in o.param_groups for p in group["params"]}
        for kind, o in run.optimisers.items()
    }
    hidden = {f"{name}{n}" for n in (1, 2, 3) for name in ("seen", "inner", "outer")}
    hidden |= {"enc1", "dec1"}
    assert {name.split("_")[0] for name in by_kind["muon"]} == hidden
    weights = [p for group in run.optimisers["muon"].param_groups for p in group["params"]]
    assert all(p.ndim == 4 for p in weights)
    counted = sum(len(g["params"]) for o in run.optimisers.values() for g in o.param_groups)
    assert counted == len(run.params)
    assert set(trainer(PLAN, PASSES).optimisers) == {"adam"}


def test_a_run_of_muon_learns_and_resumes_bit_for_bit(tmp_path):
    whole, _ = resumed(tmp_path, MUON, PASSES)
    assert whole.history[-1]["nats"] < whole.history[0]["nats"]


def test_a_spike_clears_the_means_of_muon(monkeypatch):
    run = trainer(MUON, PASSES)
    advance(run, 6)
    muon = run.optimisers["muon"]
    assert len(muon.state) == 12
    run.revert()
    assert len(muon.state) == 0
    assert optimisers(run.network, MUON).keys() == {"adam", "muon"}
