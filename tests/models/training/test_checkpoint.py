"""Training resumes bit for bit, and a checkpoint that is damaged or another's is refused."""

import dataclasses
import json
import math
import shutil

import pytest
from conftest import SMALL
from training_runs import GREY, PLAN, advance, resumed, same, spoil, state_of, times, trainer

from bitsback.errors import ModelError
from bitsback.models.training.checkpoint import load, save


@pytest.mark.parametrize("config", [SMALL, GREY])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_run_that_was_saved_and_loaded_equals_one_that_was_not(tmp_path, config, bf16):
    plan = dataclasses.replace(PLAN, bf16=bf16, quantise_from=0.75)
    whole, second = resumed(tmp_path, plan, config)
    assert second.running == whole.running
    assert len(second.snapshots) == 2
    timeless = [
        [{k: v for k, v in record.items() if k != "seconds"} for record in run.history]
        for run in (second, whole)
    ]
    assert timeless[0] == timeless[1]
    assert [record["update"] for record in timeless[0]] == [6, 12, 18, 24]


def test_a_run_saved_just_after_a_spike_resumes_to_the_same_result(tmp_path, monkeypatch):
    whole, first, second = (trainer() for _ in range(3))
    for run, updates in ((whole, 24), (first, 12)):
        with monkeypatch.context() as patch:
            spoil(patch, {11}, run, times(math.nan))
            advance(run, updates)
    save(first, tmp_path)
    load(second, tmp_path)
    assert second.reverted == [11]
    assert second.history == first.history
    advance(second, 24)
    assert same(state_of(second), state_of(whole))
    assert second.reverted == whole.reverted


def test_the_time_spent_is_in_the_checkpoint_of_a_run_that_was_killed(tmp_path):
    first, second = trainer(), trainer()
    advance(first, 6)
    save(first, tmp_path)
    load(second, tmp_path)
    assert second.seconds > 0
    advance(second, 12)
    assert second.seconds > first.seconds


def test_the_log_of_a_run_with_losses_that_are_not_finite_is_strict_json(tmp_path, monkeypatch):
    run = trainer()
    spoil(monkeypatch, set(range(7, 24)), run, times(math.nan))
    for _ in run.run(log_every=6):
        save(run, tmp_path)

    def refuse(constant):
        raise AssertionError(constant)

    log = json.loads((tmp_path / "log.json").read_text(), parse_constant=refuse)
    assert log["reverted"] == list(range(7, 24))
    assert [record["update"] for record in log["history"]] == [6, 12]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint of a run of 12 updates."""
    folder, run = tmp_path_factory.mktemp("saved"), trainer()
    advance(run, 12)
    save(run, folder)
    load(trainer(), folder)
    return folder


@pytest.fixture
def checkpoint(saved, tmp_path):
    """That checkpoint, for a test to spoil."""
    return shutil.copytree(saved, tmp_path / "checkpoint")


@pytest.mark.parametrize("name", ["log.json", "checkpoint.safetensors"])
@pytest.mark.parametrize("at", [0, 5, 100, 0.3, 0.7, -1])
def test_a_checkpoint_cut_short_or_altered_is_refused(checkpoint, name, at):
    path = checkpoint / name
    whole = path.read_bytes()
    at = int(at * len(whole)) if isinstance(at, float) else at
    path.write_bytes(whole[:at])
    with pytest.raises(ModelError, match="damaged"):
        load(trainer(), checkpoint)
    altered = bytearray(whole)
    altered[at] ^= 1
    path.write_bytes(altered)
    with pytest.raises(ModelError, match=r"damaged|configuration"):
        load(trainer(), checkpoint)
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load(trainer(), checkpoint)


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"sha256": 1}', "null"])
def test_a_checkpoint_whose_log_is_other_json_is_refused(checkpoint, text):
    (checkpoint / "log.json").write_text(text)
    with pytest.raises(ModelError, match=r"damaged|configuration"):
        load(trainer(), checkpoint)


@pytest.mark.parametrize("field", ["update", "running", "history", "reverted", "seconds"])
def test_a_checkpoint_without_a_field_or_its_digest_is_refused(checkpoint, field):
    log = json.loads((checkpoint / "log.json").read_text())
    del log[field], log["sha256"]
    (checkpoint / "log.json").write_text(json.dumps(log))
    with pytest.raises(ModelError, match="damaged"):
        load(trainer(), checkpoint)


def test_tensors_and_log_of_different_moments_are_refused(checkpoint, tmp_path_factory):
    run = trainer()
    advance(run, 18)
    later = tmp_path_factory.mktemp("later")
    save(run, later)
    (later / "checkpoint.safetensors").rename(checkpoint / "checkpoint.safetensors")
    with pytest.raises(ModelError, match="damaged"):
        load(trainer(), checkpoint)


def test_a_checkpoint_of_another_configuration_is_refused(checkpoint):
    with pytest.raises(ModelError, match="another configuration"):
        load(trainer(config=dataclasses.replace(SMALL, maps=5)), checkpoint)


def test_a_checkpoint_without_older_averages_or_digest_still_resumes(checkpoint):
    from safetensors.torch import load_file, save_file

    tensors = load_file(checkpoint / "checkpoint.safetensors")
    early = {name: v for name, v in tensors.items() if not name.startswith("older_average/")}
    assert len(early) < len(tensors)
    save_file(early, checkpoint / "checkpoint.safetensors")
    log = json.loads((checkpoint / "log.json").read_text())
    del log["sha256"]
    (checkpoint / "log.json").write_text(json.dumps(log))
    resumed, whole = trainer(), trainer()
    load(resumed, checkpoint)
    advance(resumed, 24)
    advance(whole, 24)
    assert same([p.detach() for p in resumed.params], [p.detach() for p in whole.params])
    assert same(resumed.average, whole.average)
