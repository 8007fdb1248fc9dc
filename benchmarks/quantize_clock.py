"""The timed rows of benchmarks/quantize.py: every int8 file of a net in one engine, PyTorch eager and the fp32 file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from quantize_files import TARGETS, call_of, folder_of
from quantize_reasons import reason
from quantize_rows import OURS, ours, peers
from quantize_tasks import SUBJECTS, Subject

from paring.core.measurement import Ratio
from paring.errors import EngineError
from paring.judge.bench import timed_inputs
from paring.measure.canary import CANARY, canary, drift
from paring.measure.eager import as_inputs, eager_session
from paring.measure.latency import Runner, compare, judge, noise_floor
from paring.measure.lives import interleave_anew

ENGINES = ("onnxruntime", "openvino")
EAGER, FP32, AGAIN = "PyTorch eager fp32", "fp32 file", "again"
BLOCKS, BLOCK_MS, LIVES = 40, 5.0, 4
BARS = {"poisson_log_loss": 0.001}  # relative; the others' are in points
POINTS = {"encoder": 0.005}
BAR = 0.003


def timed(subject: str, rows: Mapping[str, Any]) -> dict[str, Callable[[], dict[str, Any]]]:
    """Row name -> what times it: one an engine."""
    return {f"{subject}: {engine}": partial(clocked, subject, engine, rows) for engine in ENGINES}


def within_bar(subject: str, row: Mapping[str, Any], split: str = "validation") -> bool:
    """Whether the drop on a split is inside the issue's bar in every engine that ran the file."""
    seen = [one[split] for one in row.get("targets", ()) if split in one]
    if subject == "conversion":
        return all(one["drop"] <= BARS["poisson_log_loss"] * abs(one["metric"] - one["drop"]) for one in seen)
    return all(one["drop"] <= POINTS.get(subject, BAR) for one in seen)


def clocked(name: str, engine: str, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Median times, and ours against all others: ours is the fastest of our files inside the bar on validation."""
    subject, folder = SUBJECTS[name](), folder_of(name)
    files = {FP32: folder / "model.onnx"}
    for row in (*ours(name), *peers(name)):
        made = rows.get(f"{name}: {row}", {})
        if Path(made.get("file", "")).suffix in (".onnx", ".xml"):
            files[row] = folder / made["file"]
    openers: dict[str, Callable[[], Runner]] = {EAGER: partial(_eager, subject), CANARY: canary}
    refused: dict[str, str] = {}
    for label, path in files.items():
        for target in (one for one in TARGETS if one.engine == engine):
            key = f"{label} | {target.precision}"
            try:
                call_of(path, target, subject.timed)
            except EngineError as error:
                refused[key] = reason(error)
                continue
            openers[key] = partial(call_of, path, target, subject.timed)
            if label == FP32 and target.precision == "fp32":
                openers[AGAIN] = openers[key]
    samples = interleave_anew(openers, lives=LIVES, blocks=BLOCKS, min_block_ms=BLOCK_MS)
    p50 = {key: samples.latency_ms(key)["p50"] for key in openers if key not in (CANARY, AGAIN)}

    def fastest(wanted: Callable[[str], bool]) -> str | None:
        known = [key for key in p50 if " | " in key and wanted(key.rsplit(" | ", 1)[0])]
        return min(known, key=p50.__getitem__, default=None)

    def good(label: str) -> bool:
        return within_bar(name, rows[f"{name}: {label}"])

    chosen = fastest(lambda label: label.startswith(OURS) and good(label))
    floor = noise_floor(samples, f"{FP32} | fp32", AGAIN)
    ratios: dict[str, list[Any]] = {}
    if chosen is not None:
        for key in p50:
            ratio = compare(samples, key, chosen) if key != chosen else Ratio(1.0, 1.0, 1.0)
            ratios[key] = [ratio.ratio, ratio.low, ratio.high, judge(ratio, floor)]
    return {
        "p50_ms": p50,
        "ours": chosen,
        "peer": fastest(lambda label: label in peers(name) and good(label)),
        "peer at any drop": fastest(lambda label: label in peers(name)),
        "ours over": ratios,
        "noise_floor": floor,
        "drift": drift(samples),
        "refused": refused,
        "blocks": BLOCKS,
    }


def _eager(subject: Subject) -> Runner:
    task = subject.timed
    return eager_session(task, task.model).prepare(as_inputs(timed_inputs(task, 1)))
