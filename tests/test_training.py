"""Training resumes bit for bit, survives loss spikes, and refuses what it cannot use."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from bitsback.models import (
    augment,
    data,
    distributed,
    export,
    floats,
    loss,
    store,
    training,
    weight_norm,
)
from bitsback.models import run as run_module
from bitsback.models.checkpoint import load, save
from bitsback.models.config import DrawConfig
from bitsback.models.plan import TrainConfig, read_config
from bitsback.models.training import Trainer
from conftest import SMALL
from PIL import Image

from bitsback.errors import InputError, ModelError

GREY = dataclasses.replace(SMALL, likelihood="logistic", mixtures=2)
COLOUR = dataclasses.replace(SMALL, channels=3, likelihood="gaussian")
PLAN = TrainConfig(updates=24, batch=4, learning_rate=5e-3, warmup=4, snapshot=5, bf16=False)


def squares(count: int = 64, side: int = 12) -> np.ndarray:
    """Bright squares on a dark ground, uint8 (count, side, side, 1)."""
    random = np.random.default_rng(7)
    found = np.zeros((count, side, side, 1), np.uint8)
    for image in found:
        top, left = random.integers(0, side - 4, 2)
        image[top : top + 4, left : left + 4] = 255
    return found


def trainer(plan: TrainConfig = PLAN, config: DrawConfig = SMALL) -> Trainer:
    binary = config.likelihood == "bernoulli"
    pictures = data.Pictures((squares(),), config.tile, sample=binary)
    return Trainer(config, plan, pictures, "cpu")


def state_of(run: Trainer) -> list[torch.Tensor]:
    """All tensors of a run: parameters, averages, moments and older copies."""
    moments = [v for p in run.params for _, v in sorted(run.adam.state[p].items())]
    older = [copy for copies in run.snapshots for copy in copies]
    return [p.detach() for p in run.params] + run.average + moments + older


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) for a, b in zip(first, second, strict=True)
    )


def finite(tensors: list[torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors)


def advance(run: Trainer, updates: int) -> None:
    """Train up to `updates`, with a report every 6."""
    for progress in run.run(log_every=6):
        if progress.update == updates:
            break


def spoil(monkeypatch, at: set[int], run: Trainer, change) -> None:
    """Let `change` have the losses of the updates `at`."""
    honest = loss.losses

    def losses(*args):
        found = honest(*args)
        return change(found) if run.update in at else found

    monkeypatch.setattr(loss, "losses", losses)


def times(factor: float):
    """Multiply the likelihood of the losses."""
    return lambda found: dataclasses.replace(found, likelihood=found.likelihood * factor)


@pytest.mark.parametrize("config", [SMALL, GREY])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_run_that_was_saved_and_loaded_equals_one_that_was_not(tmp_path, config, bf16):
    plan = dataclasses.replace(PLAN, bf16=bf16, quantise_from=0.75)
    whole, first, second = (trainer(plan, config) for _ in range(3))
    advance(whole, 24)
    advance(first, 12)
    save(first, tmp_path)
    load(second, tmp_path)
    assert same(state_of(second), state_of(first))
    assert (second.update, second.running, second.seconds) == (12, first.running, first.seconds)
    advance(second, 24)
    assert same(state_of(second), state_of(whole))
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


@pytest.mark.parametrize("factor", [1e4, math.inf, math.nan])
def test_a_loss_spike_reverts_parameters_and_average_to_an_older_copy(monkeypatch, factor):
    plan = dataclasses.replace(PLAN, updates=80, batch=2, snapshot=20)
    run = trainer(plan)
    while run.update < 40:
        run.one_update()
    older = [p.detach().clone() for p in [*run.params, *run.average]]
    while run.update < 70:
        run.one_update()
    assert not same([p.detach() for p in [*run.params, *run.average]], older)
    with monkeypatch.context() as patch:
        spoil(patch, {70}, run, times(factor))
        run.one_update()
    assert run.reverted == [70]
    reached = [p.detach() for p in [*run.params, *run.average]]
    assert same(reached, run.snapshots[0])
    assert same(run.snapshots[0], older)
    for _ in run.run(log_every=5):
        pass
    assert run.update == 80
    assert run.reverted == [70]
    assert finite(state_of(run))
    assert all(math.isfinite(record["nats"]) for record in run.history)
    assert run.history[-1]["bits_per_dim"] < 1.5


def test_after_a_spike_no_copy_newer_than_the_one_reverted_to_is_kept(monkeypatch):
    run = trainer(dataclasses.replace(PLAN, snapshot=5))
    spoil(monkeypatch, {8, 9}, run, times(math.nan))
    while run.update < 8:
        run.one_update()
    oldest = run.snapshots[0]
    assert len(run.snapshots) == 2
    run.one_update()
    run.one_update()
    assert run.reverted == [8, 9]
    assert [id(copies) for copies in run.snapshots] == [id(oldest)]


def test_a_gradient_that_is_not_finite_reaches_neither_parameters_nor_average(monkeypatch):
    run = trainer()

    def steep(found):
        # The loss is as it was, its gradient infinite: d sqrt(x)/dx at 0.
        nil = (found.likelihood - found.likelihood.detach()).abs().sqrt()
        return dataclasses.replace(found, likelihood=found.likelihood + nil)

    spoil(monkeypatch, {10}, run, steep)
    for _ in run.run(log_every=1):
        assert finite(state_of(run))
    assert run.reverted == [10]
    assert all(math.isfinite(record["nats"]) for record in run.history)


def test_a_learning_rate_that_explodes_is_reverted_out_of_the_average_too(monkeypatch):
    run = trainer(dataclasses.replace(PLAN, updates=90, snapshot=10))
    rate = Trainer.rate
    monkeypatch.setattr(Trainer, "rate", lambda self: 1e4 if self.update == 60 else rate(self))
    while run.update < 61:
        run.one_update()
    assert max(float(v.abs().max()) for v in run.average) > 100
    for _ in run.run():
        pass
    assert run.reverted == [61]
    assert max(float(v.detach().abs().max()) for v in [*run.params, *run.average]) < 10


def test_a_loss_that_is_never_finite_is_refused(monkeypatch):
    run = trainer()
    spoil(monkeypatch, {0}, run, times(math.nan))
    with pytest.raises(ModelError, match="learning_rate"):
        run.one_update()


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


@pytest.mark.parametrize("beta", [1.0, 4.0])
@pytest.mark.parametrize("config", [SMALL, GREY])
def test_training_lowers_the_loss(config, beta):
    plan = dataclasses.replace(PLAN, updates=120, batch=8, learning_rate=2e-2, beta=beta)
    run = trainer(plan, config)
    for _ in run.run(log_every=10):
        pass
    first, last = run.history[0]["nats"], run.history[-1]["nats"]
    assert last < 0.7 * first
    assert run.reverted == []


def test_the_last_fiftieth_of_every_array_is_held_out():
    random = np.random.default_rng(0)
    arrays = tuple(
        random.integers(0, 256, (n, 9, 9, 1)).astype(np.uint8) for n in (100, 49, 1, 260)
    )
    train, held = data.Pictures(arrays, 8).parts()
    assert [len(a) for a in train.arrays] == [98, 49, 1, 255]
    assert [len(a) for a in held.arrays] == [2, 5]
    assert np.array_equal(np.concatenate([train.arrays[0], held.arrays[0]]), arrays[0])
    assert data.Pictures(arrays[1:3], 8).parts()[1] is None


def test_held_out_rates_are_of_the_averages_and_change_nothing(monkeypatch):
    monkeypatch.setattr(training, "VALIDATE_EVERY", 12)
    plan = dataclasses.replace(PLAN, quantise_from=0.75)
    plain, watched = trainer(plan), trainer(plan)
    watched.held = data.Pictures((squares(60)[:9],), 8, sample=True)
    advance(plain, 24)
    advance(watched, 24)
    assert same(state_of(plain), state_of(watched))
    held = [record.get("held_out_bits_per_dim") for record in watched.history]
    assert [value is None for value in held] == [True, False, True, False]
    assert held[3] == pytest.approx(watched.validate(), abs=1e-5)
    for mean in watched.average:
        mean.add_(0.3)
    assert abs(watched.validate() - held[3]) > 0.01


def test_the_weight_of_the_kl_rises_to_one(monkeypatch):
    """Gradients of an update are those of likelihood + min(1, (update + 1) / kl_warmup) * KL."""
    run = trainer(dataclasses.replace(PLAN, kl_warmup=4, clip=1e9))

    def gradients(update, kl_warmup):
        run.train = dataclasses.replace(run.train, kl_warmup=kl_warmup)
        run.update = update
        monkeypatch.setattr(run.adam, "step", lambda: None)
        run.one_update()
        return torch.cat([p.grad.flatten() for p in run.params]).clone()

    for update, weight in ((0, 0.25), (2, 0.75), (3, 1.0), (9, 1.0)):
        rising = gradients(update, 4)
        # Linear in the weight: between the gradients of 1 and of 1/2.
        whole, half = gradients(update, 0), gradients(update, 2 * (update + 1))
        wanted = whole + (whole - half) * 2 * (weight - 1)
        assert torch.allclose(rising, wanted, atol=1e-4 * float(wanted.abs().max()))


def test_latents_below_their_free_bits_are_not_pressed():
    """Each map pays max(KL, free), mean over the batch: where that is free, no gradient remains."""
    kl = torch.tensor([[1.0, 5.0], [3.0, 9.0]], requires_grad=True)
    found = loss.Losses(torch.zeros(2), kl.sum(1)[None], (kl,))
    assert found.kl_paid(0.0).item() == pytest.approx(9.0)
    paid = found.kl_paid(3.0)
    assert paid.item() == pytest.approx(3.0 + 7.0)
    paid.backward()
    assert kl.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]
    assert found.kl_paid(100.0).item() == pytest.approx(200.0)


def test_free_bits_keep_latents_that_a_run_gives_up_without_them():
    ends = []
    for free in (0.0, 2.0):
        run = trainer(dataclasses.replace(PLAN, updates=120, learning_rate=2e-2, free_bits=free))
        for _ in run.run(log_every=40):
            pass
        ends.append(run.history[-1])
    assert ends[0]["kl_nats"] < ends[1]["kl_nats"]


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan])
def test_impossible_free_bits_are_refused(value):
    with pytest.raises(ModelError, match="free_bits"):
        dataclasses.replace(PLAN, free_bits=value)


def test_the_log_tells_the_kl_of_every_group():
    run = trainer(config=dataclasses.replace(SMALL, layers=2, maps2=3, latents2=1))
    advance(run, 12)
    for record in run.history:
        assert len(record["kl_nats_by_group"]) == 4
        assert sum(record["kl_nats_by_group"]) == pytest.approx(record["kl_nats"], abs=0.01)


def test_a_larger_beta_spends_more_on_latents_and_less_on_pixels():
    ends = []
    for beta in (0.2, 5.0):
        run = trainer(dataclasses.replace(PLAN, updates=120, learning_rate=2e-2, beta=beta))
        for _ in run.run(log_every=40):
            pass
        ends.append(run.history[-1])
    low, high = ends
    assert low["kl_nats"] < high["kl_nats"]
    assert low["nats"] - low["kl_nats"] > high["nats"] - high["kl_nats"]


CONFIG = """
[model]
channels = 1
likelihood = "bernoulli"
tile = 8
[training]
updates = 10
"""


def test_a_configuration_file_gives_its_fields(tmp_path):
    (tmp_path / "c.toml").write_text(CONFIG + "bf16 = false\nlearning_rate = 1\nema = 0.5\n")
    model, plan = read_config(tmp_path / "c.toml")
    assert model == DrawConfig(channels=1, likelihood="bernoulli", tile=8)
    assert plan == TrainConfig(updates=10, bf16=False, learning_rate=1, ema=0.5)


def test_every_shipped_configuration_can_be_read():
    folder = data.Path(training.__file__).parent / "configs"
    names = {path.stem for path in folder.glob("*.toml")}
    assert names >= {"mnist", "omniglot", "photo"}
    for name in names:
        model, plan = read_config(folder / f"{name}.toml")
        assert model.tile % model.multiple == 0
        assert plan.updates > 0


@pytest.mark.parametrize(
    ("text", "error", "word"),
    [
        (CONFIG + "momentum = 1", ModelError, "'momentum'"),
        (CONFIG + "batch = '3'", ModelError, "'batch'"),
        (CONFIG + "batch = 2.5", ModelError, "'batch'"),
        (CONFIG + "batch = true", ModelError, "'batch'"),
        (CONFIG + "bf16 = 1", ModelError, "'bf16'"),
        (CONFIG + "snapshot = 0", ModelError, "'snapshot'"),
        (CONFIG + "batch = 0", ModelError, "'batch'"),
        (CONFIG + "learning_rate = nan", ModelError, "'learning_rate'"),
        (CONFIG + "ema = 1.0", ModelError, "'ema'"),
        (CONFIG + "quantise_from = 90", ModelError, "'quantise_from'"),
        (CONFIG + "seed = -1", ModelError, "'seed'"),
        (CONFIG.replace("updates = 10", ""), ModelError, "'updates'"),
        (CONFIG.replace("updates = 10", "updates = 0"), ModelError, "'updates'"),
        (CONFIG.replace("tile = 8", "tiles = 8"), ModelError, "'tiles'"),
        (CONFIG.replace("tile = 8", "tile = 8.0"), ModelError, "'tile'"),
        (CONFIG.replace("tile = 8", "stride = 0"), ModelError, "stride"),
        (CONFIG.replace("channels = 1", ""), ModelError, "'channels'"),
        (CONFIG.replace("channels = 1", "channels = 2"), ModelError, "channels"),
        (CONFIG + "[data]\nfolder = 'x'", ModelError, "'data'"),
        ("training = 3", ModelError, "'training'"),
        (CONFIG + "batch =", InputError, "TOML"),
        ("\ud800", InputError, "TOML"),
    ],
)
def test_a_wrong_configuration_file_is_refused_and_the_field_named(tmp_path, text, error, word):
    path = tmp_path / "c.toml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(error, match=word):
        read_config(path)


def test_a_configuration_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_config(tmp_path / "missing.toml")
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path)


def test_arrays_archives_and_folders_give_the_same_pictures(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 16, 3)).astype(np.uint8)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "train.npz", images=images[:1], train=images)
    np.savez(tmp_path / "images.npz", images=images)
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "folder" / f"{i}.png")
    small = data.halved(images)
    for name in ("a.npy", "train.npz", "images.npz", "folder"):
        found = data.load([tmp_path / name], COLOUR)
        full = np.concatenate([a for a in found.arrays if a.shape[1] == 20])
        half = np.concatenate([a for a in found.arrays if a.shape[1] == 10])
        assert np.array_equal(full, images)
        assert np.array_equal(half, small)
        assert (found.crop, found.sample, found.flip) == (8, False, True)
        assert found.dims == 8 * 8 * 3


def test_jpeg_files_are_halved_before_they_are_used(tmp_path):
    wide, tall = (np.full(shape, 77, np.uint8) for shape in ((40, 32, 3), (32, 40, 3)))
    for name, image in {"a.jpg": wide, "b.JPEG": wide, "c.jpg": tall, "d.txt": None}.items():
        if image is None:
            (tmp_path / name).write_text("no image")
        else:
            Image.fromarray(image).save(tmp_path / name, "JPEG")
    found = data.load([tmp_path], COLOUR)
    shapes = sorted(a.shape for a in found.arrays)
    assert shapes == [(1, 8, 10, 3), (1, 16, 20, 3), (2, 10, 8, 3), (2, 20, 16, 3)]
    assert all((a == 77).all() for a in found.arrays)


def test_grey_pictures_need_no_channel_axis(tmp_path):
    np.save(tmp_path / "a.npy", squares()[..., 0])
    found = data.load([tmp_path / "a.npy"], GREY)
    assert np.array_equal(found.arrays[0], squares())
    assert not found.flip


@pytest.mark.parametrize("ink", [1, 255])
def test_a_bernoulli_model_gets_certain_pixels_as_they_are(tmp_path, ink):
    pictures = squares(side=8)
    np.save(tmp_path / "a.npy", pictures // 255 * ink)
    batch = data.load([tmp_path / "a.npy"], SMALL).batch(16, 0, 0).numpy()
    known = {image.tobytes() for image in pictures // 255}
    assert all(image.transpose(1, 2, 0).tobytes() in known for image in batch)


def test_a_bernoulli_model_gets_grey_levels_as_probabilities_of_ink():
    grey = np.full((1, 8, 8, 1), 51, np.uint8)
    batch = data.Pictures((grey,), 8, sample=True).batch(400, 0, 0).numpy()
    assert set(np.unique(batch)) == {0, 1}
    # 25600 draws at 51/255: the standard deviation of the mean is 0.0025.
    assert abs(batch.mean() - 0.2) < 0.0125


def write_pickle(path):
    np.save(path, np.array([{}], object), allow_pickle=True)


def write_cut(path):
    np.save(path, squares())
    path.write_bytes(path.read_bytes()[:-7])


def write_cut_archive(path):
    np.savez_compressed(path, train=squares())
    path.write_bytes(path.read_bytes()[:200])


def write_altered_archive(path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 8, 8)).astype(np.uint8)
    np.savez_compressed(path, train=noise)
    content = bytearray(path.read_bytes())
    content[1000:1100] = bytes(100)
    path.write_bytes(content)


def write_empty_folder(path):
    path.mkdir()


def write_damaged_png(path):
    path.mkdir()
    Image.fromarray(squares()[0, ..., 0]).save(path / "0.png")
    content = (path / "0.png").read_bytes()
    (path / "0.png").write_bytes(content[:40] + content[44:])


@pytest.mark.parametrize(
    ("name", "write", "word"),
    [
        ("missing.npy", lambda path: None, "no such file"),
        ("a.txt", lambda path: path.write_text("x"), "training reads"),
        ("folder", write_empty_folder, "no PNG"),
        ("pngs", write_damaged_png, "not a readable"),
        ("pickled.npy", write_pickle, "not a readable"),
        ("cut.npy", write_cut, "not a readable"),
        ("empty.npy", lambda path: path.write_bytes(b""), "not a readable"),
        ("cut.npz", write_cut_archive, "not a readable"),
        ("altered.npz", write_altered_archive, "not a readable"),
        ("other.npz", lambda path: np.savez(path, labels=np.arange(3)), "no array named train"),
        ("small.npy", lambda path: np.save(path, np.zeros((5, 7, 9), np.uint8)), "at least 8 x 8"),
        ("none.npy", lambda path: np.save(path, np.zeros((0, 8, 8), np.uint8)), "at least 8 x 8"),
        ("flat.npy", lambda path: np.save(path, np.zeros((8, 8), np.uint8)), "1 channels"),
        ("three.npy", lambda path: np.save(path, np.zeros((2, 8, 8, 3), np.uint8)), "1 channels"),
        ("real.npy", lambda path: np.save(path, np.zeros((2, 8, 8))), "float64"),
    ],
)
def test_pictures_that_cannot_train_are_refused(tmp_path, name, write, word):
    write(tmp_path / name)
    with pytest.raises(InputError, match=word):
        data.load([tmp_path / name], SMALL)


def test_a_batch_depends_on_seed_and_index_alone():
    noise = np.random.default_rng(0).integers(0, 256, (9, 20, 16, 3)).astype(np.uint8)
    pictures = data.Pictures((noise, data.halved(noise)), 8, flip=True)
    first = pictures.batch(5, 3, 11)
    assert first.shape == (5, 3, 8, 8)
    assert first.dtype == torch.uint8
    pictures.batch(5, 3, 12)
    torch.manual_seed(0)
    np.random.default_rng(0).random()
    assert torch.equal(pictures.batch(5, 3, 11), first)
    assert not torch.equal(pictures.batch(5, 3, 12), first)
    assert not torch.equal(pictures.batch(5, 4, 11), first)


def test_every_crop_of_a_batch_is_a_window_of_a_picture_or_its_mirror():
    noise = np.random.default_rng(0).integers(0, 256, (2, 10, 9, 1)).astype(np.uint8)
    windows, mirrored = set(), set()
    for image in noise[..., 0]:
        for top in range(3):
            for left in range(2):
                window = image[top : top + 8, left : left + 8]
                windows.add(window.tobytes())
                mirrored.add(window[:, ::-1].tobytes())
    crops = {c.tobytes() for c in data.Pictures((noise,), 8, flip=True).batch(400, 0, 0).numpy()}
    assert crops == windows | mirrored
    plain = {c.tobytes() for c in data.Pictures((noise,), 8).batch(400, 0, 0).numpy()}
    assert plain == windows


def test_larger_crops_are_fewer_and_of_pictures_that_hold_them():
    small, large = np.zeros((9, 12, 12, 3), np.uint8), np.full((2, 40, 33, 3), 7, np.uint8)
    pictures = data.Pictures((small, large), 8)
    assert pictures.batch(16, 0, 0, 2).shape == (4, 3, 16, 16)
    assert pictures.batch(3, 0, 0, 4).shape == (1, 3, 32, 32)
    assert (pictures.batch(160, 0, 0, 4) == 7).all()
    with pytest.raises(InputError, match="64 x 64"):
        pictures.batch(16, 0, 0, 8)


@pytest.mark.parametrize("side", [8, 20])
def test_varied_crops_are_enlarged_and_coloured_now_and_then(side, monkeypatch):
    random = np.random.default_rng(0)
    noise = random.integers(60, 190, (20, 22, 3)).astype(np.uint8)
    plain = {
        noise[top : top + side, left : left + side].tobytes()
        for top in range(21 - side)
        for left in range(23 - side)
    }
    crops = [augment.varied_crop(noise, side, random) for _ in range(400)]
    assert all(crop.shape == (side, side, 3) and crop.dtype == np.uint8 for crop in crops)
    untouched = [crop for crop in crops if crop.tobytes() in plain]
    share = (1 - augment.ENLARGED) * (1 - augment.COLOURED)
    assert 0.7 * share < len(untouched) / len(crops) < 1.3 * share

    def mean_of(measure, **shares):
        for name, share in shares.items():
            monkeypatch.setattr(augment, name, share)
        return np.mean([measure(augment.varied_crop(noise, side, random)) for _ in range(100)])

    def roughness(crop):
        return np.abs(np.diff(crop.astype(int), axis=0)).mean()

    def colour(crop):
        return np.abs(crop - crop.mean(2, keepdims=True)).mean()

    enlarged = mean_of(roughness, ENLARGED=1.0, COLOURED=0.0)
    assert enlarged < 0.9 * mean_of(roughness, ENLARGED=0.0, COLOURED=0.0)
    coloured = mean_of(colour, ENLARGED=0.0, COLOURED=1.0)
    assert coloured > 1.1 * mean_of(colour, ENLARGED=0.0, COLOURED=0.0)
    again = np.random.default_rng(5), np.random.default_rng(5)
    first, second = (augment.varied_crop(noise, side, each) for each in again)
    assert np.array_equal(first, second)


def test_varied_drawings_are_moved_but_keep_their_ink(monkeypatch):
    random = np.random.default_rng(0)
    square = np.zeros((28, 28, 1), np.uint8)
    square[10:18, 8:20] = 255
    drawings = np.stack([augment.varied_drawing(square, 28, random) for _ in range(200)])
    assert drawings.shape == (200, 28, 28, 1)
    assert drawings.dtype == np.uint8
    assert len({drawing.tobytes() for drawing in drawings}) == 200
    ink = drawings.reshape(200, -1).astype(float).sum(1) / 255
    assert 75 < ink.min() < 90 < 102 < ink.max() < 125  # 96, and up to 1.1**2 as much or as little
    rows = (drawings[..., 0].mean((0, 2)) * np.arange(28)).sum() / drawings[..., 0].mean(
        (0, 2)
    ).sum()
    assert abs(rows - 13.5) < 0.3
    for name in ("TURNED", "SCALED", "SHIFTED"):
        monkeypatch.setattr(augment, name, 0.0)
    assert np.array_equal(augment.varied_drawing(square, 28, random), square)
    pictures = data.Pictures((square[None],), 28, vary=True)
    assert np.array_equal(pictures.batch(1, 0, 0)[0, 0].numpy(), square[..., 0])


def test_weight_normalisation_changes_the_way_and_not_the_model():
    plain, normal = trainer(), trainer(dataclasses.replace(PLAN, weight_norm=True))
    assert len(normal.params) > len(plain.params)
    before = plain.averaged()
    for name, value in normal.averaged().items():
        assert torch.allclose(value, before[name], atol=1e-6)
    params = normal.network.named()
    with torch.no_grad():
        params["dec1/h"] *= 3.0  # a direction's length means nothing
        params["gain/dec1/h"] *= 2.0
    joined = weight_norm.joined(params)
    assert joined.keys() == before.keys()
    assert torch.allclose(joined["dec1/h"], 2.0 * before["dec1/h"], atol=1e-6)
    first, *_ = [normal.one_update()[0] for _ in range(24)]
    assert normal.one_update()[0] < first
    held = data.Pictures((squares(300),), SMALL.tile, sample=True)
    normal.held = held
    assert math.isfinite(normal.validate() or math.nan)


def test_a_normalised_run_starts_from_the_weights_of_a_plain_one():
    config = dataclasses.replace(SMALL, passes=4)
    weights = {k: v * 0.5 for k, v in trainer(config=config).averaged().items()}
    deeper = dataclasses.replace(config, blocks=1)
    run = trainer(dataclasses.replace(PLAN, weight_norm=True), deeper)
    run.begin(weights)
    found = run.averaged()
    assert all(torch.allclose(found[name], value, atol=1e-6) for name, value in weights.items())
    assert not found["outer1_1/h"].any()
    run.one_update()
    assert all(bool(torch.isfinite(p).all()) for p in run.params)
    assert run.network.named()["gain/outer1_1/h"].any()


def test_dropout_silences_a_share_of_the_hidden_maps_in_training_alone():
    params = floats.parameters(SMALL, torch.Generator().manual_seed(0))
    gates, cell = torch.full((1, 16, 40, 40), 1.0), torch.ones(1, 4, 40, 40)
    whole, _ = floats.FloatOps(SMALL, params).lstm(gates, cell)
    torch.manual_seed(0)
    dropped, kept = floats.FloatOps(SMALL, params, dropout=0.25).lstm(gates, cell)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float(dropped.max()) == pytest.approx(float(whole.max()) / 0.75)
    assert bool((kept != 0).all())
    asked = []
    run = trainer(dataclasses.replace(PLAN, dropout=0.25))
    real = run.network.ops
    run.network.ops = lambda *words: asked.append(words) or real(*words)
    run.one_update()
    assert asked == [(False, 0.25, distributed.WHOLE)]


def test_a_run_takes_crops_of_several_sizes_in_turn():
    config = dataclasses.replace(COLOUR, likelihood="logistic", doublings=1)
    noise = np.random.default_rng(0).integers(0, 256, (9, 20, 20, 3)).astype(np.uint8)
    plan = dataclasses.replace(PLAN, sizes=2, vary=True)
    run = Trainer(config, plan, data.Pictures((noise,), 8), "cpu")
    asked = []
    real = data.Pictures.batch

    def batch(*words):
        asked.append(real(*words).shape)
        return real(*words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data.Pictures, "batch", batch)
        totals = [run.one_update()[0] for _ in range(4)]
    assert asked == [(4, 3, 8, 8), (1, 3, 16, 16)] * 2
    assert run.pictures.vary
    # Nats of a crop of the smallest size, whatever was taken.
    assert max(totals) < 1.5 * min(totals)


def test_halving_averages_blocks_of_two_by_two_rounded_to_nearest():
    image = np.array([[0, 1, 255, 255, 9], [1, 1, 255, 254, 9], [9, 9, 9, 9, 9]], np.uint8)
    # Sums 3 and 1019: means 0.75 and 254.75; a half goes up.
    assert data.halved(image[None, :, :, None])[0, :, :, 0].tolist() == [[1, 255]]
    ties = np.array([[0, 1, 2, 0], [1, 0, 0, 0]], np.uint8)
    assert data.halved(ties[None, :, :, None])[0, :, :, 0].tolist() == [[1, 1]]
    colours = np.stack([ties, ties * 2, ties * 0], -1)[None]
    assert data.halved(colours).tolist() == [[[[1, 1, 0], [1, 1, 0]]]]


@pytest.fixture
def checkpoint(tmp_path):
    run = trainer()
    advance(run, 12)
    save(run, tmp_path)
    load(trainer(), tmp_path)
    return tmp_path


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


def test_training_needs_no_more_than_torch_numpy_and_safetensors(tmp_path):
    np.save(tmp_path / "a.npy", squares())
    code = f"""
import sys
for name in ("typer", "rich", "scipy", "PIL", "click", "skimage", "imagecodecs", "constriction"):
    sys.modules[name] = None
from pathlib import Path
from bitsback.models import checkpoint, config, data, plan, training
model = config.DrawConfig(**{SMALL.to_dict()!r})
pictures = data.load([Path({str(tmp_path / "a.npy")!r})], model)
run = training.Trainer(model, plan.TrainConfig(updates=1, batch=2), pictures, "cpu")
print([progress.update for progress in run.run()])
checkpoint.save(run, Path({str(tmp_path / "checkpoint")!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "[1]\n"
    assert (tmp_path / "checkpoint" / "log.json").exists()


def test_a_run_starts_from_the_parameters_of_a_model_as_far_as_they_are_alike(tmp_path):
    run = trainer()
    advance(run, 12)
    tensors = export.export(SMALL, run.averaged())
    restored = export.restore(SMALL, tensors)
    for name, value in export.export(SMALL, restored).items():
        assert np.array_equal(value, tensors[name])
    for name, value in run.averaged().items():
        assert torch.allclose(restored[name], value, atol=2e-3)
    wider = trainer(config=dataclasses.replace(SMALL, passes=4, blocks=1))
    fresh = wider.network.named()["seen1/h"].detach().clone()
    wider.begin(restored)
    assert torch.equal(wider.network.named()["dec1/h"], restored["dec1/h"])
    assert torch.equal(wider.averaged()["init/r"], restored["init/r"])
    assert torch.equal(wider.network.named()["seen1/h"], fresh)
    for block in (wider.network.named(), wider.averaged()):  # it begins as nothing
        assert not block["outer1_1/h"].any()
        assert block["inner1_1/h"].any()
    with pytest.raises(ModelError, match="in common"):
        wider.begin({"dec1/h": torch.zeros(1)})
    store.save(tmp_path / "m", SMALL, tensors, [np.zeros(2, np.int64)] * 2)
    np.save(tmp_path / "x.npy", squares())
    (tmp_path / "c.toml").write_text(
        '[model]\nchannels = 1\nlikelihood = "bernoulli"\nsteps = 2\nmaps = 4\nlatents = 2\n'
        "tile = 8\nbatch = 2\npasses = 4\n[training]\nupdates = 2\nlearning_rate = 1e-9\n"
    )
    words = (tmp_path / "c.toml", [tmp_path / "x.npy"], tmp_path / "out", "cpu", None)
    list(run_module.run(*words, tmp_path / "m"))
    config, found, _, _ = store.read(tmp_path / "out")
    assert config.passes == 4
    assert np.abs(found["dec1/h"].astype(int) - tensors["dec1/h"]).max() <= 1
