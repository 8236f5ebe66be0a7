"""The parts of a batch's time are all of it, and only a batch that comes back is timed."""

import numpy as np
import pytest
from PIL import Image

from bitsback.ans import compiled
from bitsback.ans.message import Message
from bitsback.benchmarks import batch
from bitsback.coding import bits_back
from bitsback.errors import BitsbackError, InputError

pytestmark = pytest.mark.usefixtures("either_way")


def test_every_part_has_its_time(build_model):
    loaded = build_model(channels=3, likelihood="logistic", mixtures=2)
    x = batch.images(loaded, None)
    assert x.shape == (loaded.batch, 3, 8, 8)
    times = batch.measure(loaded, x, 2)
    assert [time.action for time in times] == ["encode", "decode"]
    for time in times:
        assert min(time.network, time.tables, time.ans) > 0
        assert time.compiled == compiled.enabled
        assert time.shape == x.shape


def test_parts_pause_one_another(monkeypatch):
    monkeypatch.setattr(batch.time, "thread_time", iter(range(100)).__next__)
    clock = batch._Clock()
    with clock.during("network"):
        clock.timed("ans", lambda: clock.timed("tables", int)())()
    clock.switch("tables")
    assert clock.seconds == {"network": 2, "tables": 3, "ans": 2}


def test_what_the_network_is_asked_is_its_time(build_model, monkeypatch):
    loaded = build_model()
    now = [0.0]
    monkeypatch.setattr(batch.time, "thread_time", lambda: now[0])
    prior, push = type(loaded.model).prior, Message.push_trusted

    def slow(*arguments):
        now[0] += 10
        return prior(*arguments)

    def slow_push(*arguments):
        now[0] += 1
        return push(*arguments)

    monkeypatch.setattr(type(loaded.model), "prior", slow)
    monkeypatch.setattr(Message, "push_trusted", slow_push)
    for time in batch.measure(loaded, batch.images(loaded, None), 1):
        assert time.network == 10 * len(loaded.model.groups)
        assert time.tables == 0
        assert (time.ans > 0) == (not compiled.enabled)


def test_images_are_cut_to_tiles(build_model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    loaded = build_model(channels=3, likelihood="gaussian")
    x = batch.images(loaded, tmp_path / "a.png")
    assert np.array_equal(x, np.stack([pixels[:8, :8], pixels[:8, 8:16]]).transpose(0, 3, 1, 2))
    with pytest.raises(InputError, match="1 channels"):
        batch.images(build_model(), tmp_path / "a.png")
    Image.fromarray(pixels[:, :, 0]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="0 and 1"):
        batch.images(build_model(), tmp_path / "a.png")


def test_a_batch_that_does_not_come_back_is_not_timed(build_model, monkeypatch):
    loaded = build_model()
    x = batch.images(loaded, None)
    decode = bits_back.decode
    monkeypatch.setattr(bits_back, "decode", lambda *arguments: 1 - decode(*arguments))
    with pytest.raises(BitsbackError, match="did not undo"):
        batch.measure(loaded, x, 1)
