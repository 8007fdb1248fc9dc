"""Paring: a trained PyTorch model, data and a budget in; a verified, smaller, faster file out.

The public names load on first use, so that `import paring` is fast and `paring.engines` needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paring.artifacts.artifact import Artifact as Artifact
    from paring.candidates import compress as compress
    from paring.candidates import rebuild as rebuild
    from paring.choice import select as select
    from paring.container.file import pack as pack
    from paring.container.file import unpack as unpack
    from paring.container.load import load as load
    from paring.core.budget import Budget as Budget
    from paring.core.candidate import Candidate as Candidate
    from paring.core.check import check_task as check_task
    from paring.core.edit import Changed as Changed
    from paring.core.edit import Declined as Declined
    from paring.core.edit import Edit as Edit
    from paring.core.edit import Progress as Progress
    from paring.core.measurement import Measurement as Measurement
    from paring.core.metric import Metric as Metric
    from paring.core.objective import Objective as Objective
    from paring.core.recipe import Pass as Pass
    from paring.core.recipe import Recipe as Recipe
    from paring.core.target import Target as Target
    from paring.core.task import Task as Task
    from paring.data.batches import batches as batches
    from paring.errors import BudgetError as BudgetError
    from paring.errors import OrderError as OrderError
    from paring.errors import ParingError as ParingError
    from paring.judge.bench import Bench as Bench
    from paring.recipe_io import read_recipe as read_recipe
    from paring.run import run_recipes as run_recipes
    from paring.ship import export as export
    from paring.store import load_candidate as load_candidate
    from paring.store import open_run as open_run

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
    "container.file": ("pack", "unpack"),
    "container.load": ("load",),
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
