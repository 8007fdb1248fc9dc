"""One trial in a process of its own, on a core of its own: what a worker does."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from paring.core.budget import Budget
from paring.core.stream import drain
from paring.core.task import Task
from paring.engines import usable_cores
from paring.judge.bench import Bench
from paring.judge.record import Judged, load_measurement
from paring.recipe_io import parse_recipe, recipe_hash
from paring.run import BASELINE
from paring.search.attempt import Attempt, check_trial_time
from paring.search.prefixes import Prefixes
from paring.store import RunFolder, load_candidate


@dataclass(frozen=True)
class Work:
    """What every trial of a search shares. `load` gives the task; it is called once a worker."""

    load: Callable[[], Task]
    folder: Path
    bench: Bench
    budget: Budget


def run_one(work: Work, recipe_yaml: str, place: int, trial_time_s: float | None) -> tuple[str, str]:
    """(outcome, message) of one recipe; a whole candidate lies in the run folder then. Pinned to core `place`.

    A trial that runs for longer than `trial_time_s` ends between two steps as a timeout, as in the serial search.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[place % len(cores)]})
    try:
        attempt = _attempt(work)
        started = time.monotonic()
        timed = replace(attempt, check=lambda: check_trial_time(time.monotonic() - started, trial_time_s))
        tried = drain(timed.tried(parse_recipe(recipe_yaml)))
    finally:
        os.sched_setaffinity(0, set(cores))
    return tried.outcome, tried.message


@contextmanager
def alone_on_this_machine() -> Iterator[None]:
    """Held by one process of this user at a time: whoever reads the clock."""
    path = Path(tempfile.gettempdir()) / f"paring-timing-{os.getuid()}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)


def num_workers() -> int:
    """A worker a usable core."""
    return len(usable_cores())


@cache
def _attempt(work: Work) -> Attempt:
    folder, task = RunFolder(work.folder), work.load()
    path = folder.candidate(recipe_hash(BASELINE))
    baseline = Judged(load_candidate(path), path, load_measurement(path))
    prefixes = Prefixes(work.folder / "prefixes")
    return Attempt(task, folder, work.bench, work.budget, baseline, prefixes, timing=alone_on_this_machine)
