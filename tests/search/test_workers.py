"""Ray workers: the trials of the serial search, and a worker that dies loses its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from paring import Budget
from paring.engines import usable_cores
from paring.errors import SettingError
from paring.search import workers
from paring.search.remote import Work
from tests.runs import SHORT, tiny_task

pytest.importorskip("ray", reason="Ray is not installed")

DRIVER = """
import json, os, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
import paring.search.search
from paring import Budget, open_run
from paring.core.stream import drain
from paring.search.remote import Work
from paring.search.search import Effort, search
from paring.search.space import space_for
from paring.search.workers import RayPool
from tests.runs import SHORT, tiny_task

def load(marker):
    if marker:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            os._exit(1)
        except FileExistsError:
            pass
    return tiny_task()

paring.search.search.space_for = lambda *a, **k: replace(space_for(*a, **k), families=("store", "channels", "rank"))
task, out, budget = tiny_task(), Path(sys.argv[1]), Budget(max_metric_drop=1.0)
folder = open_run(out, task, SHORT.conditions())
work = Work(partial(load, sys.argv[3]), out, SHORT, budget)
pool = partial(RayPool, "local", work, 2) if sys.argv[2] == "ray" else None
effort = Effort(trials=4, max_epochs=0, trial_time_s=json.loads(sys.argv[4]))
ended = drain(search(task, folder, SHORT, budget, effort, pool=pool))
front = {one.name: [one.quality.metric, one.file_bytes] for one in ended.run.candidates}
trials = sorted([one.hash, one.outcome] for one in ended.trials)
print(json.dumps({"trials": trials, "files": front, "chosen": ended.run.chosen}))
"""


def run(path: Path, how: str, marker: str = "", trial_time_s: float | None = None) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(path / "out"), how, marker, json.dumps(trial_time_s)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_two_workers_run_the_trials_of_the_serial_search(tmp_path: Path) -> None:
    serial, parallel = run(tmp_path / "serial", "serial"), run(tmp_path / "ray", "ray")
    assert serial["trials"] == parallel["trials"]
    files = serial["files"], parallel["files"]
    assert all(isinstance(one, dict) for one in files)
    shared = files[0].keys() & files[1].keys()  # type: ignore[attr-defined]
    assert shared and all(files[0][name] == files[1][name] for name in shared)  # type: ignore[index]


def test_a_worker_that_dies_loses_its_own_trial_alone(tmp_path: Path) -> None:
    found = run(tmp_path, "ray", str(tmp_path / "died"))
    outcomes = [outcome for _, outcome in found["trials"]]  # type: ignore[attr-defined]
    assert outcomes.count("crash") == 1 and len(outcomes) == 4
    assert found["chosen"]


def test_a_trial_that_is_late_on_a_worker_is_a_timeout(tmp_path: Path) -> None:
    serial = run(tmp_path / "serial", "serial", trial_time_s=1e-6)
    assert run(tmp_path / "ray", "ray", trial_time_s=1e-6)["trials"] == serial["trials"]
    assert [outcome for _, outcome in serial["trials"]] == ["timeout"] * 4  # type: ignore[attr-defined]


THREADS = """
import json, os, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from paring import Budget, Recipe
from paring.search.remote import Work
from paring.search.workers import RayPool
from tests.runs import SHORT

def load(seen):
    import ray
    asked = ray.get_runtime_context().get_assigned_resources()["CPU"]
    seen.write_text(json.dumps([asked, len(os.sched_getaffinity(0))]))
    raise RuntimeError("seen")

seen = Path(sys.argv[1])
pool = RayPool("local", Work(partial(load, seen), seen.parent, replace(SHORT, threads=2), Budget()), 1)
handle = pool.submit(Recipe(), None)
while not pool.wait([handle]):
    pass
pool.cancel([])
"""


def test_a_trial_of_two_threads_has_two_cpus_and_two_cores(tmp_path: Path) -> None:
    command = [sys.executable, "-c", THREADS, str(tmp_path / "seen")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "seen").read_text()) == [2, min(2, len(usable_cores()))]


def test_threads_that_no_node_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 64.0}}]
    monkeypatch.setattr(workers, "join", lambda *_: SimpleNamespace(nodes=lambda: nodes))
    with pytest.raises(SettingError, match=r"--threads 4: .* the largest node has 2"):
        workers.RayPool("auto", Work(tiny_task, tmp_path, replace(SHORT, threads=4), Budget()))
