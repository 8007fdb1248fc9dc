"""Outputs of student and teacher as rows of class logits: one per example, or one per position that counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paring.core.objective import Seen
from paring.core.task import Inputs
from paring.errors import ShapeError, TaskError

IGNORED = -100  # the label that torch's cross entropy leaves out


@dataclass(frozen=True)
class Rows:
    """Logits of student and teacher, (N, classes) float32, and the labels, (N,), where the batch has class labels."""

    student_NC: Tensor
    teacher_NC: Tensor
    target_N: Tensor | None


def pair_of(seen: Seen, where: str) -> tuple[Tensor, Tensor]:
    """Both outputs in float32. Raises ShapeError if they differ in shape."""
    assert seen.teacher is not None
    if seen.student.shape != seen.teacher.shape:
        raise ShapeError(
            f"{where}: the student answers {tuple(seen.student.shape)}, the teacher {tuple(seen.teacher.shape)}; "
            "they must be of one shape. Give the student the teacher's last layer, or use distill.relational."
        )
    return seen.student.float(), seen.teacher.float()


def rows_of(seen: Seen, where: str, class_dim: int = 1, mask: str = "attention_mask") -> Rows:
    """One row of logits an example, or a position: (b, C), (b, C, ...) or, at class_dim=-1, (b, ..., C).

    One output an example, (b,) or (b, 1), is the logit of the second of two classes. Positions whose label is -100,
    or that `inputs[mask]` marks 0, are left out. Raises: ShapeError.
    """
    student, teacher = pair_of(seen, where)
    if student.dim() == 1:
        student, teacher = student[:, None], teacher[:, None]
    if not -student.dim() <= class_dim < student.dim() or class_dim % student.dim() == 0:
        raise ShapeError(f"{where}: class_dim is {class_dim}, and the outputs are {tuple(student.shape)}.")
    student, teacher = student.movedim(class_dim, -1), teacher.movedim(class_dim, -1)
    if student.shape[-1] == 1:
        student, teacher = (torch.cat((torch.zeros_like(x), x), -1) for x in (student, teacher))
    positions = student.shape[:-1]
    target = class_labels(seen.target, positions)
    keep = kept_positions(seen.inputs, mask, positions)
    if target is not None:
        keep = (target != IGNORED) if keep is None else keep & (target != IGNORED)
    rows = [student.flatten(0, -2), teacher.flatten(0, -2)]
    labels = None if target is None else target.flatten()
    if keep is not None and not bool(keep.all()):
        chosen = keep.flatten()
        rows = [part[chosen] for part in rows]
        labels = None if labels is None else labels[chosen]
    return Rows(rows[0], rows[1], labels)


def labels_of(rows: Rows, where: str) -> Tensor:
    """The class labels, (N,). Raises TaskError where the batch has none."""
    if rows.target_N is None:
        raise TaskError(f"{where}: needs class labels, one an answer, and the batch has none. Use distill.response.")
    return rows.target_N


def class_labels(target: Any, positions: torch.Size) -> Tensor | None:
    """Whole-number labels of the shape of `positions`, or None where the targets are something else."""
    if not isinstance(target, Tensor) or target.numel() != positions.numel():
        return None
    if target.is_floating_point() and not bool((target == target.round()).all()):
        return None
    return target.reshape(positions).long()


def kept_positions(inputs: Inputs, mask: str, positions: torch.Size) -> Tensor | None:
    """Which of (b, t) positions hold something, by `inputs[mask]`; None where there is no such mask."""
    found = inputs.get(mask) if isinstance(inputs, Mapping) else None
    return found.bool() if isinstance(found, Tensor) and len(positions) > 1 and found.shape == positions else None
