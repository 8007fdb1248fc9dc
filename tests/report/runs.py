"""Runs for the report's tests: one made up, one really run on a tiny net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from paring.core.budget import Budget
from paring.core.edit import Declined
from paring.core.measurement import Measurement, Quality, Ratio, TargetTiming
from paring.core.recipe import Recipe
from paring.core.stream import drain
from paring.core.target import Target
from paring.core.task import Task
from paring.data.batches import batches
from paring.judge.bench import Bench
from paring.measure.metrics import accuracy
from paring.measure.samples import Samples
from paring.prune.channels import Channels
from paring.quantize.static import Static
from paring.report.detail import Detail
from paring.report.layers import Layer
from paring.report.results import Run
from paring.run import run_recipes
from paring.store import open_run


def measured(name: str, *, ratio: float = 1.0, drop: float = 0.0, file_bytes: int = 1000) -> Measurement:
    """A measurement whose figures follow from `ratio`, `drop` and `file_bytes`."""
    target, latency = Target(), {"p50": 1 / ratio, "p90": 1.2 / ratio, "p99": 2 / ratio}
    verdict = "faster" if ratio > 1.05 else "slower" if ratio < 0.95 else "indistinguishable"
    return Measurement(
        name=name,
        recipe=("prune.magnitude {sparsity: 0.8}",),
        metric_name="accuracy",
        quality=Quality("validation", 0.9 - drop, drop, (drop - 0.01, drop + 0.01), 300),
        headline=Quality("test", 0.91 - drop, drop, (drop - 0.01, drop + 0.01), 400),
        num_params=file_bytes // 4,
        macs=file_bytes * 3,
        file_bytes=file_bytes,
        target=target,
        latency_ms=latency,
        throughput_per_s=1000 * ratio,
        speedup=Ratio(ratio, ratio * 0.98, ratio * 1.02),
        speedup_eager=None,
        verdict=verdict,
        noise_floor=0.03,
        targets=(TargetTiming(target, latency, 1000 * ratio, 1 / ratio, 0.9 - drop, drop, 1e-6),),
        within_budget=drop <= 0.02,
    )


def made_up(*candidates: Measurement, chosen: str | None = None, details: dict[str, Detail] | None = None) -> Run:
    """A run of these candidates beside a baseline of 4,000 bytes and 1 ms."""
    baseline = replace(measured("baseline", file_bytes=4000), verdict="baseline", speedup=Ratio(1.0, 1.0, 1.0))
    return Run(
        task="made up",
        baseline=baseline,
        candidates=candidates,
        chosen=chosen,
        machine={"cpu": "a processor", "flags": ["avx2", "fma"], "memory_bytes": 8_000_000_000},
        versions={"paring": "0.1.0"},
        command="paring demo",
        budget=Budget(max_metric_drop=0.02),
        details=details or {},
    )


def made_up_detail(num_layers: int = 2) -> Detail:
    """`num_layers` layers pruned alike, one declined, and timings around 1 ms."""
    rows = tuple(
        Layer(f"encoder.layer.{index}.output.dense", ((64, 64),), ((64, 64),), ("masked",), 0.8, 819, "32", "",
              16384, 16384)
        for index in range(num_layers)
    )  # fmt: skip
    rng = np.random.default_rng(0)
    names = ("baseline", "baseline again", str(Target()))
    wall = {name: (1e6 * rng.lognormal(0, 0.1, (10, 20))).astype(np.int64) for name in names}
    samples = Samples(wall, {name: wall[name].mean(axis=1) for name in names})
    return Detail("passes:\n- prune.magnitude\n", rows, (Declined("head", "its weight is shared with embed"),), samples)


def really_run(out: Path) -> Run:
    """Two recipes on a net of a few hundred weights, timed for an instant in one engine."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 4)
    ).eval()
    x = torch.randn(96, 1, 4, 4)
    with torch.no_grad():
        y = model(x).argmax(1)
    data = batches(x, y, 32)
    task = Task(name="tiny", model=model, example_inputs=x[:2], train=data, calibration=data, validation=data,
                test=data, loss=functional.cross_entropy, metric=accuracy)  # fmt: skip
    bench = Bench(engines=("onnxruntime",), blocks=4, min_block_ms=0.2)
    recipes = (
        Recipe((Channels(pruning_ratio=0.5),), "channels"),
        Recipe((Static(),), "int8"),
    )
    return drain(run_recipes(task, recipes, open_run(out, task, bench.conditions()), bench, Budget(), "paring tiny"))
