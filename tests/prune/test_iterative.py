"""Rounds of pruning and recovery."""

from __future__ import annotations

import pytest
import torch

from paring import Declined, Recipe, compress, rebuild
from paring.distill.response import Response
from paring.errors import SettingError
from paring.finetune import Finetune
from paring.prune.channels import Channels
from paring.prune.iterative import Iterative
from paring.prune.magnitude import Magnitude
from tests.nets import image_task, vector_task

RECOVERY = Finetune(epochs=1, objective=Response(temperature=2.0))


def test_rounds_end_at_the_amount() -> None:
    task = vector_task()
    model = rebuild(compress(task, Recipe((Iterative(Magnitude(sparsity=0.75), 3, RECOVERY),))), task)
    weights = [model.get_submodule(name).weight for name in ("first", "twice", "tied_a", "head")]
    share = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert share == pytest.approx(0.75, abs=0.01)


def test_channels_go_in_equal_shares_of_what_is_left() -> None:
    task = image_task()
    step = Iterative(Channels(pruning_ratio=0.75, include=("conv1",)), 2, RECOVERY)
    model = rebuild(compress(task, Recipe((step,))), task)
    assert model.conv1.out_channels == 2
    x = task.example_inputs
    assert isinstance(x, torch.Tensor) and model(x).shape == (2, 4)


def test_the_round_that_loses_too_much_is_undone() -> None:
    task = image_task()
    step = Iterative(Channels(pruning_ratio=0.75, include=("conv1",)), 2, RECOVERY, max_metric_drop=-1.0)
    candidate = compress(task, Recipe((step, Magnitude(sparsity=0.1))))
    assert [one for one in candidate.declined if "round 1 of 2 loses" in one.reason and "above -1" in one.reason]
    assert rebuild(candidate, task).conv1.out_channels == 8
    assert isinstance(candidate.declined[0], Declined)


def test_only_passes_with_an_amount() -> None:
    with pytest.raises(SettingError, match="finetune has no sparsity and no pruning_ratio"):
        Iterative(Finetune())
    with pytest.raises(SettingError, match="rounds is 0"):
        Iterative(Magnitude(), rounds=0)
