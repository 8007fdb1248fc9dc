"""Candidates that the clock could not tell apart are timed in turns, and the round decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import paring.last_round
from paring import Budget, Recipe, compress
from paring.choice import rivals
from paring.core.measurement import Measurement
from paring.core.stream import drain
from paring.errors import BudgetError
from paring.judge.record import Judged
from paring.last_round import AGAIN, KEPT, MOST, Answer, answer
from paring.measure.samples import Samples
from paring.report.last_round import last_round_markdown
from paring.report.page import page
from tests.runs import INTEGERS, NARROW, SHORT, run_in, tiny_task
from tests.test_choice import measured

TASK = tiny_task()
CANDIDATE = compress(TASK, Recipe())


class Clock:
    """Stands where files are timed: call time by place, and how often it was asked."""

    def __init__(self, patch: pytest.MonkeyPatch, *ms: float) -> None:
        self.ms, self.rounds = ms, 0
        patch.setattr(paring.last_round, "interleave_anew", self.timed)

    def timed(self, openers: Mapping[str, Any], **_settings: Any) -> Samples:
        self.rounds += 1
        per_call = {name: self.ms[0 if name == AGAIN else int(name)] for name in openers}
        rng = np.random.default_rng(0)
        wall = {
            name: (1e6 * ms * rng.normal(1, 0.002, (12, 5))).astype(np.int64) for name, ms in sorted(per_call.items())
        }
        return Samples(wall, {name: runs.mean(1).astype(float) for name, runs in wall.items()}, 1, {"lives": 4})


def among(folder: Path, *field: Measurement) -> Answer:
    def judged(one: Measurement) -> Judged:
        return Judged(CANDIDATE, folder / "candidates" / one.name, one)

    return drain(answer(lambda: rivals(field, Budget(max_file_bytes=10_000)), judged, TASK, SHORT, folder))


def name_of(found: Answer) -> str:
    assert found.chosen is not None
    return found.chosen.measurement.name


CLOSE = (measured("small", 2.0, 500, width=0.5), measured("large", 2.2, 900, width=0.5))


def test_the_faster_in_turns_wins_though_its_file_is_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 1.0, 1.2)
    found = among(tmp_path, *CLOSE)
    assert name_of(found) == "large"
    assert [(one.name, one.slower) for one in found.standings] == [("large", False), ("small", True)]
    assert found.standings[1].ratio.ratio == pytest.approx(1 / 1.2, rel=0.01)


def test_one_that_was_first_by_chance_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 1.2, 1.0)
    found = among(tmp_path, *CLOSE)
    assert name_of(found) == "small" and [one.slower for one in found.standings] == [True, False]


def test_of_equals_the_smallest_file_then_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 1.0, 1.0, 1.0)
    twins = [replace(CLOSE[0], name=name) for name in ("b", "a")]
    assert name_of(among(tmp_path, CLOSE[1], *twins)) == "a"


def test_what_is_faster_beyond_doubt_is_not_timed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    found = among(tmp_path, measured("fast", 3.0), measured("slow", 2.0))
    assert name_of(found) == "fast" and not found.standings and not clock.rounds


def test_none_inside_the_budget_is_an_answer(tmp_path: Path) -> None:
    found = among(tmp_path, measured("huge", 3.0, 20_000))
    assert found.chosen is None and isinstance(found.miss, BudgetError)


def test_a_round_is_kept_for_the_same_timings_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 1.0, 1.2)
    first = among(tmp_path, *CLOSE)
    assert among(tmp_path, *CLOSE).standings == first.standings and clock.rounds == 1
    among(tmp_path, CLOSE[0], replace(CLOSE[1], latency_ms={"p50": 0.9, "p90": 1.0, "p99": 1.0}))
    assert clock.rounds == 2
    (tmp_path / KEPT).write_text("{")
    among(tmp_path, *CLOSE)
    assert clock.rounds == 3


def test_of_very_many_the_fastest_and_the_smallest_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, *[1.0] * MOST)
    field = [measured(f"{place:02}", 3 - place / 100, 1000 + place, width=0.5) for place in range(20)]
    found = among(tmp_path, *field[:-1], replace(field[-1], file_bytes=10))
    assert [one.name for one in found.standings] == [f"{place:02}" for place in range(MOST - 1)] + ["19"]
    assert name_of(found) == "19"


def test_a_run_ships_and_shows_what_the_round_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paring.run, "rivals", lambda field, _budget: sorted(field, key=lambda one: one.file_bytes))
    Clock(monkeypatch, 1.2, 1.0)
    run = run_in(tmp_path / "out", (NARROW, INTEGERS))
    smaller, larger = sorted(run.candidates, key=lambda one: one.file_bytes)
    assert [one.name for one in run.last_round] == [smaller.name, larger.name] and run.chosen == larger.name
    assert f"| {smaller.name} | 1.20 | 0.83 (" in last_round_markdown(run)
    assert "The last round" in page(run) and last_round_markdown(run) in (tmp_path / "out/report.md").read_text()
    assert "The last round" not in page(replace(run, last_round=()))
    assert not last_round_markdown(replace(run, last_round=()))
