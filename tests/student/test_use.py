"""A student of the task's own: replaced, trained by the model, rebuilt bit for bit, saved and loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from paring.candidates import compress, rebuild
from paring.core.recipe import Recipe
from paring.distill.response import Response
from paring.errors import LayerError, SettingError, ShapeError, TaskError, UnknownNameError
from paring.finetune import Finetune
from paring.graph.edits.student import UseStudent
from paring.prune.magnitude import Magnitude
from paring.store import load_candidate, save_candidate
from paring.student.use import Use
from tests.distill.nets import SmallNet
from tests.nets import image_task

TASK = replace(image_task(), students={"small": SmallNet, "wide": lambda: nn.Linear(8, 9), "none": lambda: 3})


def test_a_named_student_learns_from_the_model_and_comes_back_from_disk(tmp_path: Path) -> None:
    recipe = Recipe((Use(student="small"), Finetune(epochs=30, learning_rate=2e-2, objective=Response(alpha=1.0))))
    candidate = compress(TASK, recipe)
    save_candidate(candidate, tmp_path)
    state = torch.random.get_rng_state()
    student = rebuild(load_candidate(tmp_path), TASK)
    assert torch.equal(torch.random.get_rng_state(), state), "rebuilding draws no random numbers"
    assert isinstance(student, SmallNet)
    untrained = rebuild(compress(TASK, Recipe((Use(student="small"),))), TASK)
    x = TASK.validation.inputs  # type: ignore[attr-defined]
    with torch.no_grad():
        gaps = [(net(x).softmax(-1) - TASK.model(x).softmax(-1)).abs().mean().item() for net in (untrained, student)]
    assert gaps[1] < 0.5 * gaps[0]


def test_the_seed_of_the_task_makes_the_student() -> None:
    states = [compress(replace(TASK, seed=s), Recipe((Use(student="small"),))).state["conv.weight"] for s in (0, 0, 1)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_the_only_student_needs_no_name() -> None:
    task = replace(TASK, students={"small": SmallNet})
    assert compress(task, Recipe((Use(),))).edits == (UseStudent("small"),)


def test_steps_before_it_leave_no_trace() -> None:
    plain = compress(TASK, Recipe((Use(student="small"),)))
    after = compress(TASK, Recipe((Magnitude(sparsity=0.5), Use(student="small"))))
    assert all(torch.equal(plain.state[name], after.state[name]) for name in after.state)


def test_mistakes_are_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown student 'smal'; did you mean 'small'"):
        compress(TASK, Recipe((Use(student="smal"),)))
    with pytest.raises(TaskError, match="made a int"):
        compress(TASK, Recipe((Use(student="none"),)))
    with pytest.raises(ShapeError, match=r"wide answers .* the model \(2, 4\)"):
        compress(TASK, Recipe((Use(student="wide"),)))
    with pytest.raises(SettingError, match=r"the task has 3: .*Name one"):
        compress(TASK, Recipe((Use(),)))
    with pytest.raises(SettingError, match="no include or exclude"):
        Use(student="small", include=("conv",))
    with pytest.raises(LayerError, match="comes from the task"):
        UseStudent("small").apply(TASK.model)
