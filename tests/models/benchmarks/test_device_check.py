"""The check of a GPU, exercised with the CPU in its place."""

import json

import pytest
import torch

from bitsback.models import store
from bitsback.models.benchmarks import device_check
from bitsback.models.draw.config import DrawConfig

CPU = torch.device("cpu")


def test_a_device_that_is_exact_reads_and_writes_every_shipped_models_files(monkeypatch):
    sides = DrawConfig.tiles.fget
    monkeypatch.setattr(DrawConfig, "tiles", property(lambda config: sides(config)[:2]))
    monkeypatch.setattr(device_check, "IMAGES", 1)
    found = json.loads(json.dumps(device_check.record(CPU)))
    assert {"device", "torch", "cuda", "cudnn"} < found.keys()
    assert sorted(found["models"]) == store.names()
    for carriers in found["models"].values():
        for carrier in ("float32", "float64"):
            assert set(carriers[carrier].values()) == {True}
        assert carriers["float16"] == {
            "known_answer": False,
            "cpu_to_device": None,
            "device_to_cpu": None,
        }
    assert device_check.usable(found)


def test_a_convolution_that_is_wrong_beyond_the_known_answer_is_seen_in_the_files(monkeypatch):
    """Some libraries choose another algorithm for larger inputs."""
    conv2d = torch.nn.functional.conv2d

    def wrong(x, *args, **kwargs):
        found = conv2d(x, *args, **kwargs)
        return found + 3 if x.dtype == torch.float64 and x.shape[-1] > 8 else found

    monkeypatch.setattr(torch.nn.functional, "conv2d", wrong)
    found = {"models": {"omniglot": device_check.check("omniglot", CPU)}}
    carriers = found["models"]["omniglot"]
    assert set(carriers["float32"].values()) == {True}
    assert carriers["float64"]["known_answer"]
    assert carriers["float64"]["cpu_to_device"] is False
    assert carriers["float64"]["device_to_cpu"] is False
    assert not device_check.usable(found)


def test_a_device_without_any_exact_carrier_is_not_usable(monkeypatch):
    conv2d = torch.nn.functional.conv2d
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *a, **k: conv2d(*a, **k) * 1.5)
    found = {"models": {"mnist": device_check.check("mnist", CPU)}}
    assert not any(result["known_answer"] for result in found["models"]["mnist"].values())
    assert not device_check.usable(found)


@pytest.mark.parametrize(("wrong", "status"), [(1.0, 0), (1.5, 1)])
def test_the_record_is_printed_and_the_status_says_whether_it_may_be_used(
    monkeypatch, capsys, wrong, status
):
    conv2d = torch.nn.functional.conv2d
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *a, **k: conv2d(*a, **k) * wrong)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "device", lambda _: CPU)
    monkeypatch.setattr(store, "names", lambda: ["mnist"])
    with pytest.raises(SystemExit) as stopped:
        device_check.main()
    assert stopped.value.code == status
    assert list(json.loads(capsys.readouterr().out)["models"]) == ["mnist"]


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        device_check.main()
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "no CUDA device" in printed.err
