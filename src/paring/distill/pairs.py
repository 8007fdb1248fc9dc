"""Which layer of the student learns from which of the teacher, named or proposed, and their outputs brought alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from paring.core.task import Task
from paring.errors import LayerError, ShapeError
from paring.graph.stages import layout_of, matched, stages
from paring.graph.watch import glimpse


@dataclass(frozen=True)
class Pair:
    """Two layers with the channel dimension and the width of what each gives."""

    student: str
    teacher: str
    student_dim: int
    teacher_dim: int
    student_width: int
    teacher_width: int


def pairs_of(
    named: tuple[tuple[str, str], ...],
    student: nn.Module,
    teacher: nn.Module,
    task: Task,
    where: str,
    *,
    with_positions: bool = False,
) -> list[Pair]:
    """The pairs `named`, or, where that is empty, those proposed by shape and depth.

    Raises: UnknownNameError for a layer that does not exist; ShapeError for two that cannot be compared; LayerError
    if none can be proposed.
    """
    chosen = list(named) or matched(stages(student, task), stages(teacher, task), with_positions=with_positions)
    if not chosen:
        what = "with positions (maps, tokens) " if with_positions else ""
        raise LayerError(
            f"{where}: student and teacher have no layers {what}of like shape to pair. "
            "Name some: layers=((student layer, teacher layer), ...)."
        )
    seen_s = glimpse(student, task, [one for one, _ in chosen], f"{where}: student")
    seen_t = glimpse(teacher, task, [other for _, other in chosen], f"{where}: teacher")
    pairs = []
    for one, other in chosen:
        s, t = seen_s[one], seen_t[other]
        dims = layout_of(student, one, s), layout_of(teacher, other, t)
        places = [_positions(x, dim) for x, dim in zip((s, t), dims, strict=True)]
        if len(places[0]) != len(places[1]) or (len(places[0]) == 1 and places[0] != places[1]):
            raise ShapeError(
                f"{where}: {one} gives {tuple(s.shape)} and the teacher's {other} {tuple(t.shape)}: "
                "they have other positions. Pair layers that see the same ones."
            )
        if with_positions and not places[0]:
            raise ShapeError(f"{where}: {one} gives {tuple(s.shape)}, one vector an example. Pair maps or tokens.")
        pairs.append(Pair(one, other, dims[0], dims[1], s.shape[dims[0]], t.shape[dims[1]]))
    return pairs


def alike(student: Tensor, teacher: Tensor, pair: Pair) -> tuple[Tensor, Tensor]:
    """Both as float32 with channels last, (b, ..., c); the larger maps pooled to the size of the smaller."""
    s, t = student.float().movedim(pair.student_dim, 1), teacher.float().movedim(pair.teacher_dim, 1)
    size = tuple(min(a, b) for a, b in zip(s.shape[2:], t.shape[2:], strict=True))
    if len(size) == 2:
        s, t = (x if x.shape[2:] == size else F.adaptive_avg_pool2d(x, size) for x in (s, t))
    return s.movedim(1, -1), t.movedim(1, -1)


def _positions(tensor: Tensor, channel_dim: int) -> tuple[int, ...]:
    return tuple(size for place, size in enumerate(tensor.shape) if place not in (0, channel_dim))
