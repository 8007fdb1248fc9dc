"""One trial, as a worker runs it."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from paring import Budget, Task
from paring.recipe_io import to_yaml
from paring.search.remote import Work, run_one
from tests.runs import INTEGERS, LOW_RANK, NARROW, SHORT, run_in, tiny_task

LOADED: list[set[int]] = []


@dataclass(eq=False)
class Load:
    """Gives the task, and notes the cores it was loaded on. Like any callable that travels, no two copies are equal."""

    def __call__(self) -> Task:
        LOADED.append(os.sched_getaffinity(0))
        return tiny_task()


@pytest.fixture
def work(tmp_path: Path) -> Work:
    LOADED.clear()
    run_in(tmp_path, [LOW_RANK])
    return Work(Load(), tmp_path, SHORT, Budget())


def test_a_worker_loads_the_task_once_for_all_its_trials(work: Work) -> None:
    for recipe in (NARROW, INTEGERS):
        travelled = pickle.loads(pickle.dumps(work))
        assert run_one(travelled, to_yaml(recipe), None) == ("whole", "")
    assert len(LOADED) == 1


def test_a_trial_is_held_on_its_cores_and_let_go(work: Work) -> None:
    before = os.sched_getaffinity(0)
    assert run_one(work, to_yaml(NARROW), 1e-9) == ("timeout", "TimeoutError: the trial took longer than 1e-09 s")
    assert len(LOADED[0]) == SHORT.threads == 1
    assert os.sched_getaffinity(0) == before
