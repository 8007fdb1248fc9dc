"""Self-attention distillation: the student learns how the teacher's tokens relate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from paring.core.objective import Objective, Scorer, Seen
from paring.core.task import Task
from paring.distill.answers import kept_positions
from paring.errors import LayerError, SettingError, UnknownNameError
from paring.graph.attention import Attention, attentions
from paring.numerics.relations import relation_gap


@final
@dataclass(frozen=True)
class SelfAttention(Objective):
    """Relations between queries, between keys and between values (Wang et al. 2021, MiniLMv2, arXiv:2012.15828).

    The knowledge transferred: which tokens the teacher relates to which, in one layer, whatever the number and width
    of its heads. Compared are one attention of each, `student_layer` and `teacher_layer`; left out, the last ones. All
    heads are split anew into `num_relations` parts; left out, as many as the widths allow, at most the teacher's
    heads. Tokens that `inputs[mask]` marks 0 do not count. `nn.TransformerEncoder` is unfused first. It says nothing
    about the answers: sum it with `distill.response` in `distill.weighted`.
    Raises: LayerError where student or teacher has no attention with query, key and value Linears.
    """

    name: ClassVar[str] = "distill.self_attention"

    student_layer: str | None = None
    teacher_layer: str | None = None
    num_relations: int | None = None
    mask: str = "attention_mask"

    def __post_init__(self) -> None:
        if self.num_relations is not None and self.num_relations < 1:
            raise SettingError(f"{self.name}: num_relations is {self.num_relations}; it must be at least 1.")

    def unfuses(self) -> bool:
        """See `Objective.unfuses`."""
        return True

    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> Scorer:
        """See `Objective.bind`."""
        own = self._chosen(student, self.student_layer, "student")
        other = self._chosen(teacher, self.teacher_layer, "teacher")
        widths = own.num_heads * own.head_dim, other.num_heads * other.head_dim
        parts = self.num_relations or _parts(*widths, other.num_heads)
        if any(width % parts for width in widths):
            raise SettingError(f"{self.name}: num_relations is {parts}; it must divide {widths[0]} and {widths[1]}.")

        def loss(seen: Seen) -> Tensor:
            gaps = []
            for a, b in zip(own.inputs, other.inputs, strict=True):
                s, t = seen.student_layers[a].float(), seen.teacher_layers[b].float()
                gaps.append(relation_gap(s, t, parts, kept_positions(seen.inputs, self.mask, s.shape[:2])))
            return torch.stack(gaps).mean()

        return Scorer(loss, student_layers=own.inputs, teacher_layers=other.inputs)

    def _chosen(self, model: nn.Module, layer: str | None, whose: str) -> Attention:
        found = {one.name: one for one in attentions(model)}
        if not found:
            raise LayerError(f"{self.name}: the {whose} has no attention with query, key and value Linears.")
        if layer is None:
            return list(found.values())[-1]
        if layer not in found:
            raise UnknownNameError("attention", layer, found, f"{self.name}: {whose}")
        return found[layer]


def _parts(student_width: int, teacher_width: int, num_heads: int) -> int:
    common = math.gcd(student_width, teacher_width)
    return max(parts for parts in range(1, num_heads + 1) if common % parts == 0)
