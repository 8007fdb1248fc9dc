"""The search on a tiny task: best so far at any moment, nothing lost to a kill, failures recorded, prefixes shared."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import paring.candidates
import paring.search.search
from paring import Artifact, Budget, Recipe, compress, open_run
from paring.candidates import compress_steps
from paring.core.edit import Progress
from paring.core.measurement import Ratio, Standing
from paring.core.stream import drain
from paring.errors import NothingToDoError, SettingError
from paring.finetune import Finetune
from paring.last_round import Answer
from paring.prune.channels import Channels
from paring.quantize.cast import Cast
from paring.quantize.static import Static
from paring.search.draws import Recorded, Scripted
from paring.search.prefixes import Prefixes
from paring.search.sampler import Sampler
from paring.search.search import Effort, Found, Searched, search
from paring.search.space import space_for
from paring.search.trials import Log, Trial
from tests.runs import SHORT, tiny_task

LOOSE = Budget(max_metric_drop=1.0)
NO_ALLOCATE = ("store", "channels", "rank")


@pytest.fixture(autouse=True)
def narrow_space(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without the solver, whose tables take a clock; it has its own tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    whole = space_for

    def narrow(*args: Any, **kwargs: Any) -> Any:
        return replace(whole(*args, **kwargs), families=NO_ALLOCATE)

    monkeypatch.setattr(paring.search.search, "space_for", narrow)


def run_search(path: Path, effort: Effort, budget: Budget = LOOSE, **changes: Any) -> Iterator[Any]:
    task = tiny_task(**changes)
    return search(task, open_run(path, task, SHORT.conditions()), SHORT, budget, effort)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Found], Searched]:
    path = tmp_path_factory.mktemp("search") / "out"
    with pytest.MonkeyPatch.context() as patch:
        whole = space_for
        patch.setattr(paring.search.search, "space_for", lambda *a, **k: replace(whole(*a, **k), families=NO_ALLOCATE))
        steps, found = run_search(path, Effort(trials=7, max_epochs=1)), []
        while True:
            try:
                told = next(steps)
            except StopIteration as end:
                return path, found, end.value
            if isinstance(told, Found):
                found.append(told)


def test_it_tries_what_it_was_given_and_chooses_the_best(finished: tuple[Path, list[Found], Searched]) -> None:
    _path, found, ended = finished
    assert ended.ended == "trials" and len(found) == len(ended.trials) == 7
    inside = [one for one in ended.run.candidates if one.within_budget]
    chosen = next(one for one in inside if one.name == ended.run.chosen)
    assert chosen.speedup.high >= max(one.speedup.low for one in inside)
    assert chosen.headline is not None and chosen.headline.split == "test"
    assert {one.name for one in ended.run.candidates} >= set(ended.front)


def test_the_last_round_may_choose_one_beside_the_front(
    finished: tuple[Path, list[Found], Searched], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, ended = finished
    shutil.copytree(path, tmp_path / "out")
    beside = next(one for one in ended.trials if one.outcome == "whole" and one.name not in ended.front)

    def round_of(rivals: Any, judged: Any, *_rest: Any) -> Iterator[Any]:
        yield Progress(0, 1, "")
        chosen = judged(next(one for one in rivals() if one.name == beside.name))
        return Answer(chosen, (Standing(beside.name, 10, 1.0, Ratio(1.0, 0.9, 1.1), False),))

    everything = lambda measured, *_rest: list(measured)  # noqa: E731
    monkeypatch.setattr(paring.search.search, "contenders", everything)
    monkeypatch.setattr(paring.search.search, "answer", round_of)
    again = drain(run_search(tmp_path / "out", Effort(trials=7, max_epochs=1)))
    assert again.run.chosen == beside.name and again.run.candidates[-1].name == beside.name
    assert Artifact(tmp_path / "out" / "artifact").manifest["measurement"]["name"] == beside.name
    assert "## The last round" in (tmp_path / "out" / "search.md").read_text()


def test_the_folder_holds_artifact_report_and_page(finished: tuple[Path, list[Found], Searched]) -> None:
    path, _, ended = finished
    Artifact(path / "artifact").verify()
    assert json.loads((path / "results.json").read_text())["chosen"] == ended.run.chosen
    page = (path / "search.md").read_text()
    assert all(trial.name in page for trial in ended.trials) and "ended by: trials" in page


def test_a_second_run_repeats_no_trial(
    finished: tuple[Path, list[Found], Searched], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, ended = finished
    monkeypatch.setattr(paring.search.search.Attempt, "run", lambda *args: pytest.fail("repeated"))
    again = drain(run_search(path, Effort(trials=7, max_epochs=1)))
    assert [one.hash for one in again.trials] == [one.hash for one in ended.trials]
    assert again.run.chosen == ended.run.chosen


def test_the_best_is_in_the_folder_at_any_moment(tmp_path: Path) -> None:
    steps = run_search(tmp_path / "out", Effort(trials=3, max_epochs=0))
    for told in steps:
        if isinstance(told, Found) and told.best is not None:
            Artifact(tmp_path / "out" / "artifact").verify()
            break
    else:
        pytest.fail("no best")
    steps.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "out" / "report.html").exists()


def test_time_ends_it_with_the_best_so_far(tmp_path: Path) -> None:
    ticks = iter(range(10**9))
    ended = drain(run_search(tmp_path / "out", Effort(time_s=60, max_epochs=0, clock=lambda: float(next(ticks)))))
    assert ended.ended == "time"
    assert (tmp_path / "out" / "report.html").is_file()


def test_being_asked_to_stop_ends_it_with_the_best_so_far(tmp_path: Path) -> None:
    asked = False
    steps = run_search(tmp_path / "out", Effort(trials=50, max_epochs=0, stop=lambda: asked))
    while True:
        try:
            told = next(steps)
        except StopIteration as end:
            ended: Searched = end.value
            break
        asked = asked or isinstance(told, Found)
    assert ended.ended == "stopped" and len(ended.trials) == 1 and ended.run.chosen


def test_a_miss_is_returned_with_what_each_limit_costs(tmp_path: Path) -> None:
    ended = drain(run_search(tmp_path / "out", Effort(trials=2, max_epochs=0), Budget(max_file_bytes=1)))
    assert ended.run.chosen is None and ended.miss is not None
    assert "Only the limit on file size keeps out" in str(ended.miss)


def test_a_recipe_under_the_name_of_another_gets_one_of_its_own(tmp_path: Path) -> None:
    task, wide = tiny_task(), Recipe((Channels(pruning_ratio=0.25),), "mine")
    narrow = Recipe((Channels(pruning_ratio=0.5),), "mine")
    folder = open_run(tmp_path / "out", task, SHORT.conditions())
    drain(search(task, folder, SHORT, LOOSE, Effort(trials=1), [wide]))
    ended = drain(search(task, folder, SHORT, LOOSE, Effort(trials=2), [narrow]))
    first, second = ended.trials
    assert first.name == "mine" and second.name.startswith("mine ") and first.hash != second.hash
    assert Artifact(tmp_path / "out" / "artifact").manifest["measurement"]["name"] == ended.run.chosen
    front = {one.name: one.file_bytes for one in ended.run.candidates}
    for trial in ended.trials:
        assert front.get(trial.name, trial.measured["bytes"]) == trial.measured["bytes"]


def test_failures_are_recorded_and_the_search_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Static, model: Any, task: Any) -> Iterator[Any]:
        raise MemoryError("std::bad_alloc")
        yield

    def nothing(self: Cast, model: Any, task: Any) -> Iterator[Any]:
        raise NothingToDoError("quantize.cast: it finds no layer")
        yield

    monkeypatch.setattr(Static, "run", broken)
    monkeypatch.setattr(Cast, "run", nothing)
    ended = drain(run_search(tmp_path / "out", Effort(trials=6, max_epochs=0)))
    assert {"out of memory", "nothing to do"} <= {one.outcome for one in ended.trials}
    assert "whole" in {one.outcome for one in ended.trials}
    assert all(one.message for one in ended.trials if one.outcome != "whole")


def test_the_hopeless_are_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ruined(self: Cast, model: Any, task: Any) -> Iterator[Any]:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.neg_()
        yield from whole(self, model, task)

    whole = Cast.run
    monkeypatch.setattr(Cast, "run", ruined)
    ended = drain(run_search(tmp_path / "out", Effort(trials=2, max_epochs=0), Budget(max_metric_drop=0.01)))
    hopeless = [one for one in ended.trials if one.outcome == "hopeless"]
    assert hopeless and "before export" in hopeless[0].message
    assert not (tmp_path / "out" / "candidates" / hopeless[0].hash).exists()


def test_a_recipe_that_begins_alike_goes_on_from_there(tmp_path: Path) -> None:
    task = tiny_task()
    begin = (Channels(pruning_ratio=0.5), Finetune(epochs=1))
    start = compress(task, Recipe(begin))
    whole = compress(task, Recipe((*begin, Static())))
    resumed = drain(compress_steps(task, Recipe((*begin, Static())), start))
    assert resumed.edits == whole.edits and resumed.history == whole.history
    assert all(torch.equal(resumed.state[name], whole.state[name]) for name in whole.state)
    prefixes = Prefixes(tmp_path / "prefixes", most=2)
    prefixes.keep(start)
    kept = prefixes.longest(Recipe((*begin, Cast())))
    assert kept is not None and kept.recipe.passes == begin
    assert prefixes.longest(Recipe(begin)) is None
    for ratio in (0.25, 0.75):
        prefixes.keep(compress(task, Recipe((Channels(pruning_ratio=ratio),))))
    assert len(list((tmp_path / "prefixes").iterdir())) == 2


def test_draws_survive_the_disk_and_teach_the_sampler(tmp_path: Path) -> None:
    space = space_for(tiny_task(), paring.core.target.Target())
    recorded = Recorded(Scripted({"family": "channels", "ratio": 0.75, "epochs": 2}))
    recipe = space.recipe(recorded)
    assert recipe.passes[0] == Channels(0.75, importance="obs", round_to=8, on_unsupported="skip")
    log = Log(tmp_path)
    log.add(Trial(1, str(recipe), "abc", "", "whole", 1.0, drawn=recorded.drawn))
    [back] = Log(tmp_path).trials
    assert {name: drawn for name, (drawn, _) in back.drawn.items()}["ratio"] == 0.75
    first, second = Sampler(0), Sampler(0)
    for sampler in (first, second):
        sampler.past(back.drawn, 1.0)
    assert space.recipe(first.ask()) == space.recipe(second.ask())


def test_an_end_is_needed() -> None:
    with pytest.raises(SettingError, match="needs an end"):
        Effort()


KILLED = """
import sys
from dataclasses import replace
import paring.search.search
from paring import Budget, open_run
from paring.core.stream import drain
from paring.search.search import Effort, search
from paring.search.space import space_for
from tests.runs import SHORT, tiny_task
paring.search.search.space_for = lambda *a, **k: replace(space_for(*a, **k), families=("store", "channels", "rank"))
task = tiny_task()
folder = open_run(sys.argv[1], task, SHORT.conditions())
print("begun", flush=True)
for told in search(task, folder, SHORT, Budget(max_metric_drop=1.0), Effort(trials=6, max_epochs=0)):
    if type(told).__name__ == "Found":
        print(told.trial.number, flush=True)
print("done", flush=True)
"""


def test_kill_9_in_a_loop_loses_one_trial_at_most(tmp_path: Path) -> None:
    out, lost = tmp_path / "out", []
    for _ in range(12):
        before = len(list(out.glob("trials/*.json")))
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(out)], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line.strip())
            if lines[-1].isdigit():  # in the middle of the next trial
                time.sleep(0.05)
                os.kill(child.pid, signal.SIGKILL)
                break
        child.wait()
        child.stdout.close()
        after = len(list(out.glob("trials/*.json")))
        whole = {one.name for one in (out / "candidates").iterdir() if not one.name.startswith(".")}
        assert {one.hash for one in Log(out).trials if one.outcome == "whole"} <= whole
        lost.append(after - before)
        if "done" in lines:
            break
    assert "done" in lines
    assert all(gained >= 1 for gained in lost[:-1])
    numbers = [one.number for one in Log(out).trials]
    assert numbers == list(range(1, 7)) and len({one.hash for one in Log(out).trials}) == 6
    Artifact(out / "artifact").verify()
