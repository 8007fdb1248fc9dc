"""One trial in a process of its own, on cores of its own: what a worker does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from paring.core.budget import Budget
from paring.core.stream import drain
from paring.core.task import Task
from paring.engines import usable_cores
from paring.judge.bench import Bench
from paring.judge.record import Judged, load_measurement
from paring.measure.steady import pinned
from paring.recipe_io import parse_recipe, recipe_hash
from paring.run import BASELINE
from paring.search.attempt import Attempt, check_trial_time
from paring.search.locks import alone_on_this_machine, cores_of_own
from paring.search.prefixes import Prefixes
from paring.store import RunFolder, load_candidate


@dataclass(frozen=True)
class Work:
    """What every trial of a search shares. `load` gives the task; it is called once a worker.

    Works of one folder are equal though `load` is another copy each time it travels to a worker.
    """

    load: Callable[[], Task] = field(compare=False)
    folder: Path
    bench: Bench
    budget: Budget


def run_one(work: Work, recipe_yaml: str, trial_time_s: float | None) -> tuple[str, str]:
    """(outcome, message) of one recipe; a whole candidate lies in the run folder then.

    Every thread of the process is pinned to as many cores as the bench has threads, and no other trial of this user
    runs on them meanwhile; on a machine with fewer cores, to all of them. A trial waits until they are free. One that
    then runs for longer than `trial_time_s` ends between two steps as a timeout, as in the serial search.
    """
    with cores_of_own(work.bench.threads) as cores, pinned(cores):
        attempt = _attempt(work)
        started = time.monotonic()
        timed = replace(attempt, check=lambda: check_trial_time(time.monotonic() - started, trial_time_s))
        tried = drain(timed.tried(parse_recipe(recipe_yaml)))
    return tried.outcome, tried.message


def num_workers(threads: int) -> int:
    """As many as this machine has usable cores for, each with `threads` of them; at least one."""
    return max(1, len(usable_cores()) // threads)


@cache
def _attempt(work: Work) -> Attempt:
    folder, task = RunFolder(work.folder), work.load()
    path = folder.candidate(recipe_hash(BASELINE))
    baseline = Judged(load_candidate(path), path, load_measurement(path))
    prefixes = Prefixes(work.folder / "prefixes")
    return Attempt(task, folder, work.bench, work.budget, baseline, prefixes, timing=alone_on_this_machine)
