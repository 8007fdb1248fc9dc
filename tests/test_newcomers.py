"""What people met who tried the library on a net of their own, with nothing but the README."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from paring import Budget, Recipe, Task, open_run, run_recipes
from paring.core.check import check_task
from paring.core.stream import drain
from paring.errors import MissingError
from paring.measure.metrics import accuracy
from paring.prune.channels import Channels
from paring.quantize.static import Static
from paring.search.search import Effort, search
from tests.runs import SHORT, tiny_task


class Series(Dataset[tuple[tuple[Tensor, Tensor], int]]):
    """A signal and what else is known of it; torch's collation makes a list of the two."""

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> tuple[tuple[Tensor, Tensor], int]:
        signal = torch.randn(1, 16, generator=torch.Generator().manual_seed(index))
        return (signal, torch.ones(2)), int(signal.sum() > 0)


class TwoSided(nn.Module):
    """A one-dimensional convolution over the signal, a Linear over both."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 8, 3, padding=1)
        self.body = nn.Linear(10, 16)
        self.head = nn.Linear(16, 2)

    def forward(self, signal: Tensor, known: Tensor) -> Tensor:
        """(b, 1, 16) and (b, 2) -> logits (b, 2)."""
        seen = F.relu(self.stem(signal)).mean(2)
        logits: Tensor = self.head(F.relu(self.body(torch.cat([seen, known], 1))))
        return logits


def two_sided() -> Task:
    torch.manual_seed(0)
    data = DataLoader(Series(), batch_size=16)
    inputs, _ = next(iter(data))
    assert isinstance(inputs, list)
    return Task(TwoSided().eval(), tuple(inputs), data, F.cross_entropy, accuracy, calibration=data, test=data)


def test_lists_of_inputs_pass_through_and_layers_passed_over_are_reported(tmp_path: Path) -> None:
    task = two_sided()
    check_task(task)
    recipes = (Recipe((Static(),), "int8"), Recipe((Channels(pruning_ratio=0.5, include=("body",)),), "narrow"))
    run = drain(run_recipes(task, recipes, open_run(tmp_path, task, SHORT.conditions()), SHORT, Budget()))
    assert [row.name for row in run.rows] == ["baseline", "int8", "narrow"]
    report = (tmp_path / "report.md").read_text()
    assert "stem" in report and "it is a Conv1d, and quantize.static treats" in report


def test_a_search_without_optuna_says_so_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    task = tiny_task()
    folder = open_run(tmp_path, task, SHORT.conditions())
    with pytest.raises(MissingError, match=r"pip install 'paring\[search\]'"):
        drain(search(task, folder, SHORT, Budget(), Effort(trials=1)))
    assert not list(folder.path.glob("candidates/*"))
