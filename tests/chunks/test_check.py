"""What does not decode is not written."""

import numpy as np
import pytest

from bitsback import compress, decompress
from bitsback.ans.message import Message
from bitsback.archive.writer import compress_set
from bitsback.chunks import chain_encoder, encoder, prefix
from bitsback.errors import BitsbackError, InputError, ModelError
from bitsback.images.image_set import from_array
from bitsback.models.draw.model import DrawModel
from bitsback.tables.latent_grid import Gaussian

IMAGES = np.random.default_rng(0).integers(0, 2, (9, 20, 13)).astype(np.uint8)
PAYLOAD = bytes(4000)


def fickle(monkeypatch, name):
    """Gaussians of a model that are others each time they are asked for."""
    random, given = np.random.default_rng(0), getattr(DrawModel, name)

    def moved(p):
        return Gaussian(p.mean + random.integers(0, 99, p.mean.shape, np.int32), p.log_scale)

    def prior(self, *args):
        return moved(given(self, *args))

    def posterior(self, *args):
        q, memory = given(self, *args)
        return moved(q), memory

    monkeypatch.setattr(DrawModel, name, {"prior": prior, "posterior": posterior}[name])


@pytest.mark.parametrize("name", ["prior", "posterior"])
@pytest.mark.parametrize("check", ["last", "all"])
def test_a_model_that_gives_other_numbers_each_time_is_found(name, check, build_model, monkeypatch):
    model = build_model()
    fickle(monkeypatch, name)
    with pytest.raises(ModelError, match="other numbers the second time"):
        compress(IMAGES, model, PAYLOAD, check=check)
    assert compress(IMAGES, model, PAYLOAD, check="none")


@pytest.mark.parametrize("payload", [b"", PAYLOAD])
def test_every_check_gives_the_same_bytes(payload, build_model):
    model = build_model()
    files = {compress(IMAGES, model, payload, check=check) for check in ("none", "last", "all")}
    assert len(files) == 1
    assert np.array_equal(decompress(files.pop(), model), IMAGES)


def test_all_also_finds_what_the_last_batch_does_not_show(build_model, monkeypatch):
    model, flatten = build_model(), chain_encoder.flatten

    def altered(message: Message):
        words = flatten(message)
        words[-1] ^= 1  # at the stack's bottom
        return words

    monkeypatch.setattr(chain_encoder, "flatten", altered)
    compress(IMAGES, model, PAYLOAD)
    with pytest.raises(ModelError, match="nothing is written"):
        compress(IMAGES, model, PAYLOAD, check="all")


def test_an_unknown_check_is_refused(build_model):
    with pytest.raises(InputError, match="unknown check 'some': none, last, all"):
        compress(IMAGES, build_model(), check="some")


@pytest.mark.parametrize(
    "wrong", [{"payload": "text"}, {"seed": 0.5}, {"chunk": 1.5}, {"batch": 2.5}]
)
def test_arguments_of_a_wrong_type_are_refused(wrong, build_model):
    with pytest.raises(InputError):
        compress(IMAGES, build_model(), **wrong)


@pytest.mark.parametrize("check", ["last", "all"])
def test_a_classical_code_that_does_not_decode_is_found(check, build_model, monkeypatch):
    model, blank = build_model(), np.zeros((9, 20, 13), np.uint8)
    assert np.array_equal(decompress(compress(blank, model, check=check), model), blank)
    encode = prefix.classical.encode
    monkeypatch.setattr(prefix.classical, "encode", lambda x, *rest: encode(x ^ 1, *rest))
    with pytest.raises(BitsbackError, match="without a model does not decode"):
        compress(blank, model, check=check)
    assert compress(blank, model, check="none")


def test_a_chunk_of_files_alone_is_decoded_again(build_model, monkeypatch, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"no image")
    model = build_model()
    assert compress(tmp_path, model)
    flatten = chain_encoder.flatten
    monkeypatch.setattr(chain_encoder, "flatten", lambda message: flatten(message) ^ np.uint32(1))
    with pytest.raises(BitsbackError, match="without a model does not decode"):
        compress(tmp_path, model)
    assert compress(tmp_path, model, check="none")


@pytest.mark.parametrize("check", ["none", "last", "all"])
def test_an_array_that_changes_while_it_is_coded_comes_back_as_it_was(
    check, build_model, monkeypatch
):
    model, images = build_model(), IMAGES.copy()
    plan = encoder.plan_chunk

    def changing(*args):
        planned = plan(*args)
        images[...] ^= 1
        return planned

    monkeypatch.setattr(encoder, "plan_chunk", changing)
    data = compress(images, model, PAYLOAD, check=check)
    assert np.array_equal(decompress(data, model), IMAGES)


def test_bits_that_become_levels_are_refused(build_model):
    images = IMAGES.copy()
    read = from_array(images)
    images *= 255
    with pytest.raises(InputError, match="changed while they were read"):
        compress_set(read, build_model())
