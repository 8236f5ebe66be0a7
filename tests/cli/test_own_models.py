"""`--model package.module:object`: the user's own code, named by the user."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import run

from bitsback.archive import own_models
from bitsback.errors import InputError, ModelError

IMAGES = (np.random.default_rng(0).random((40, 8, 8)) < 0.3).astype(np.uint8)
MODULE = """
import numpy as np
from bitsback.models import vae
from bitsback.protocol import LoadedModel

IMAGES = (np.random.default_rng(0).random((40, 8, 8)) < 0.3).astype(np.uint8)
number = 3


def model():
    own = vae.fit(IMAGES, hidden=12, latents=3, updates=5)
    return LoadedModel("own", bytes(32), own, 1, True, (8,), batch=8, multiple=1)


class Namespace:
    ready = model()


def broken():
    return 1 / 0
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    np.save("a.npy", IMAGES)
    return name


def test_every_command_takes_an_object(module, monkeypatch, capsys):
    named = ("--model", f"{module}:model")
    code, _, err = run(
        monkeypatch, capsys, "compress", "a.npy", "-o", "a.bb", "--always-chain", *named
    )
    assert code == 0, err
    assert "model own" in err.splitlines()[-1]
    assert "classical" not in err
    assert run(monkeypatch, capsys, "verify", "a.bb", *named)[0] == 0
    assert run(monkeypatch, capsys, "decompress", "a.bb", "-o", "b.npy", *named)[0] == 0
    assert np.array_equal(np.load("b.npy"), IMAGES)
    code, out, _ = run(monkeypatch, capsys, "rate", "a.npy", "--json", *named)
    assert (code, json.loads(out)["match"]) == (0, True)
    code, _, err = run(monkeypatch, capsys, "decompress", "a.bb", "-o", "c.npy")
    assert code == 2
    assert "'own'" in err


def test_a_file_never_names_an_object(module, monkeypatch, capsys):
    own = own_models.load(f"{module}:model")
    forged = dataclasses.replace(own, name=f"{module}:model")
    import bitsback

    with open("a.bb", "wb") as file:
        file.write(bitsback.compress(IMAGES, forged))
    code, _, err = run(monkeypatch, capsys, "decompress", "a.bb", "-o", "b.npy")
    assert code == 2
    assert "no model ships under the name" in err


def test_objects_are_models_or_give_them(module):
    assert own_models.load(f"{module}:Namespace.ready").name == "own"
    assert own_models.load(f"{module}:model", micro_batch=2).name == "own"
    for name, reason in (
        ("number", "is a int: give a"),
        ("missing", "AttributeError"),
        ("broken", "ZeroDivisionError"),
    ):
        with pytest.raises(ModelError, match=reason):
            own_models.load(f"{module}:{name}")
    with pytest.raises(ModelError, match="ModuleNotFoundError"):
        own_models.load("no_such_module:model")
    with pytest.raises(InputError, match="device"):
        own_models.load(f"{module}:model", device="cuda")


def test_what_is_no_object_is_a_name_or_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").mkdir()
    for name in ("photo", "models/mine", "a:b", "C:\\models", ":x", "x:", "./a:b"):
        assert not own_models.is_object(name)
    assert own_models.is_object("package.module:object.attribute")


def test_floats_are_coded_by_one_process(module, monkeypatch, capsys):
    from bitsback.cli.compress import executor_of

    with pytest.raises(InputError, match="leave --jobs"):
        executor_of(None, 2, "torch", None, "torch 2, here")
    assert executor_of(None, 1, "torch", None, "torch 2, here") is None
