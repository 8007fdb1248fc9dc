"""`paring teach` and `paring compress --answers`, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.calls import paring_in

TASK = """
import torch, torch.nn.functional as F
from torch import nn
from paring import Task, batches
from paring.measure.metrics import accuracy

torch.manual_seed(0)
x, y = torch.randn(200, 6), torch.randint(0, 2, (200,))
net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
task = Task(model=net, example_inputs=x[:2], train=batches(x, y, 50, shuffle=True), calibration=batches(x, y),
            validation=batches(x, y), loss=F.cross_entropy, metric=accuracy,
            students={"small": lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))})
"""
RECIPE = """
passes:
  - student.use
  - finetune: {epochs: 1, objective: distill.response}
"""


def test_answers_are_kept_told_of_and_trained_from(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    call = paring_in(
        tmp_path, "teach", "task.py:task", "--out", "answers", "--layer", "1", "--shard-rows", "80", "--json"
    )
    told = json.loads(call.out)
    assert call.code == 0 and told["rows"] == 200 and told["shards"] == told["of"] == 3 and told["layers"] == ["1"]
    args = ("compress", "task.py:task", "--recipe", "recipe.yaml", "--answers", "answers", "--engine", "onnxruntime")
    call = paring_in(tmp_path, *args, "--out", "out")
    assert call.code == 0, call.err
    assert (tmp_path / "out" / "results.json").is_file()


def test_mistakes_are_one_line_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    call = paring_in(tmp_path, "teach", "task.py:task", "--out", "answers", "--part", "4/4")
    assert call.code == 2 and "write i/n" in call.only_line
    call = paring_in(tmp_path, "teach", "task.py:task", "--out", "answers", "--layer", "7")
    assert call.code == 2 and "unknown layer '7'" in call.only_line
    args = ("compress", "task.py:task", "--recipe", "recipe.yaml", "--out", "out")
    call = paring_in(tmp_path, *args, "--answers", "nowhere")
    assert call.code == 2 and "paring teach" in call.only_line
