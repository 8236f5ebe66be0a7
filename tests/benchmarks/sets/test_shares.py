"""Shares of time: each stack is of one part, and the parts are all of the time."""

import signal
import time

import numpy as np
import pytest

from bitsback.benchmarks.sets import shares
from bitsback.benchmarks.sets.shares import (
    AGAIN,
    ANS,
    CLASSICAL,
    HEAD,
    NETWORK,
    PARTS,
    PROOF,
    RATES,
    READING,
    REST,
    SIDE,
    TABLES,
    measure,
    part_of,
)
from bitsback.benchmarks.sets.standard import StandardSet
from bitsback.errors import InputError

ENCODER = [("bitsback.chunks.encoder", "_encode"), ("bitsback.archive.writer", "compress_to")]
MODEL = [("bitsback.models.draw.integers", "convolve"), ("bitsback.coding.bits_back", "encode")]


@pytest.mark.parametrize(
    ("inner", "part"),
    [
        (MODEL, NETWORK),
        ([("torch.nn", "conv2d"), *MODEL], NETWORK),
        ([*MODEL, ("bitsback.chunks.cost", "chain_cost")], AGAIN),
        ([*MODEL, ("bitsback.chunks.check", "check_batch")], AGAIN),
        ([("numpy", "dot"), ("bitsback.models.exact.convolution", "proven"), *MODEL], PROOF),
        ([("bitsback.tables.pixels", "push"), *MODEL], TABLES),
        ([("bitsback.tables.pixels", "places_of"), ("bitsback.side.channel", "length")], SIDE),
        ([("bitsback.ans.message", "push"), ("bitsback.tables.pixels", "push")], ANS),
        ([("PIL.Image", "save"), ("bitsback.images.classical", "_encode")], CLASSICAL),
        (
            [("bitsback.format.xz", "compress"), ("bitsback.chunks.prefix", "encode_prefix")],
            CLASSICAL,
        ),
        ([("zlib", "x"), ("bitsback.chunks.encoder", "encode_classically")], CLASSICAL),
        ([("bitsback.images.image_file", "read")], READING),
        ([("bitsback.keeping.deflate", "find"), ("bitsback.sources.folders", "read")], READING),
        ([("bitsback.tables.latent_grid", "kl"), ("bitsback.coding.reports.costs", "x")], RATES),
        ([("bitsback.coding.bits_back", "walk")], REST),
        ([("bitsback.format.chunk", "pixel_checksum")], REST),
        ([], REST),
    ],
)
def test_a_stack_is_of_the_part_that_it_works_for(inner, part):
    assert part_of(inner + ENCODER) == part


def test_a_stack_without_bitsback_is_all_else():
    assert part_of([("threading", "wait"), ("__main__", "main")]) == REST


def test_all_time_is_booked_and_the_timer_is_put_back():
    before = signal.getsignal(signal.SIGALRM)

    def work():
        began = time.process_time()
        while time.process_time() - began < 0.2:
            pass
        return "done"

    found, seconds = measure(work)
    assert found == "done"
    assert set(seconds) == set(PARTS)
    assert 0.15 < seconds[REST] == sum(seconds.values())
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_system_without_timers_is_refused(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(InputError, match="POSIX"):
        measure(lambda: None)


def test_a_set_is_a_row_of_the_table(tmp_path, build_model):
    drawings = (np.random.default_rng(0).random((500, 8, 8)) < 0.2).astype(np.uint8)
    np.savez(tmp_path / "some.npz", test=drawings)
    found = shares.shares(
        StandardSet("Some", "some.npz", (), ("test",)), tmp_path, build_model(), 400
    )
    assert (found.title, found.images, found.model) == ("Some test", 400, "model")
    assert found.seconds[NETWORK] > 0
    assert found.row.count("|") == HEAD.count("|")
    assert sum(
        float(cell.rstrip("% |")) for cell in found.row.split("|")[-1 - len(PARTS) : -1]
    ) == pytest.approx(100, abs=0.5)
