"""What a run would do, how long it may take and how much disk it needs: `--dry-run`."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import islice
from typing import Any

from rich.table import Table

from paring.core.objective import Supervised
from paring.core.recipe import Pass, Recipe
from paring.core.task import Task, call
from paring.graph.state import take_state
from paring.judge.bench import Bench
from paring.prune.iterative import Iterative
from paring.train import count

EXPORT_S = 3.0  # the exporter's own start-up, seen on small nets
BACKWARD = 3.0  # forward, backward and the optimizer, in forwards
CALIBRATION_LOOKS = 3.0  # of a pass that solves for something: what goes in, what comes out, and a check


def plan_of(task: Task, recipes: Sequence[Recipe], bench: Bench) -> dict[str, Any]:
    """Steps, rough seconds and rough bytes per recipe, from one timed forward of each data set's first batch."""
    state, _ = take_state(task.model)
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    pass_s = cache(partial(_pass_s, task))  # a timed forward a split, however many recipes look at it
    validation_s = pass_s("validation")
    measure_s = bench.blocks * bench.min_block_ms / 1000 * (2 * len(bench.targets()) + 3)
    judge_s = EXPORT_S + measure_s + validation_s * (len(bench.targets()) + 1)
    rows: list[dict[str, Any]] = []
    for recipe in (Recipe((), "baseline"), *recipes):
        seconds = judge_s + sum(_step_s(step, pass_s) for step in recipe.passes)
        steps = [step.name for step in recipe.passes]
        rows.append({"name": str(recipe), "steps": steps, "seconds": round(seconds, 1), "bytes": 2 * num_bytes})
    return {
        "task": task.name,
        "recipes": rows,
        "targets": [str(target) for target in bench.targets()],
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "bytes": sum(row["bytes"] for row in rows),
    }


def plan_table(plan: dict[str, Any]) -> Table:
    """The plan as a table."""
    total = f"about {plan['seconds']:.0f} s and {plan['bytes'] / 1e6:.1f} MB of disk"
    table = Table(title=f"{plan['task']}: {total}; timed on {', '.join(plan['targets'])}", title_justify="left")
    for heading in ("recipe", "steps", "about s", "MB"):
        table.add_column(heading)
    for row in plan["recipes"]:
        table.add_row(row["name"], ", ".join(row["steps"]), f"{row['seconds']:.0f}", f"{row['bytes'] / 1e6:.1f}")
    return table


def _step_s(step: Pass, pass_s: Callable[[str], float]) -> float:
    """Seconds of a pass: its epochs, each with a look at validation, a teacher's forward where it is distilled, and
    its looks at the calibration data."""
    seconds = 0.0
    if epochs := epochs_of(step):
        objective = getattr(step, "objective", None) or getattr(getattr(step, "schedule", None), "objective", None)
        taught = 0.0 if objective is None or isinstance(objective, Supervised) else 1.0
        seconds += epochs * ((BACKWARD + taught) * pass_s("train") + pass_s("validation"))
    if "calibration" in step.requirements():
        seconds += CALIBRATION_LOOKS * pass_s("calibration")
    return seconds


def epochs_of(step: Pass) -> int:
    """How often the pass goes over the training data, its schedule's and its recoveries' epochs counted."""
    if isinstance(step, Iterative):
        return step.rounds * (epochs_of(step.step) + epochs_of(step.recovery))
    own, scheduled = getattr(step, "epochs", 0), getattr(getattr(step, "schedule", None), "epochs", 0)
    return int(own) + int(scheduled)


def _pass_s(task: Task, split: str) -> float:
    """Seconds of one forward pass over a split, from its first batch."""
    data = getattr(task, split)
    if data is None:
        return 0.0
    model, seconds = copy.deepcopy(task.model).eval(), []
    for inputs, _ in islice(iter(data), 2):
        start = time.perf_counter()
        call(model, inputs)
        seconds.append(time.perf_counter() - start)
    return min(seconds) * count(data)
