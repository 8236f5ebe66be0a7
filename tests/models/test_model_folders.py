"""A model folder that is not whole is refused with a sentence that names the file and the field."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import SMALL, random_model
from safetensors.numpy import load_file, save_file

from bitsback.errors import ModelError
from bitsback.models import store


@pytest.fixture
def folder(tmp_path):
    """A whole model folder."""
    config = dataclasses.replace(SMALL, posterior="constant")
    store.save(tmp_path, config, *random_model(config))
    assert store.load(str(tmp_path), "cpu")
    return tmp_path


def refused(folder, file, *words):
    """The one sentence with which the folder is refused names the file, and says the words."""
    with pytest.raises(ModelError) as caught:
        store.load(str(folder), "cpu")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(f"{folder / file}: "), sentence
    for word in words:
        assert word in sentence


def nested(depth):
    """A list in a list in a list ..."""
    return "[" * depth + "]" * depth


FIELDS = {
    "unknown": (lambda f: f.update(colour="red"), "'colour'"),
    "missing": (lambda f: f.pop("known_answer"), "'known_answer'"),
    "format": (lambda f: f.update(format=2), "format 1"),
    "config is no object": (lambda f: f.update(config=[]), "'config'"),
    "config has an unknown field": (lambda f: f["config"].update(dropout=1), "'dropout'"),
    "config lacks a field": (lambda f: f["config"].pop("likelihood"), "likelihood"),
    "a word for a number": (lambda f: f["config"].update(maps="4"), "'maps'"),
    "NaN for a number": (lambda f: f["config"].update(maps=float("nan")), "'maps'"),
    "true for a number": (lambda f: f["config"].update(latents=True), "'latents'"),
    "an impossible number": (lambda f: f["config"].update(stride=3), "stride"),
    "a number beyond all": (lambda f: f["config"].update(maps=10**30), "maps"),
    "an unknown word": (lambda f: f["config"].update(likelihood="poisson"), "likelihood"),
    "other grids": (lambda f: f["log_widths"].pop(), "'log_widths'"),
    "a grid that is no list": (lambda f: f.update(log_widths=[1, 2]), "'log_widths'"),
    "a grid of fractions": (lambda f: f["log_widths"][0].__setitem__(0, 0.5), "'log_widths'"),
    "a grid out of range": (lambda f: f["log_widths"][0].__setitem__(0, 99), "'log_widths'"),
    "another digest": (lambda f: f.update(sha256="0" * 64), "'sha256'"),
    "a digest that is none": (lambda f: f.update(sha256=7), "'sha256'"),
    "a known answer that is none": (lambda f: f.update(known_answer=None), "'known_answer'"),
    "another batch": (lambda f: f["config"].update(batch=3), "'sha256'"),
}


@pytest.mark.parametrize("case", FIELDS)
def test_a_wrong_field_of_the_configuration_is_named(folder, case):
    change, word = FIELDS[case]
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    refused(folder, "config.json", word)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", "\ud800", nested(100_000)])
def test_a_configuration_that_is_none_is_refused(folder, text):
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError, match=r"config\.json"):
        store.load(str(folder), "cpu")


def nan_weights(tensors):
    tensors["enc1/h"] = np.full(tensors["enc1/h"].shape, np.nan, np.float32)


def wider(tensors):
    tensors["dec1/h"] = np.concatenate([tensors["dec1/h"]] * 2, 1)


def set_to(name, value):
    """Put a value into the first place of a tensor."""

    def change(tensors):
        tensors[name].flat[0] = value

    return change


def full(name, value):
    """Fill a tensor."""

    def change(tensors):
        tensors[name][:] = value

    return change


WEIGHTS = {
    "NaN": (nan_weights, "'enc1/h'", "float32"),
    "a wrong shape": (wider, "'dec1/h'", "shape"),
    "one axis more": (lambda t: t.update({"init/r": np.zeros((1, 1), "i4")}), "'init/r'", "shape"),
    "a wrong type": (lambda t: t.update({"p1_mean/h": t["p1_mean/h"].astype("i4")}), "int32"),
    "missing": (lambda t: t.pop("canvas/bias"), "'canvas/bias'", "missing"),
    "unknown": (lambda t: t.update(more=np.zeros(1)), "'more'", "unknown"),
    "weights beyond the bound": (full("enc1/h", 2**15 - 1), "'enc1/", "output channel"),
    "a bias beyond the bound": (set_to("q1_mean/bias", 2**24), "'q1_mean/", "channel 0"),
    "the least bias": (set_to("q1_mean/bias", -(2**31)), "'q1_mean/", "channel 0"),
    "a negative exponent": (set_to("canvas/exponent", -1), "'canvas/exponent'"),
    "an exponent out of range": (set_to("canvas/exponent", 127), "'canvas/exponent'"),
    "an initial value out of range": (set_to("init/hd1", 513), "'init/hd1'"),
    "a width out of range": (set_to("init/width1", -(2**31)), "'init/width1'"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_a_wrong_tensor_is_named(folder, case):
    change, *words = WEIGHTS[case]
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    refused(folder, "model.safetensors", *words)


def test_other_weights_of_the_same_shapes_are_not_those_of_the_digest(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["enc1/h"].flat[0] ^= 1
    save_file(tensors, path)
    refused(folder, "config.json", "'sha256'")


@pytest.mark.parametrize("keep", [0, 7, 100])
def test_a_cut_file_of_weights_is_refused(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        store.load(str(folder), "cpu")
