"""Runs a pass as a recipe does, without the export."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from paring import Edit, Task, batches
from paring.core.edit import Step
from paring.core.recipe import Pass
from tests.nets import vector_task


def run(step: Pass, task: Task, model: nn.Module | None = None) -> tuple[nn.Module, list[Step]]:
    """(the model after the pass, all that the pass said)."""
    model = copy.deepcopy(model or task.model)
    done: list[Step] = []
    torch.manual_seed(task.seed)
    for item in step.run(model, task):
        done.append(item)
        if isinstance(item, Edit):
            model = item.apply(model)
    return model.eval(), done


def task_of(model: nn.Module, x: Tensor, batch_size: int = 64) -> Task:
    """`model` as a task on `x`; no labels worth the name."""
    labels = torch.zeros(len(x), dtype=torch.long)
    data = batches(x, labels, batch_size)
    return replace(
        vector_task(), model=model.eval(), example_inputs=x[:2], calibration=data, validation=data, test=data
    )


def output_error(before: nn.Module, after: nn.Module, x: Tensor) -> float:
    """Mean squared difference of the outputs."""
    with torch.no_grad():
        return float(((before(x) - after(x)) ** 2).mean())
