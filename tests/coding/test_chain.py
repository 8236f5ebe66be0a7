"""The batches of a chain take every tile once, in order, and no more at once than they may."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from bitsback.coding.chain import Chain
from bitsback.tiles.segments import Segment


@st.composite
def segments(draw):
    count = draw(st.integers(1, 60))
    return Segment(count, 8, 16, 3, draw(st.booleans()), draw(st.integers(0, count)))


@given(
    st.lists(segments(), min_size=1, max_size=4).map(tuple),
    st.integers(1, 9),
    st.integers(0, 12),
    st.integers(0, 3),
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
)
def test_batches_take_every_tile_once_and_grow_as_the_ramp_says(runs, batch, ramp, chunk, partial):
    chain = Chain(runs, batch, seed=5, chunk=chunk, ramp=ramp, partial=partial)
    found = list(chain)
    assert len(found) == len(chain)
    assert list(chain.steps(range(len(chain))[::-1])) == found[::-1]
    taken = [(step.segment, n) for step in found for n in range(*step.where.indices(10**9))]
    wanted = [(i, n) for i, run in enumerate(runs) for n in range(run.classical, run.count)]
    assert taken == wanted
    coded = [
        frozenset(range(groups)) for groups, batches in enumerate(partial) for _ in range(batches)
    ]
    assert [step.batch.coded for step in found[: len(coded)]] == coded[: len(found)]
    assert all(step.batch.coded is None for step in found[len(coded) :])
    assert chain.begins == min(len(coded), len(found))
    done = 0
    for number, step in enumerate(found):
        run = runs[step.segment]
        most = min(batch, 1 + done // ramp) if ramp else batch
        if number < len(coded):
            most = 1
        else:
            done += step.batch.size
        assert step.batch.size == min(most, run.count - step.where.start)
        assert step.batch.size == step.where.stop - step.where.start
        assert (step.batch.height, step.batch.width, step.batch.gray) == (8, 16, run.gray)
        assert (step.batch.seed, step.batch.index) == (5, (chunk << 32) + number)


def last_place(chain):
    return next(chain.steps(range(len(chain))[::-1]))


def test_a_forged_number_of_tiles_costs_nothing():
    chain = Chain((Segment(2**32 - 1, 1, 1, 1, False, 0),) * 50, 2**16 - 1, seed=0, ramp=2**16 - 1)
    assert last_place(chain).where.stop == 2**32 - 1
    chain = dataclasses.replace(chain, partial=(2**32 - 1, 5, 2**32 - 1))
    assert last_place(chain).where.stop == 2**32 - 1
    assert next(chain.steps(range(chain.begins)[::-1])).batch.coded == {0, 1}
