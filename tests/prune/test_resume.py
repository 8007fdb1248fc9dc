"""Gradual pruning that is broken off in mid-epoch ends with the weights and masks of the uninterrupted run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from paring.candidates import compress
from paring.core.recipe import Pass, Recipe
from paring.core.scratch import Scratch
from paring.prune.magnitude import Magnitude
from paring.prune.movement import Movement
from paring.prune.settings import Cubic
from tests.nets import image_task

SCHEDULE = Cubic(epochs=3, learning_rate=1e-2, begin=0.05, end=0.8, interval=2)


class Broken(Exception):  # noqa: N818
    """Stands for the kill."""


@dataclass(eq=False)
class Breaking:
    """Batches that end the run when batch `at` is asked for; 0 never does."""

    data: Any
    at: int
    asked: int = 0

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self):  # type: ignore[no-untyped-def]
        for batch in self.data:
            self.asked += 1
            if self.asked == self.at:
                raise Broken
            yield batch


@pytest.mark.parametrize(
    "step",
    [
        Magnitude(sparsity=0.8, schedule=SCHEDULE),
        Movement(sparsity=0.8, schedule=SCHEDULE),
        Movement(sparsity=0.8, schedule=SCHEDULE, initial="zero"),
        Movement(sparsity=0.8, schedule=SCHEDULE, importance="sensitivity"),
    ],
)
def test_broken_off_twice_it_ends_the_same(step: Pass, tmp_path: Path) -> None:
    def run(at: int, scratch: Scratch | None, passes: tuple[Pass, ...] = (step,)) -> tuple[dict[str, Any], int]:
        task = image_task()
        assert task.train is not None
        train = Breaking(replace(task.train, batch_size=10), at)  # type: ignore[type-var]
        return dict(compress(replace(task, train=train, scratch=scratch), Recipe(passes)).state), train.asked

    whole, asked = run(0, None)
    scratch = Scratch(tmp_path, every_s=0)
    for at in (asked // 2, asked // 4):
        with pytest.raises(Broken):
            run(at, scratch)
    again, left = run(0, scratch)
    assert left < asked
    masks = [mask for name, mask in whole.items() if name.endswith("mask")]
    assert masks and sum(int((~mask).sum()) for mask in masks) > 0.7 * sum(mask.numel() for mask in masks)
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    other, asked_anew = run(0, scratch, (replace(step, sparsity=0.6),))  # type: ignore[type-var]
    assert asked_anew == asked and any(not torch.equal(whole[name], other[name]) for name in whole)
