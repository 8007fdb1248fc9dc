"""Trials as Ray tasks, on this machine or a cluster that shares the run folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paring.core.cluster import join
from paring.core.recipe import Recipe
from paring.errors import SettingError
from paring.judge.record import Judged
from paring.recipe_io import recipe_hash, to_yaml
from paring.search.attempt import Tried
from paring.search.remote import Work, num_workers, run_one


class RayPool:
    """A Ray cluster at `address` ("local" starts one here), `size` trials at once, each on cores of its own.

    A trial asks Ray for as many CPUs as the bench has threads; which cores these are, the worker sees to (`run_one`).
    A worker that dies loses its own trial; nothing is retried.
    Raises: MissingError without Ray; SettingError if no node has as many CPUs as a trial asks for.
    """

    def __init__(self, address: str, work: Work, size: int | None = None) -> None:
        self._work = work
        threads = work.bench.threads
        self.size = size or num_workers(threads)
        self._ray = join(address, self.size * threads)
        most = max(node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"])
        if most < threads:
            raise SettingError(f"--threads {threads}: a trial needs so many CPUs, and the largest node has {most:g}.")
        self._run = self._ray.remote(num_cpus=threads, max_retries=0)(run_one)

    def submit(self, recipe: Recipe, trial_time_s: float | None) -> object:
        """Starts a trial; its time runs from when a worker begins it."""
        handle: object = self._run.remote(self._work, to_yaml(recipe), trial_time_s)
        return handle

    def wait(self, handles: list[Any]) -> list[object]:
        """Those that have ended; none after a second."""
        ended, _ = self._ray.wait(handles, num_returns=1, timeout=1.0)
        return list(ended)

    def result(self, handle: Any, load: Callable[[str], Judged], recipe: Recipe) -> Tried:
        """What came of it; a worker that died is a crash, or out of memory where Ray says so."""
        try:
            outcome, message = self._ray.get(handle)
        except self._ray.exceptions.OutOfMemoryError as error:
            return Tried("out of memory", " ".join(str(error).split())[:1000])
        except self._ray.exceptions.RayError as error:
            return Tried("crash", f"the worker died: {' '.join(str(error).split())}"[:1000])
        return Tried(outcome, message, load(recipe_hash(recipe)) if outcome == "whole" else None)

    def cancel(self, handles: list[Any]) -> None:
        """Ends them, and the workers."""
        for handle in handles:
            self._ray.cancel(handle, force=True)
        self._ray.shutdown()
