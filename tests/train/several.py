"""One training, alone or under torchrun: `python -m tests.train.several OUT`; the first process writes the weights.

Each prints the threads of gloo's that are left when the interpreter ends.
"""

from __future__ import annotations

import atexit
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from paring import batches
from paring.candidates import compress
from paring.core.recipe import Recipe
from paring.distill.features import Features
from paring.distill.response import Response
from paring.distill.weighted import Weighted
from paring.finetune import Finetune
from tests.nets import vector_task


def left_threads() -> list[str]:
    """Names of this process's threads; empty where the system does not say."""
    tasks = Path("/proc/self/task")
    return sorted((task / "comm").read_text().strip() for task in tasks.iterdir()) if tasks.is_dir() else []


def main() -> None:
    atexit.register(lambda: print("left:", *(name for name in left_threads() if "gloo" in name)))
    torch.set_num_threads(1)
    task = vector_task()
    x, y = task.train.inputs[:77], task.train.targets[:77]  # type: ignore[union-attr]  # batches of 16, the last of 13
    task = replace(task, train=batches(x, y, 16, shuffle=True), model=task.model.eval())
    objective = Weighted((Response(), Features((("first", "tied_a"),))), (1.0, 0.5))
    recipe = Recipe((Finetune(3, 1e-2, objective, gradient_clip=1.0, accumulation=2),))
    candidate = compress(task, recipe)
    if os.environ.get("RANK", "0") == "0":
        save_file(dict(candidate.state), sys.argv[1], {"loss": repr(candidate.history[-1].loss)})


if __name__ == "__main__":
    main()
