"""Structured pruning of whole blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Declined, Step
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, NothingToDoError, SettingError, UnknownNameError
from paring.graph.droppable import Droppable, droppable, similarities, skipped
from paring.graph.edits.drop import DropLayer
from paring.graph.edits.unfuse import unfuse_all
from paring.numerics.importance import count_of

Choice = Literal["similarity", "loss"]


@final
@dataclass(frozen=True)
class Layers(Pass):
    """Drops whole blocks that keep the shape of what runs through them: encoder layers, residual blocks.

    `by` "similarity" drops those whose output is most like their input over the calibration data (one forward);
    "loss" drops one at a time the block without which the loss rises least. `include` and `exclude` name blocks.
    `nn.TransformerEncoder` is unfused first.
    Raises: SettingError; NothingToDoError without such blocks; LayerError if all would go.
    Reference: Men et al. 2024 (ShortGPT), arXiv:2403.03853.
    """

    name: ClassVar[str] = "prune.layers"

    pruning_ratio: float = 0.25  # fraction of blocks removed
    by: Choice = "similarity"

    def __post_init__(self) -> None:
        if not 0 < self.pruning_ratio < 1:
            raise SettingError(
                f"{self.name}: pruning_ratio is {self.pruning_ratio}; it must lie between 0 and 1, both excluded."
            )
        if self.by not in get_args(Choice):
            raise UnknownNameError("by", self.by, get_args(Choice), self.name)

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`."""
        assert task.calibration is not None
        yield from unfuse_all(model)
        inputs = next(iter(task.calibration))[0]
        blocks = [block for block in droppable(model, task, inputs) if self.selects(block.name)]
        if not blocks:
            raise NothingToDoError(
                f"{self.name}: no block that keeps the shape of its input is selected. Widen the patterns."
            )
        count = count_of(self.pruning_ratio, len(blocks))
        if count >= len(blocks):
            raise LayerError(f"{self.name}: pruning_ratio {self.pruning_ratio} would drop all blocks. Lower it.")
        if count == 0:
            yield Declined(blocks[0].name, f"{self.pruning_ratio:g} of {len(blocks)} blocks rounds to none")
        chosen = self._by_likeness(model, task, blocks, count)
        if self.by == "loss":
            for _ in range(count):
                best = min(blocks, key=lambda block: _loss_without(model, task, block))
                blocks.remove(best)
                yield DropLayer(best.name, best.in_tuple)
        else:
            yield from (DropLayer(block.name, block.in_tuple) for block in chosen)

    def _by_likeness(self, model: nn.Module, task: Task, blocks: list[Droppable], count: int) -> list[Droppable]:
        if self.by == "loss" or count == 0:
            return []
        assert task.calibration is not None
        likeness = similarities(model, task, [block.name for block in blocks])
        ranked = sorted(blocks, key=lambda block: -likeness.get(block.name, -math.inf))
        return sorted(ranked[:count], key=blocks.index)


@torch.no_grad()
def _loss_without(model: nn.Module, task: Task, block: Droppable) -> float:
    assert task.calibration is not None
    with skipped(model, block):
        losses = [float(_loss(model, task, inputs, target)) for inputs, target in task.calibration]
    mean = sum(losses) / len(losses)
    return mean if math.isfinite(mean) else math.inf


def _loss(model: nn.Module, task: Task, inputs: object, target: object) -> Tensor:
    return task.loss(task.predict(model, inputs), target)  # type: ignore[arg-type]
