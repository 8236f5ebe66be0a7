"""Speeds of workers are of images that came back, and scale as the table says."""

import dataclasses

import numpy as np
import pytest
from test_processes import drawings, folder, recipe  # noqa: F401

from bitsback.benchmarks import cluster
from bitsback.errors import BitsbackError, InputError
from bitsback.images.image_set import from_array


def test_only_what_came_back_is_timed(folder, monkeypatch):  # noqa: F811
    images, plan = from_array(drawings()), recipe(folder)
    speed = cluster.measure(images, plan, "processes", 2, 5, None)
    assert (speed.engine, speed.workers) == ("processes", 2)
    assert min(speed.encode, speed.decode, speed.begin) > 0
    with pytest.raises(InputError, match="too few for 3 workers"):
        cluster.measure(images, plan, "processes", 3, 5, None)
    monkeypatch.setattr(np, "array_equal", lambda *_: False)
    with pytest.raises(BitsbackError, match="did not come back"):
        cluster.measure(images, plan, "processes", 1, 5, None)


def test_the_first_chunks_are_not_in_the_speed(folder, monkeypatch):  # noqa: F811
    """With a clock that adds a second at each look, every chunk after the first takes one."""
    now = iter(range(1000)).__next__
    monkeypatch.setattr(cluster.time, "perf_counter", now)
    speed = cluster.measure(from_array(drawings()), recipe(folder), "processes", 2, 5, None)
    assert speed.encode == speed.decode == (24 - 10) * 64 / 3


def test_hours_are_of_the_fleet():
    speed = cluster.Speed("ray", 2, 2e6, 4e6, 1.0)
    assert speed.hours(3.6e9, 1) == (1.0, 0.5)
    assert speed.hours(3.6e9, 4) == (0.25, 0.125)
    assert dataclasses.replace(speed, workers=1).hours(3.6e9, 1) == (0.5, 0.25)
