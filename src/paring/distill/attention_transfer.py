"""Attention transfer: the student learns where the teacher looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from paring.core.objective import Objective, Scorer, Seen
from paring.core.task import Task
from paring.distill.answers import kept_positions
from paring.distill.pairs import Pair, alike, pairs_of
from paring.numerics.relations import attention_gap


@final
@dataclass(frozen=True)
class AttentionTransfer(Objective):
    """Distance of activation maps, the channels' squares summed (Zagoruyko & Komodakis 2017, arXiv:1612.03928).

    The knowledge transferred: which places of an image, or tokens of a text, the teacher responds to, whatever its
    number of channels. `layers` are (student layer, teacher layer) pairs that give maps or tokens; left empty they are
    proposed by shape and depth. Maps of other sizes are pooled; tokens that `inputs[mask]` marks 0 do not count. Behind
    a LayerNorm every token responds alike: for encoders use `distill.self_attention`. It says nothing about the
    answers: sum it with `distill.response` in `distill.weighted`.
    Raises: LayerError where student or teacher has one vector an example and no positions.
    """

    name: ClassVar[str] = "distill.attention_transfer"

    layers: tuple[tuple[str, str], ...] = ()
    mask: str = "attention_mask"

    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> Scorer:
        """See `Objective.bind`. Raises UnknownNameError, ShapeError, LayerError as `pairs_of` does."""
        pairs = pairs_of(self.layers, student, teacher, task, self.name, with_positions=True)
        return Scorer(
            lambda seen: torch.stack([self._gap(seen, pair) for pair in pairs]).mean(),
            student_layers=tuple(pair.student for pair in pairs),
            teacher_layers=tuple(pair.teacher for pair in pairs),
        )

    def _gap(self, seen: Seen, pair: Pair) -> Tensor:
        s, t = alike(seen.student_layers[pair.student], seen.teacher_layers[pair.teacher], pair)
        keep = kept_positions(seen.inputs, self.mask, s.shape[:-1])
        return attention_gap(s.flatten(1, -2).transpose(1, 2), t.flatten(1, -2).transpose(1, 2), keep)
