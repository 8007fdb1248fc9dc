"""The verdict in a sentence, and a page that needs nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from paring.core.budget import Budget
from paring.core.measurement import Measurement, Quality, Ratio, Verdict
from paring.core.target import Target
from paring.report.page import page
from paring.report.results import Run, results, verdict_sentence

BASE = Measurement(
    name="baseline",
    recipe=(),
    metric_name="accuracy",
    quality=Quality("validation", 0.97, 0.0, (0.0, 0.0), 1000),
    num_params=1000,
    macs=2000,
    file_bytes=4000,
    target=Target(),
    latency_ms={"p50": 1.0, "p90": 2.0, "p99": 4.0},
    throughput_per_s=1000.0,
    speedup=Ratio(1.0, 1.0, 1.0),
    speedup_eager=None,
    verdict="baseline",
    noise_floor=0.01,
)


def run_of(verdict: Verdict, ratio: Ratio, *, name: str = "small", chosen: bool = True) -> Run:
    candidate = replace(
        BASE,
        name=name,
        recipe=("prune.channels {pruning_ratio: 0.5}",),
        file_bytes=1000,
        speedup=ratio,
        verdict=verdict,
        headline=Quality("test", 0.95, 0.02, (0.01, 0.03), 1000),
        refused={"openvino fp32": f"{name} does not run there"},
    )
    return Run("tiny", BASE, (candidate,), name if chosen else None, {"cpu": "x"}, {"torch": "2"}, "paring compress")


@pytest.mark.parametrize(
    ("verdict", "ratio", "words"),
    [
        ("faster", Ratio(2.0, 1.9, 2.1), "2.00 times faster"),
        ("slower", Ratio(0.5, 0.4, 0.6), "2.00 times slower"),
        ("indistinguishable", Ratio(1.01, 0.9, 1.1), "within the noise"),
    ],
)
def test_the_sentence_says_what_was_measured(verdict: Verdict, ratio: Ratio, words: str) -> None:
    said = verdict_sentence(run_of(verdict, ratio))
    assert said.startswith("small: ")
    assert words in said
    assert "4.0 times smaller" in said and "0.9500 on test" in said
    claims = {"faster", "slower"} & set(re.findall("[a-z]+", said))
    assert claims == {verdict} & {"faster", "slower"}


def test_a_slower_file_has_the_interval_of_its_own_factor() -> None:
    said = verdict_sentence(run_of("slower", Ratio(0.5, 0.4, 0.625)))
    assert "2.00 times slower (1.60 to 2.50)" in said


def test_nothing_inside_the_budget_claims_nothing() -> None:
    said = verdict_sentence(run_of("faster", Ratio(2.0, 1.9, 2.1), chosen=False))
    assert said.startswith("No candidate stays inside the budget")
    assert "faster" not in said


def test_what_is_beyond_the_budget_on_test_is_said() -> None:
    run = run_of("faster", Ratio(2.0, 1.9, 2.1))
    chosen = replace(run.candidates[0], quality=Quality("validation", 0.965, 0.005, (-0.002, 0.012), 1000))
    run = replace(run, candidates=(chosen,), budget=Budget(max_metric_drop=0.01))
    words = "The budget allows 0.0100, and was held to on validation: a drop of +0.0050 there"
    hint = "--use-interval holds the upper end to it"
    for said in (verdict_sentence(run), page(run).replace("\n", " ")):
        assert words in said and hint in said
    sure = replace(run, budget=Budget(max_metric_drop=0.015, use_interval=True))
    assert "(-0.0020 to +0.0120)." in verdict_sentence(sure) and hint not in verdict_sentence(sure)
    blind = replace(chosen, quality=replace(chosen.quality, drop_interval=None))
    assert verdict_sentence(replace(run, candidates=(blind,))).endswith("a drop of +0.0050 there.")


@pytest.mark.parametrize("budget", [Budget(), Budget(max_metric_drop=0.02), Budget(max_file_bytes=1000)])
def test_what_is_inside_on_test_needs_no_word(budget: Budget) -> None:
    said = verdict_sentence(replace(run_of("faster", Ratio(2.0, 1.9, 2.1)), budget=budget))
    assert "The budget" not in said


def test_the_page_needs_no_network_and_shows_every_row() -> None:
    html = page(run_of("faster", Ratio(2.0, 1.9, 2.1)))
    assert html.startswith("<!doctype html>")
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:|//)|@import|url\(\s*[\"']?http", html)
    assert "<script src" not in html
    assert all(text in html for text in ("tiny", "small", "baseline", "does not run there", "paring compress"))


def test_names_cannot_smuggle_markup_into_the_page() -> None:
    html = page(run_of("faster", Ratio(2.0, 1.9, 2.1), name='<img src=x onerror="alert(1)">'))
    assert "<img" not in html
    assert "&lt;img" in html


def test_results_name_the_baseline_and_the_chosen_one() -> None:
    data = results(run_of("faster", Ratio(2.0, 1.9, 2.1)))
    assert (data["baseline"], data["chosen"]) == ("baseline", "small")
    small = data["rows"][1]
    assert (small["split"], small["metric"], small["drop_interval"]) == ("test", 0.95, [0.01, 0.03])
    assert small["selection"]["split"] == "validation"
