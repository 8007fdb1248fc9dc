"""The conversion study on the made-up log, made small; its figures against what they should be."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from paring.core.stream import drain
from paring.core.task import outputs_and_targets
from paring.data.made_log import NOTHING, made_log, made_log_rate
from paring.errors import SettingError, UnknownNameError
from paring.studies import conversion, logs
from paring.studies.conversion import conversion_study, recipes
from paring.studies.folds import Answers
from paring.studies.logs import STAND_IN, calibrated, csv_log, log_fold
from paring.studies.nets import LeanConversionNet, WideDeepNet
from paring.studies.rates import rate_figures
from paring.studies.returns import COST, Replay, policy_of, returns_sheet, verdict
from paring.studies.study import run_study
from tests.runs import SHORT

TINY = replace(STAND_IN, load=lambda data: made_log(500), epochs=1, teacher_epochs=1)
NO_DATA = {"PARING_DATA": "/nowhere", "XDG_CACHE_HOME": "/nowhere"}


@pytest.fixture(scope="module", name="out")
def _out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conversion")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(conversion, "STAND_IN", TINY)
        patch.setattr(conversion, "_logs", lambda *_, **__: (TINY,))
        patch.setattr(conversion, "WideDeepNet", lambda *shape: WideDeepNet(*shape, widths=(16, 8), embedding_dim=4))
        patch.setattr(conversion, "SERVER_MS", {True: 100})
        wanted = ("student alone", "student distilled", "student distilled, int8")
        chosen = tuple(one for one in recipes(1, quick=True) if str(one) in wanted)
        patch.setattr(conversion, "recipes", lambda epochs, quick: chosen)
        drain(run_study(conversion_study(quick=True, seeds=2), folder / "out", SHORT, "paring study conversion"))
    return folder / "out"


def test_every_row_has_its_rates_and_the_sheets_their_files(out: Path) -> None:
    told = json.loads((out / "results.json").read_text())
    assert [row["name"] for row in told["rows"]] == [
        "teacher", "student alone", "student distilled", "student distilled, int8",
    ]  # fmt: skip
    for row in told["rows"]:
        assert all(
            low <= figure <= high for figure, low, high in (row["rates"]["log_loss"], row["rates"]["calibration"])
        )
    assert told["rows"][0]["rates"]["kept"] is None and told["rows"][3]["rates"]["int8"] is not None
    assert {claim["met"] for claim in told["claims"]} <= {True, False}
    policies = list(csv.DictReader((out / "roi_results" / "made-up returns.csv").read_text().splitlines()))
    assert [row["name"] for row in policies][:3] == ["nobody", "everybody: first offer", "everybody: second offer"]
    assert policies[0]["sent"] == "0.0" and policies[0]["roi"] == ""
    assert {row["verdict"] for row in policies if row["difference"]} <= {"better", "worse", "indistinguishable"}
    load = list(csv.DictReader((out / "latency_results" / "made-up server load.csv").read_text().splitlines()))
    assert not load or load[0]["name"] == "teacher, PyTorch"


def test_the_report_shows_sheets_and_figures(out: Path) -> None:
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    for words in ("made-up: return on investment", "made-up: loss, calibration, ranking", "indistinguishable"):
        assert words in page and words in text
    for figure in (
        "latency_results/made-up-latency.png",
        "roi_results/made-up-roi.png",
        "other_figures/made-up-log-loss.png",
    ):
        assert (out / figure).read_bytes().startswith(b"\x89PNG") and f'src="{figure}"' in page


def test_the_rows_of_two_folds_are_tested_once_each(out: Path) -> None:
    folds = [np.load(out / "made-up" / "folds" / f"{seed}.npz") for seed in range(2)]
    rows = np.concatenate([fold["rows"] for fold in folds])
    assert len(rows) == len(set(rows.tolist())) == 200
    assert all(fold["arms teacher"].shape == (100, 3) for fold in folds)
    table = made_log(500)
    got = table.categories[folds[0]["rows"], 2].numpy()
    assert folds[0]["arms teacher"][np.arange(100), got] == pytest.approx(folds[0]["outputs teacher"], abs=1e-6)


def test_rates_of_a_perfect_a_constant_and_a_shifted_model() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(-1.5, 0.7, 4_000)
    target = rng.poisson(np.exp(truth)).astype(float)
    constant = np.full(4_000, np.log(target.mean()))
    found = rate_figures(target, constant, {"t": truth, "c": constant, "s": truth + 0.02}, {"s": "t"})
    assert found["t"]["change"] is None and found["t"]["calibration"][0] == pytest.approx(1, abs=0.05)
    assert found["c"]["kept"][0] == pytest.approx(0, abs=1e-9)
    assert found["c"]["auc"][0] == pytest.approx(0.5)
    assert found["s"]["calibration"][0] == pytest.approx(found["t"]["calibration"][0] * np.exp(0.02))
    assert found["s"]["int8"] == found["s"]["change"] and found["s"]["auc"] == found["t"]["auc"]


def test_the_replay_finds_what_the_made_up_offers_earn() -> None:
    """Against the truth of the experiment: everybody's expected spend under each policy, without lots."""
    table = made_log(40_000, seed=3)
    arms = table.categories[:, 2].numpy()

    def rate(arm: int) -> np.ndarray:
        columns = table.categories.clone()
        columns[:, 2] = arm
        return made_log_rate(columns, table.numbers).double().numpy()

    rates = np.stack([rate(arm) for arm in range(3)], 1)
    replay = Replay(
        arms, table.targets["spend"].double().numpy(), np.exp(rates) * 20, np.full(len(arms), 20.0), np.full(3, 1 / 3),
        NOTHING,
    )  # fmt: skip
    answers = Answers(np.arange(len(arms)), np.zeros(len(arms), int), replay.outcome, replay.outcome, {}, {
        "best": rates, "blind": np.zeros_like(rates), "the same": rates + 1e-9,
    })  # fmt: skip
    sheet = returns_sheet("x", STAND_IN, answers, replay, ("best", "blind", "the same"))
    rows = {row["name"]: row for row in sheet.rows}
    for name, policy in {"nobody": np.zeros(len(arms), int), "best": policy_of(rates, replay)}.items():
        truth = 20 * np.exp(rates[np.arange(len(arms)), policy]).clip(max=0.95).mean()
        for estimate in ("value", "value_ips"):
            figure, low, high = rows[name][estimate]
            assert low <= truth <= high and abs(figure - truth) < 0.2
    assert rows["blind"]["verdict"] == "worse" and rows["blind"]["sent"] == 0
    assert rows["the same"]["verdict"] == "indistinguishable" and rows["the same"]["difference"] == [0, 0, 0]
    gain = rows["best"]["value"][0] - rows["nobody"]["value"][0]
    assert rows["best"]["roi"][0] == pytest.approx(gain / (COST * rows["best"]["sent"]) - 1)


def test_verdicts() -> None:
    assert [verdict(one) for one in ((1, -1, 3), (2, 1, 3), (-2, -3, -1))] == ["indistinguishable", "better", "worse"]


def test_the_lean_student_answers_as_separate_tables_would() -> None:
    net = LeanConversionNet((3, 4), 2, widths=(5,), embedding_dim=2)
    categories, numbers = torch.tensor([[2, 0], [0, 3]]), torch.randn(2, 2)
    tables = net.table.weight[:3], net.table.weight[3:]
    looked = torch.cat([tables[0][categories[:, 0]], tables[1][categories[:, 1]], numbers], 1)
    assert torch.equal(net(categories, numbers), net.head(net.body(looked)))


def test_folds_share_no_row_and_are_scaled_by_their_training_rows() -> None:
    fold = log_fold(TINY, made_log(500), 1)
    assert not set(fold.train.tolist()) & set(fold.test.tolist()) and len(fold.train) == 300
    assert fold.inputs(fold.train)[1].mean(0).abs().max() < 1e-5
    assert fold.rate == pytest.approx(float(made_log(500).targets["visit"][fold.train].mean()))


def test_a_calibrated_teacher_predicts_the_total_of_validation_and_ranks_as_before() -> None:
    task = log_fold(TINY, made_log(500), 0).task
    moved = calibrated(task)
    before, counts = outputs_and_targets(task, task.model, task.validation)
    after, _ = outputs_and_targets(moved, moved.model, moved.validation)
    assert after.exp().sum().item() == pytest.approx(counts.sum().item(), rel=1e-4)
    assert (after - before).std() < 1e-5 and (after - before).abs().mean() > 1e-3


def test_a_csv_of_ones_own_is_a_log(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("c,n,y\n" + "".join(f"{i % 3},{i},{i % 2}\n" for i in range(50)))
    (tmp_path / "s.yaml").write_text("label: y\ncategories: [c]\nnumbers: [n]\n")
    log = csv_log(tmp_path / "mine.csv", tmp_path / "s.yaml")
    assert (log.name, log.label, log.experiment) == ("mine", "y", None)
    study = conversion_study(csv=tmp_path / "mine.csv", schema=tmp_path / "s.yaml")
    assert [part.name for part in study.parts] == ["mine"]
    with pytest.raises(SettingError, match="go together"):
        conversion_study(csv=tmp_path / "mine.csv")


def test_without_the_logs_the_made_up_one_stands_in_and_is_said_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in NO_DATA.items():
        monkeypatch.setenv(name, value)
    study = conversion_study(quick=True)
    assert [part.name for part in study.parts] == ["made-up"] and "made-up one stands in" in study.about
    assert [part.name for part in conversion_study(logs=("hillstrom",)).parts] == ["hillstrom"]


def test_a_misspelt_log_and_too_many_folds_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'hillstrom'"):
        conversion_study(logs=("hilstrom",))
    with pytest.raises(SettingError, match="1 to 5"):
        conversion_study(seeds=6)
    assert set(logs.LOGS) == {"online-shoppers", "bank-marketing", "hillstrom"}
