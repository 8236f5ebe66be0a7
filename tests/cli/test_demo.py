"""`make demo`: what it prints and draws, of pieces of its photographs."""

import numpy as np
import pytest

from bitsback.cli import demo
from bitsback.errors import BitsbackError


def test_the_photographs_are_real_ones_and_the_squares_theirs():
    large = demo.photographs()
    assert large.shape == (3, 256, 384, 3)
    assert len({image.tobytes() for image in large}) == 3
    small = demo.squares(large)
    assert small.shape == (3 * (4 * 6 + 8 * 12), 32, 32, 3)
    assert np.array_equal(small[-1], large[-1, -32:, -32:])


def test_it_shows_codes_compares_and_draws(tmp_path, monkeypatch, capsys):
    pieces = demo.photographs()[:, :64, :96]
    monkeypatch.setattr(demo, "photographs", lambda: pieces)
    assert demo.main(tmp_path / "demo.png") == 0
    told = capsys.readouterr().out
    for part in (
        "popped under q",
        "KL(q || p)",
        "decoded, every pixel the same",
        "JPEG XL",
        "x: ratio",
    ):
        assert part in told
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_other_pixels_are_an_error(monkeypatch):
    monkeypatch.setattr(demo.api, "decompress", lambda data, model: np.zeros((2, 32, 32, 3)))
    images = demo.squares(demo.photographs())[:2]
    model = demo.api.load_model("photo-fast")
    with pytest.raises(BitsbackError, match="other pixels came back"):
        demo.come_back(images, model, demo.Console())
