"""Two processes train as one of the doubled batch does; what fails ends them all.

Run by torchrun, this file is what each of the processes does (see `work` and `command`).
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL
from torch.nn import functional

import bitsback
from bitsback.errors import BitsbackError, InputError, ModelError
from bitsback.models.draw.config import DrawConfig
from bitsback.models.draw.floats import WHOLE, Part
from bitsback.models.training import checkpoint, data, distributed
from bitsback.models.training import losses as loss
from bitsback.models.training import run as run_module
from bitsback.models.training.plan import TrainConfig
from bitsback.models.training.trainer import Trainer

PLAN = TrainConfig(
    updates=20, batch=8, learning_rate=5e-3, warmup=4, snapshot=5, bf16=False, quantise_from=0.7
)
LOGISTIC = dataclasses.replace(SMALL, likelihood="logistic", mixtures=2, passes=4, blocks=1)
LOSSY = dataclasses.replace(
    SMALL,
    channels=3,
    likelihood="gaussian",
    posterior="constant",
    layers=2,
    maps2=4,
    latents2=2,
    doublings=1,
)
# The model, and what differs from `PLAN`, whose batch is that of all processes.
CASES: dict[str, tuple[DrawConfig, dict[str, object]]] = {
    "normal noise": (SMALL, {}),
    "uniform noise, crops of two sizes": (LOSSY, {"sizes": 2, "vary": 1.0, "kl_warmup": 9}),
    "dropout": (LOGISTIC, {"dropout": 0.2, "weight_norm": True}),
    "spike": (SMALL, {"updates": 60, "quantise_from": 1.0}),
}
SPIKE, FACTOR = 55, 1e4
SAVED = 12


def squares(count: int, side: int, channels: int = 1) -> np.ndarray:
    """Bright squares on a dark ground, uint8 (count, side, side, channels)."""
    random = np.random.default_rng(7)
    found = np.zeros((count, side, side, channels), np.uint8)
    for image in found:
        top, left = random.integers(0, side - 4, 2)
        image[top : top + 4, left : left + 4] = random.integers(155, 256, channels)
    return found


def trainer(case: str, part: Part) -> Trainer:
    config, changes = CASES[case]
    plan = dataclasses.replace(PLAN, **changes)
    plan = dataclasses.replace(plan, batch=plan.batch // part.size)
    binary = config.likelihood == "bernoulli"
    images = data.TrainingImages((squares(64, 20, config.channels),), 8, sample=binary)
    return Trainer(config, plan, images, "cpu", None, part)


def curve(run: Trainer, until: int | None = None) -> np.ndarray:
    """Nats of every update up to one, in all and of the latents."""
    until = run.train.updates if until is None else until
    return np.array([run.one_update() for _ in range(run.update, until)])


def state_of(run: Trainer) -> np.ndarray:
    """All tensors of a run in one."""
    moments = [
        v
        for optimiser in run.optimisers.values()
        for p in run.params
        for _, v in sorted(optimiser.state.get(p, {}).items())
    ]
    older = [copy for copies in run.snapshots for copy in copies]
    tensors = [*run.params, *run.average, *moments, *older]
    return torch.cat([t.detach().flatten() for t in tensors]).numpy()


def average_of(run: Trainer) -> np.ndarray:
    return torch.cat([t.flatten() for t in run.average]).numpy()


def spoil_second_half(patch: pytest.MonkeyPatch, run: Trainer) -> None:
    """Of the whole batch's second half the likelihood of one update is much too large."""
    honest = loss.losses

    def losses(ops, config, levels):
        found = honest(ops, config, levels)
        if run.update != SPIKE:
            return found
        factors = torch.ones(run.batch)
        factors[run.batch // 2 :] = FACTOR
        return dataclasses.replace(found, likelihood=found.likelihood * run.part.of(factors))

    patch.setattr(loss, "losses", losses)


def whole_curve(case: str, run: Trainer) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        if case == "spike":
            spoil_second_half(patch, run)
        return curve(run)


def work(folder: Path) -> None:
    """Every case in this process's part, what it came to in files; at last a failure."""
    try:
        with distributed.joined() as part:
            for case in CASES:
                run = trainer(case, part)
                found = {"curve": whole_curve(case, run), "state": state_of(run)}
                found |= {"average": average_of(run), "reverted": np.array(run.reverted)}
                np.savez(folder / f"{case}-{part.rank}.npz", **found)
            first, second = (trainer("normal noise", part) for _ in range(2))
            begun = curve(first, SAVED)
            distributed.by_first(lambda: checkpoint.save(first, folder / "checkpoint"), part)
            checkpoint.load(second, folder / "checkpoint")
            found = {"curve": np.concatenate([begun, curve(second)]), "state": state_of(second)}
            np.savez(folder / f"resumed-{part.rank}.npz", **found)

            def fail() -> None:
                if part.rank == 1:
                    raise InputError("no room here")

            distributed.together(fail, part)
    except BitsbackError as error:
        (folder / f"said-{os.environ['RANK']}").write_text(f"{type(error).__name__}: {error}")


def command(folder: Path) -> None:
    """A run whose first process always saves and never stops, unlike the other one."""
    first = os.environ["RANK"] == "0"
    called = []

    def counting(name, honest):
        return lambda *words: called.append(name) or honest(*words)

    checkpoint.save = counting("save", checkpoint.save)
    Trainer.validate = counting("validate", Trainer.validate)
    run_module.SAVE_SECONDS = 0.0 if first else 1e9
    words = (folder / "c.toml", [folder / "x.npy"], folder / "out", "cpu", 1e9 if first else 0.0)
    reports = [progress.update for progress in run_module.run(*words)]
    counts = {name: called.count(name) for name in ("save", "validate")} | {"reports": reports}
    (folder / f"counts-{os.environ['RANK']}").write_text(json.dumps(counts))


def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
    """Two processes of one thread each."""
    words = ("--standalone", "--nproc-per-node", 2, *words)
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=900,  # for processes that hang
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes have left (see `work`)."""
    folder = tmp_path_factory.mktemp("pair")
    done = torchrun(__file__, folder)
    assert done.returncode == 0, done.stderr
    return folder


def both(folder: Path, name: str) -> list[dict[str, np.ndarray]]:
    return [dict(np.load(folder / f"{name}-{rank}.npz")) for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_loss_curve_of_one_with_the_doubled_batch(folder, case):
    first, second = both(folder, case)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    run = trainer(case, WHOLE)
    wanted = whole_curve(case, run)
    assert len(wanted) == run.train.updates
    assert len(np.unique(wanted[:, 0])) == len(wanted)
    np.testing.assert_allclose(first["curve"], wanted, rtol=1e-4)
    np.testing.assert_allclose(first["average"], average_of(run), atol=1e-4)
    assert first["reverted"].tolist() == run.reverted == ([SPIKE] if case == "spike" else [])


def test_a_spike_in_one_process_s_part_is_none_in_the_other_s_and_reverts_both(folder):
    """What the curves of the case "spike" can show: the other half alone would not have jumped."""
    run = trainer("spike", WHOLE)
    curve(run)
    assert run.reverted == []
    reverted = [found["reverted"].tolist() for found in both(folder, "spike")]
    assert reverted == [[SPIKE], [SPIKE]]


def test_two_processes_that_were_stopped_come_to_what_they_would_have_come_to(folder):
    for whole, resumed in zip(both(folder, "normal noise"), both(folder, "resumed"), strict=True):
        assert np.array_equal(resumed["curve"], whole["curve"])
        assert np.array_equal(resumed["state"], whole["state"])


def test_one_process_of_the_doubled_batch_goes_on_from_what_two_have_left(folder):
    run = trainer("normal noise", WHOLE)
    checkpoint.load(run, folder / "checkpoint")
    assert run.update == SAVED
    wanted = both(folder, "normal noise")[0]["curve"]
    np.testing.assert_allclose(curve(run), wanted[SAVED:], rtol=1e-4)


def test_what_one_process_cannot_do_the_first_one_says_and_the_others_leave(folder):
    assert (folder / "said-0").read_text() == "ModelError: process 1 of 2: no room here"
    assert not (folder / "said-1").exists()


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "draw", [torch.randn_like, torch.rand_like, lambda x: functional.dropout(x, 0.3)]
)
def test_the_parts_of_the_noise_are_the_noise(draw, layout, size):
    like = torch.ones(2 * size, 3, 5, 4).to(memory_format=layout)

    def drawn(part):
        torch.manual_seed(3)
        return part.drawn(draw, part.of(like))

    whole = drawn(WHOLE)
    torch.manual_seed(3)
    assert torch.equal(whole, draw(like))
    parts = [drawn(Part(rank, size)) for rank in range(size)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize(
    ("batch", "sizes", "processes", "fits"),
    [
        (3, 1, 2, True),
        (4, 2, 3, True),
        (2, 2, 2, False),  # one crop of twice the side
        (3, 2, 2, False),
        (5, 2, 2, True),  # two of them
        (1, 2, 1, True),
        (1, 2, 2, False),
        (16, 3, 5, True),
        (8, 3, 2, False),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(batch, sizes, processes, fits):
    plan = dataclasses.replace(PLAN, batch=batch, sizes=sizes)
    images = data.TrainingImages((squares(9, 64),), 8)

    def parts():
        return [
            Trainer(LOGISTIC, plan, images, "cpu", None, Part(rank, processes))
            for rank in range(processes)
        ]

    if not fits:
        with pytest.raises(ModelError, match=f"{processes} processes cannot share"):
            parts()
        return
    for scale in (1 << i for i in range(sizes)):
        whole = images.batch(batch * processes, 0, 0, scale)
        shares = [run.part.of(images.batch(run.batch, 0, 0, scale)) for run in parts()]
        assert len({share.shape for share in shares}) == 1
        assert torch.equal(torch.cat(shares), whole)


def write_run(folder: Path, batch: int, sizes: int = 1, updates: int = 30) -> tuple[Path, Path]:
    """A configuration and its training images."""
    fields = {**SMALL.to_dict(), "doublings": 1}
    lines = ["[model]", *(f"{name} = {json.dumps(v)}" for name, v in fields.items())]
    lines += ["[training]", f"updates = {updates}", "bf16 = false", "learning_rate = 5e-3"]
    lines += [f"batch = {batch}", f"sizes = {sizes}"]
    (folder / "c.toml").write_text("\n".join(lines))
    np.save(folder / "x.npy", squares(120, 20))
    return folder / "c.toml", folder / "x.npy"


def test_the_command_line_stops_goes_on_and_leaves_one_model_that_codes(tmp_path):
    config, data = write_run(tmp_path, 2)
    words = ("-m", "bitsback.models", config, "--data", data, "-o", tmp_path / "out")
    stopped = torchrun(*words, "--seconds", 0)
    assert stopped.returncode == 0, stopped.stderr
    ended = torchrun(*words)
    assert ended.returncode == 0, ended.stderr
    for done, last in ((stopped, 1), (ended, 30)):
        assert [line.split(":")[0] for line in done.stdout.splitlines()] == [f"update {last} of 30"]
        assert "held out" in done.stdout
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["checkpoint", "config.json", "log.json", "model.safetensors"]
    names = sorted(path.name for path in (tmp_path / "out" / "checkpoint").iterdir())
    assert names == ["checkpoint.safetensors", "log.json"]

    (tmp_path / "one").mkdir()
    config, data = write_run(tmp_path / "one", 4)
    list(run_module.run(config, [data], tmp_path / "one" / "out", "cpu", seconds=0))
    list(run_module.run(config, [data], tmp_path / "one" / "out", "cpu"))
    curves = [
        json.loads((folder / "out" / "log.json").read_text())["curve"]
        for folder in (tmp_path, tmp_path / "one")
    ]
    for name in ("update", "nats", "kl_nats", "bits_per_dim", "held_out_bits_per_dim"):
        values = [[record[name] for record in curve] for curve in curves]
        assert values[0] == pytest.approx(values[1], rel=1e-3)

    model = bitsback.load_model(tmp_path / "out", "cpu")
    images = (squares(5, 8)[..., 0] > 0).astype(np.uint8)
    assert np.array_equal(bitsback.decompress(bitsback.compress(images, model), model), images)


@pytest.mark.parametrize(
    ("batch", "sizes", "output", "sentence"),
    [
        (3, 2, "out", "2 processes cannot share the 6 images"),
        (2, 1, "x.npy", "Not a directory"),  # which the first process alone finds out, at the end
    ],
)
def test_a_run_that_fails_ends_in_all_processes_with_one_sentence(
    tmp_path, batch, sizes, output, sentence
):
    config, images = write_run(tmp_path, batch, sizes)
    before = sorted(tmp_path.iterdir())
    words = (config, "--data", images, "-o", tmp_path / output)
    done = torchrun("-m", "bitsback.models", *words)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("bitsback: ")]
    assert len(said) == 1
    assert sentence in said[0]
    assert "exitcode  : 2" in done.stderr
    # torchrun's traceback alone
    assert str(Path(distributed.__file__).parents[1]) not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_when_to_save_and_to_stop_is_the_first_process_s_word(tmp_path):
    write_run(tmp_path, 2, updates=130)
    done = torchrun(__file__, tmp_path, "command")
    assert done.returncode == 0, done.stderr
    counts = [json.loads((tmp_path / f"counts-{rank}").read_text()) for rank in range(2)]
    assert counts[0] == {"save": 4, "validate": 1, "reports": [50, 100, 130]}
    assert counts[1] == {"save": 0, "validate": 0, "reports": []}
    assert json.loads((tmp_path / "out" / "log.json").read_text())["updates"] == 130


if __name__ == "__main__":
    (command if sys.argv[2:] else work)(Path(sys.argv[1]))
