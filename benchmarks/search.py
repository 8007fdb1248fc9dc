"""The budget solver and the search, measured: `python benchmarks/search.py [SECTION ...]`.

One JSON row at a time into benchmarks/results/search.json; rows that exist are skipped, so that a run can be taken up
where it stopped; the page benchmarks/search.md is written after each. `--only WORDS` takes the rows whose names hold
them. `tables`, `foretold`, `bytes` and `distill` are about quality, size and how long the solver takes; rows of
`faster` (whose tables hold times), `clock` (every file of a task, in turns) and `time` mean something on a quiet
machine only and are left out unless named, and so is `pairs`, which holds the files that are there against each other.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import HOME, Kept, machine
from scipy.stats import spearmanr
from search_clock import clocked, faster, file_of
from search_page import page
from search_pairs import paired
from search_tasks import SUBJECTS

from paring import Budget, Recipe, Target, Task, compress, open_run, rebuild
from paring.allocate.interplay import Interplay
from paring.allocate.losses import divergence, kind_of
from paring.allocate.made import folded
from paring.allocate.plan import Limits, plan_of
from paring.allocate.step import Allocate
from paring.allocate.table import Entry, Table
from paring.allocate.whole import Whole, joint
from paring.artifacts.manifest import versions
from paring.artifacts.onnx import write_onnx
from paring.core.recipe import Pass
from paring.core.stream import drain
from paring.core.task import outputs_and_targets
from paring.distill.response import Response
from paring.errors import BudgetError
from paring.factorize.rank import Ratio
from paring.factorize.whitened_svd import WhitenedSvd
from paring.finetune import Finetune
from paring.judge.bench import Bench
from paring.judge.record import MODEL
from paring.prune.channels import Channels
from paring.quantize.cast import Cast
from paring.quantize.gptq import Gptq
from paring.quantize.static import Static
from paring.search.search import Effort, search

TABLE = Kept("search", page)
SHRINKS = (2.0, 3.0, 4.0, 6.0, 8.0)
SPEEDUPS = (1.5, 2.0, 3.0, 5.0)
MILD_SPEEDUPS = {"conversion": (1.1, 1.2)}  # a call of it is mostly the engine's own
OPENVINO = Target("openvino", static_shapes=True)
NUM_MIXES = 30
FAMILIES: dict[str, dict[str, Any]] = {
    "joint": {},
    "bits only": {"widths": (), "ranks": ()},
    "width only": {"ranks": (), "precisions": ()},
    "rank only": {"widths": (), "precisions": ()},
}
GOLDEN: dict[str, tuple[Pass, ...]] = {
    "fp16": (Cast(),),
    "int8": (Static(),),
    "int4 gptq": (Gptq(num_bits=4),),
    "channels 0.5, int8": (Channels(pruning_ratio=0.5, importance="obs", on_unsupported="skip"), Static()),
    "rank 0.5, int8": (WhitenedSvd(rank=Ratio(0.5), on_unsupported="skip"), Static()),
}
Row = dict[str, Any]


def solver(target: Target = Target(), **changes: Any) -> Allocate:  # noqa: B008
    """The solver with budgets to be replaced."""
    return Allocate(**({"shrink": 2.0, "target": target} | changes))


@cache
def task_of(subject: str) -> Task:
    """Each task once."""
    return SUBJECTS[subject]()


def scene(task: Task, step: Allocate) -> tuple[Table, Whole, Any, float]:
    """Table, correction, yardstick and seconds; a shrink that is out of reach does not matter here."""
    start = time.perf_counter()
    _, table, whole, ruler = drain(replace(step, shrink=1.0).plan(task.model, task))
    return table, whole, ruler, time.perf_counter() - start


def tables(subject: str) -> Row:
    """How long tables and solves take, and how close the bound lies."""
    task = task_of(subject)
    table, whole, _, seconds = scene(task, solver())
    rows = []
    for shrink in SHRINKS:
        start = time.perf_counter()
        try:
            plan = plan_of(table, whole, Limits(num_bytes=whole.dense_bytes / shrink))
        except BudgetError as error:
            rows.append({"shrink": shrink, "miss": str(error)})
            continue
        figures = {key: getattr(plan, key) for key in ("bound", "gap", "loss_per_kb", "num_bytes")}
        rows.append({"shrink": shrink, "solve_s": time.perf_counter() - start, "loss": plan.summed, **figures})
    options = sum(len(entries) for entries in table.values())
    figures = {"seconds": seconds, "threads": torch.get_num_threads(), "units": len(table), "options": options}
    return figures | {"residual": whole.residual, "solves": rows}


def foretold(subject: str) -> Row:
    """The foretold loss of random mixes (and of the solver's own) beside the joint loss, on calibration data."""
    task = task_of(subject)
    table, whole, ruler, _ = scene(task, solver())
    base = folded(task.model, task.example_inputs)
    interplay, triples = Interplay(table), []
    for mix in _mixes(table, whole):
        options = {unit: entry.option for unit, entry in mix.items()}
        joined = ruler.loss(joint(base, ruler.task, options))
        triples.append((interplay.loss(options), joined, sum(entry.loss for entry in mix.values())))
    told, seen, summed = np.array(triples).T
    near = (seen < 0.3) & (seen > 1e-4)
    return {
        "triples": [list(triple) for triple in triples],
        "num_near": int(near.sum()),
        "foretold": _beside(told, seen, near),
        "summed": _beside(summed, seen, near),
    }


def _beside(told: Any, seen: Any, near: Any) -> dict[str, Any]:
    ratios = told[near] / seen[near]
    found: dict[str, Any] = {"spearman": float(spearmanr(told, seen).statistic)}
    if near.any():
        found["within_1.3"] = float(np.mean(np.maximum(ratios, 1 / ratios) <= 1.3))
        found["ratio_p10_p50_p90"] = [float(one) for one in np.quantile(ratios, (0.1, 0.5, 0.9))]
    return found


def _mixes(table: Table, whole: Whole) -> Iterator[dict[Any, Entry]]:
    """Plans at several sizes, then random mixes, from mild to strong."""
    for shrink in SHRINKS:
        try:
            plan = plan_of(table, whole, Limits(num_bytes=whole.dense_bytes / shrink))
        except BudgetError:
            continue
        yield {unit: next(one for one in table[unit] if one.option == option) for unit, option in plan.choice.items()}
    rng = np.random.default_rng(0)
    for number in range(NUM_MIXES - len(SHRINKS)):
        share = 0.15 + 0.7 * number / NUM_MIXES
        yield {
            unit: entries[int(rng.integers(len(entries)))] if rng.random() < share else entries[0]
            for unit, entries in table.items()
        }


def within(subject: str, family: str, name: str, **budget: float) -> Row:
    """One family (or all) within one budget: the file's bytes, and what it loses on data that chose nothing."""
    target = OPENVINO if "speedup" in budget else Target()
    step = solver(target, **({"shrink": None} | budget | FAMILIES[family]))
    return _quality(task_of(subject), (step,), file_of(name))


def golden(subject: str, recipe: str, name: str) -> Row:
    """A fixed recipe."""
    return _quality(task_of(subject), GOLDEN[recipe], file_of(name))


def clock(subject: str) -> Row:
    """Every file of the task, by size and by speed, in turns; on a quiet machine."""
    return clocked(task_of(subject), subject, _files(subject), OPENVINO)


def pairs(subject: str) -> Row:
    """What joint files lose beside those that lose less, example by example."""
    return paired(task_of(subject), subject, _files(subject))


def _files(subject: str) -> dict[str, Row]:
    known = TABLE.load()["rows"]
    return {
        name: row
        for section in ("bytes", "faster")
        for name, row in known.get(section, {}).items()
        if name.startswith(f"{subject} /")
    }


def _quality(task: Task, steps: tuple[Pass, ...], path: Path) -> Row:
    start = time.perf_counter()
    try:
        model = rebuild(compress(task, Recipe(steps)), task)
    except BudgetError as error:
        return {"miss": str(error)}
    write_onnx(model, task, path)
    file_bytes = path.stat().st_size
    row: Row = {"file_bytes": file_bytes, "seconds": time.perf_counter() - start}
    assert task.test is not None
    for split, data in (("validation", task.validation), ("test", task.test)):
        before, targets = outputs_and_targets(task, task.model, data)
        after, _ = outputs_and_targets(task, model, data)
        row[f"{split}_loss"] = divergence(before, after, kind_of(before, task), task)
        row[f"{split}_drop"] = task.metric.drop(task.metric(before, targets), task.metric(after, targets))
    return row


def distill(subject: str, seed: int) -> Row:
    """Tuned distillation settings against the defaults after the same cut: chosen on validation, told on test."""
    task = replace(task_of(subject), seed=seed)
    cut = Channels(pruning_ratio=0.75, importance="obs", on_unsupported="skip")
    kind: Any = "poisson" if subject == "conversion" else "classes"
    tried = [
        Finetune(epochs=2, learning_rate=rate, objective=Response(temperature=temperature, alpha=alpha, kind=kind))
        for rate in (3e-4, 1e-3, 3e-3)
        for temperature, alpha in ((4.0, 0.9), (2.0, 0.9), (8.0, 1.0), (1.0, 0.5))
    ]
    default = Finetune(epochs=2, objective=Response(kind=kind))
    rows = []
    for step in (default, *tried):
        row = _quality(task, (cut, step), file_of(f"{subject} distilled"))
        settings = {"learning_rate": step.learning_rate, "temperature": step.objective.temperature}  # type: ignore[attr-defined]
        rows.append(row | settings | {"alpha": step.objective.alpha})  # type: ignore[attr-defined]
    best = min(rows[1:], key=lambda row: row["validation_drop"])
    return {"default": rows[0], "tuned": best, "tried": rows[1:]}


def timed_search(subject: str, minutes: float) -> Row:
    """`--max-drop 0.5%` for so many minutes; on a quiet machine."""
    task = task_of(subject)
    bench = Bench()
    baseline = task.metric(*outputs_and_targets(task, task.model, task.validation))
    budget = Budget(max_metric_drop=0.005 * abs(baseline))
    path = HOME.parent / "out" / "benchmarks" / f"search-{subject}-{minutes:g}"
    shutil.rmtree(path, ignore_errors=True)  # what an earlier search found would count as this one's
    folder = open_run(path, task, bench.conditions())
    ended = drain(search(task, folder, bench, budget, Effort(time_s=60 * minutes)))
    chosen = next((one for one in ended.run.candidates if one.name == ended.run.chosen), None)
    return {
        "trials": len(ended.trials),
        "chosen": ended.run.chosen,
        "recipe": None if chosen is None else list(chosen.recipe),
        "speedup": None if chosen is None else [chosen.speedup.ratio, chosen.speedup.low, chosen.speedup.high],
        "speedup_ort_fp32": None if chosen is None else faster(task, subject, folder.artifact / MODEL, chosen.target),
        "test_drop": None if chosen is None or chosen.headline is None else chosen.headline.drop,
        "file_bytes": None if chosen is None else chosen.file_bytes,
    }


def latency(subject: str, engine: str) -> Row:
    """Times of whole models (mixes, and the solver's plans), each left out of the fit; on a quiet machine."""
    target = Target() if engine == "onnxruntime" else OPENVINO
    _, whole, _, seconds = scene(task_of(subject), solver(target, samples=NUM_MIXES))
    errors = np.abs(whole.residuals)
    return {"seconds": seconds, "residuals": list(whole.residuals), "within_10%": float(np.mean(errors <= 0.1))}


def rows(minutes: float = 30) -> dict[str, dict[str, Callable[[], Row]]]:
    """Section -> row -> how it is made, small models first."""
    found: dict[str, dict[str, Callable[[], Row]]] = {
        name: {} for name in ("tables", "foretold", "bytes", "faster", "clock", "pairs", "distill", "time")
    }
    for subject in SUBJECTS:
        found["tables"][subject] = partial(tables, subject)
        found["foretold"][subject] = partial(foretold, subject)
        for family in FAMILIES:
            for shrink in SHRINKS:
                name = f"{subject} / {family} / {shrink:g}x"
                found["bytes"][name] = partial(within, subject, family, name, shrink=shrink)
            for speedup in (*MILD_SPEEDUPS.get(subject, ()), *SPEEDUPS):
                name = f"{subject} / {family} / {speedup:g}x faster"
                found["faster"][name] = partial(within, subject, family, name, speedup=speedup)
        for recipe in GOLDEN:
            name = f"{subject} / recipe {recipe}"
            found["bytes"][name] = partial(golden, subject, recipe, name)
        found["clock"][subject] = partial(clock, subject)
        found["pairs"][subject] = partial(pairs, subject)
        for engine in ("onnxruntime", "openvino"):
            found["time"][f"{subject} / latency / {engine}"] = partial(latency, subject, engine)
        found["time"][f"{subject} / search {minutes:g} min"] = partial(timed_search, subject, minutes)
    for subject in ("mnist", "conversion"):
        for seed in range(3):
            found["distill"][f"{subject} / seed {seed}"] = partial(distill, subject, seed)
    return found


def main() -> None:
    """Runs the rows that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sections", nargs="*", default=[], help="tables, foretold, bytes, faster, clock, pairs, distill, time"
    )
    parser.add_argument("--only", default="", help="rows whose names hold these words")
    parser.add_argument("--threads", type=int, default=1, help="torch's, for what is not timed")
    parser.add_argument("--minutes", type=float, default=30, help="of a search of `time`")
    parser.add_argument("--again", action="store_true", help="rows that are there too, one by one")
    parser.add_argument("--render", action="store_true", help="write the page from the rows that are there")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    known = TABLE.load()
    for section, made in rows(given.minutes).items():
        if section not in (given.sections or ("tables", "foretold", "bytes", "distill")) or given.render:
            continue
        for name, make in made.items():
            if (name in known["rows"].get(section, {}) and not given.again) or given.only not in name:
                continue
            print(time.strftime("%H:%M:%S"), section, name, flush=True)
            TABLE.add(make(), "rows", section, name, machine=machine(), versions=versions())
    if given.render:
        TABLE.save(TABLE.load())


if __name__ == "__main__":
    main()
