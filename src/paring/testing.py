"""The conformance suite: checks anybody's Pass, alone or one after another.

from paring.testing import check_pass
check_pass(MyPass(...), task)
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from paring.artifacts.onnx import write_onnx
from paring.artifacts.verify import check_parity
from paring.candidates import compress, rebuild
from paring.core.candidate import Candidate
from paring.core.edit import Edit
from paring.core.recipe import Pass, Recipe
from paring.core.target import Target
from paring.core.task import Batch, Task
from paring.engines import installed_engines, open_session
from paring.graph.state import named_tensors, tensor_bytes
from paring.recipe_io import parse_recipe, to_yaml
from paring.store import load_candidate, save_candidate


def check_pass(step: Pass, task: Task, *, after: tuple[Pass, ...] = ()) -> Candidate:
    """Runs `step` (behind the passes in `after`) on `task` and checks all that a pass promises.

    It round-trips through YAML; the task's model is untouched; the same seed gives the same edits and state; the edit
    log survives JSON and rebuilds the model bit for bit; the candidate survives the disk; the exported file computes
    what the model computes in every installed engine, also at another batch size.
    Raises: AssertionError saying which promise is broken; OrderError if the passes cannot follow each other.
    """
    recipe = Recipe((*after, step))
    assert parse_recipe(to_yaml(recipe)) == recipe, f"{recipe}: does not survive YAML"
    before = _snapshot(task.model)
    candidate = compress(task, recipe)
    assert _same(before, _snapshot(task.model)), f"{recipe}: changed task.model"
    again = compress(task, recipe)
    assert again.edits == candidate.edits, f"{recipe}: the same seed gave other edits"
    assert _same(dict(again.state), dict(candidate.state)), f"{recipe}: the same seed gave other weights"
    check_reload(candidate, task)
    check_export(candidate, task)
    return candidate


def check_reload(candidate: Candidate, task: Task) -> None:
    """The candidate comes back from JSON and from disk, and gives the same outputs bit for bit."""
    model = rebuild(candidate, task)
    expected = _answer(model, task)
    log = json.loads(json.dumps([edit.to_json() for edit in candidate.edits]))
    assert tuple(Edit.from_json(entry) for entry in log) == candidate.edits, f"{candidate.name}: edits change in JSON"
    with tempfile.TemporaryDirectory() as folder:
        save_candidate(candidate, Path(folder))
        loaded = load_candidate(folder)
    assert loaded.edits == candidate.edits and loaded.recipe.passes == candidate.recipe.passes
    back = rebuild(loaded, task)
    assert torch.equal(_answer(back, task), expected), f"{candidate.name}: reloads to other outputs"
    assert not any(tensor.is_meta for _, tensor in named_tensors(back)), f"{candidate.name}: left on meta"


def check_export(candidate: Candidate, task: Task) -> None:
    """The exported file agrees with the model in every installed engine, and takes other batch sizes."""
    model = rebuild(candidate, task)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(model, task, path)
        for engine in installed_engines():
            if engine == "torch":
                continue
            session = open_session(path, Target(engine), exact=True)
            check_parity(session, model, task, where=f"{candidate.name} in {engine}")
            one = replace(task, calibration=[_first_rows(task, 1)])
            check_parity(session, model, one, where=f"{candidate.name} in {engine}, one row")


def _answer(model: nn.Module, task: Task) -> torch.Tensor:
    with torch.no_grad():
        return task.predict(model.eval(), task.example_inputs)


def _first_rows(task: Task, count: int) -> Batch:
    assert task.calibration is not None
    inputs, target = next(iter(task.calibration))
    if isinstance(inputs, torch.Tensor):
        return inputs[:count], target[:count]
    if isinstance(inputs, tuple | list):
        return tuple(value[:count] for value in inputs), target[:count]
    return {name: value[:count] for name, value in inputs.items()}, target[:count]


def _snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in named_tensors(model)}


def _same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    if left.keys() != right.keys():
        return False
    return all(tensor_bytes(left[name]) == tensor_bytes(right[name]) for name in left)
