"""Paring: a trained PyTorch model, data and a budget in; a verified, smaller, faster file out.

The public names load on first use, so that `import paring` is fast and `paring.engines` needs no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "core.task": ("Task",),
    "core.metric": ("Metric",),
    "core.recipe": ("Pass", "Recipe"),
    "core.edit": ("Changed", "Declined", "Edit", "Progress"),
    "core.objective": ("Objective",),
    "core.candidate": ("Candidate",),
    "core.target": ("Target",),
    "core.measurement": ("Measurement",),
    "core.budget": ("Budget",),
    "core.check": ("check_task",),
    "candidates": ("compress", "rebuild"),
    "data.batches": ("batches",),
    "errors": ("BudgetError", "OrderError", "ParingError"),
    "artifacts.artifact": ("Artifact",),
    "judge.bench": ("Bench",),
    "recipe_io": ("read_recipe",),
    "run": ("run_recipes",),
    "choice": ("select",),
    "ship": ("export",),
    "store": ("load_candidate", "open_run"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'paring' has no attribute {name!r}")
    return getattr(importlib.import_module(f"paring.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
