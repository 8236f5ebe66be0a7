"""Results come in the order of their tasks, whoever dies; only a few tasks are under way."""

import dataclasses

import pytest

from bitsback.archive.workers import WorkerDiedError, in_order
from bitsback.errors import BitsbackError


@dataclasses.dataclass
class Square:
    number: int

    def run(self, loaded, progress=None):
        return self.number**2


class Mortals:
    """Three workers in turn; a death takes all that its worker has, and another takes its place."""

    name, most_tasks = "mortals", 6

    def __init__(self, deadly):
        self.deadly = list(deadly)  # numbers of tasks, once for each worker that they kill
        self.alive, self.turn, self.given = [0, 1, 2], 0, []

    def give(self, task):
        self.given.append(task.number)
        self.turn += 1
        return Promise(self, task, self.alive[self.turn % 3])


@dataclasses.dataclass
class Promise:
    workers: Mortals
    task: Square
    worker: int

    def result(self):
        if self.task.number in self.workers.deadly:
            self.workers.deadly.remove(self.task.number)
            self.workers.alive = [each + 3 * (each == self.worker) for each in self.workers.alive]
        if self.lost:
            raise WorkerDiedError
        return self.task.run(None)

    @property
    def lost(self):
        return self.worker not in self.workers.alive


@pytest.mark.parametrize("deadly", [(), (0,), (5, 19), (4, 4, 4), (0, 1, 2)])
def test_results_are_in_order_whoever_dies(deadly):
    workers = Mortals(deadly)
    assert list(in_order(workers, map(Square, range(20)))) == [n**2 for n in range(20)]
    assert set(workers.given) == set(range(20))
    assert len(workers.given) <= 20 + workers.most_tasks * len(deadly)


def test_many_deaths_are_not_by_chance():
    with pytest.raises(BitsbackError, match="4 mortals died"):
        list(in_order(Mortals([3] * 4), map(Square, range(20))))


def test_no_task_is_taken_long_before_its_turn():
    taken = []
    results = in_order(Mortals(()), (taken.append(n) or Square(n) for n in range(20)))
    for number in range(20):
        assert next(results) == number**2
        assert len(taken) <= number + Mortals.most_tasks
    assert list(results) == []


def test_nothing_is_done_for_no_tasks():
    workers = Mortals(())
    assert list(in_order(workers, [])) == []
    assert workers.given == []
