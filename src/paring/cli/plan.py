"""What a run would do, how long it may take and how much disk it needs: `--dry-run`."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

from rich.table import Table

from paring.core.recipe import Recipe
from paring.core.task import Task, call
from paring.finetune import Finetune
from paring.graph.state import take_state
from paring.judge.bench import Bench
from paring.train import count

EXPORT_S = 3.0  # the exporter's own start-up, seen on small nets
BACKWARD = 3.0  # forward, backward and the optimizer, in forwards


def plan_of(task: Task, recipes: Sequence[Recipe], bench: Bench) -> dict[str, Any]:
    """Steps, rough seconds and rough bytes per recipe, from one timed forward of each data set's first batch."""
    state, _ = take_state(task.model)
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    validation_s = _pass_s(task, "validation")
    measure_s = bench.blocks * bench.min_block_ms / 1000 * (2 * len(bench.targets()) + 3)
    judge_s = EXPORT_S + measure_s + validation_s * (len(bench.targets()) + 1)
    rows: list[dict[str, Any]] = []
    for recipe in (Recipe((), "baseline"), *recipes):
        epochs = sum(step.epochs for step in recipe.passes if isinstance(step, Finetune))
        train_s = epochs * BACKWARD * _pass_s(task, "train") if epochs else 0.0
        steps = [step.name for step in recipe.passes]
        rows.append(
            {"name": str(recipe), "steps": steps, "seconds": round(train_s + judge_s, 1), "bytes": 2 * num_bytes}
        )
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
