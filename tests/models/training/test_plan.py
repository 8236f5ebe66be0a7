"""A configuration file gives its fields, or is refused with the field that is wrong."""

import pytest

from bitsback.errors import InputError, ModelError
from bitsback.models.draw.config import DrawConfig
from bitsback.models.training import data
from bitsback.models.training import trainer as training
from bitsback.models.training.plan import TrainConfig, read_config

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
    folder = data.Path(training.__file__).parents[1] / "configs"
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
        (CONFIG + "vary = true", ModelError, "'vary'"),
        (CONFIG + "vary = 1.1", ModelError, "'vary'"),
        (CONFIG + "muon = true\nweight_norm = true", ModelError, "'muon'"),
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
