"""The demo, made small: every family runs, and the folder holds what it promises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from paring import Artifact, Budget
from paring.core.stream import drain
from paring.errors import UnknownNameError
from paring.finetune import Finetune
from paring.studies import demo
from paring.studies.demo import SETUPS, recipes, untrained_task
from paring.studies.teachers import trained
from paring.train import Training
from tests.runs import SHORT

QUICK = replace(
    SETUPS["digits"],
    channels=(4, 8),
    hidden=16,
    training=Training(epochs=1),
    recovery=Finetune(epochs=1),
    budget=Budget(max_metric_drop=1.0),
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(SETUPS, "digits", QUICK)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_there_is_a_recipe_per_family_and_one_of_all() -> None:
    used = [{step.name.split(".")[0] for step in recipe.passes} for recipe in recipes(SETUPS["digits"])]
    assert set.union(*used) == {"prune", "factorize", "quantize", "finetune"}
    assert used[-1] == {"prune", "finetune", "quantize"}


@pytest.mark.usefixtures("quick")
def test_a_quick_demo_leaves_artifact_results_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "recipes", lambda setup: recipes(setup)[-1:])
    run = drain(demo.demo("digits", None, tmp_path / "out", SHORT, "paring demo"))
    names = ["composite"]
    assert [measured.name for measured in run.candidates] == names
    assert run.chosen in names
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["name"] for row in written["rows"]] == ["baseline", *names]
    assert written["command"] == "paring demo"
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")
    Artifact(tmp_path / "out" / "artifact").verify()


@pytest.mark.usefixtures("quick")
def test_a_teacher_is_trained_once_and_comes_back_to_the_digit() -> None:
    first, again = (drain(trained(untrained_task("digits"), QUICK.training)) for _ in range(2))
    fresh = drain(trained(untrained_task("digits"), QUICK.training, cache=False))
    other = drain(trained(untrained_task("digits", seed=1), QUICK.training, cache=False))
    states = [{n: t.tolist() for n, t in task.model.state_dict().items()} for task in (first, again, fresh, other)]
    assert states[0] == states[1] == states[2] != states[3]


def test_an_unknown_data_set_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="--dataset: unknown dataset 'digit'; did you mean 'digits'"):
        drain(demo.demo("digit", None, tmp_path / "out", SHORT, ""))
    assert not (tmp_path / "out").exists()
