"""Feature distillation: the student's layers learn to foretell the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from paring.core.objective import Objective, Scorer, Seen
from paring.core.task import Task
from paring.distill.answers import kept_positions
from paring.distill.pairs import Pair, alike, pairs_of
from paring.graph.watch import glimpse
from paring.numerics.relations import relative_error


@final
@dataclass(frozen=True)
class Features(Objective):
    """Error of linear guesses at the teacher's layers from the student's (Romero et al. 2015, arXiv:1412.6550).

    The knowledge transferred: what the teacher sees inside, before it decides. A regressor for each pair, learned
    along and thrown away, carries the student's channels to the teacher's; its squared error counts in units of the
    teacher's mean square (over the first batch of calibration), so that 1 is a guess of zeros. Where the widths agree
    it starts as the identity, so that a student cut out of its teacher is held to what it knows already. `layers` are
    (student layer, teacher layer) pairs; left empty they are proposed by shape and depth. Maps of other sizes are
    pooled; tokens that `inputs[mask]` marks 0 do not count. It says nothing about the answers: sum it with
    `distill.response` in `distill.weighted`.
    """

    name: ClassVar[str] = "distill.features"

    layers: tuple[tuple[str, str], ...] = ()
    mask: str = "attention_mask"

    def bind(self, student: nn.Module, teacher: nn.Module, task: Task) -> Scorer:
        """See `Objective.bind`. Raises UnknownNameError, ShapeError, LayerError as `pairs_of` does."""
        pairs = pairs_of(self.layers, student, teacher, task, self.name)
        sizes = _mean_squares(teacher, pairs, task)
        regressors = [_regressor(pair) for pair in pairs]

        def loss(seen: Seen) -> Tensor:
            found = [self._error(seen, *one) for one in zip(pairs, regressors, sizes, strict=True)]
            return torch.stack(found).mean()

        return Scorer(
            loss,
            learned=tuple(p for one in regressors for p in one.parameters()),
            student_layers=tuple(pair.student for pair in pairs),
            teacher_layers=tuple(pair.teacher for pair in pairs),
        )

    def _error(self, seen: Seen, pair: Pair, regressor: nn.Linear, size: float) -> Tensor:
        s, t = alike(seen.student_layers[pair.student], seen.teacher_layers[pair.teacher], pair)
        keep = kept_positions(seen.inputs, self.mask, s.shape[:-1])
        if keep is not None:
            s, t = s[keep], t[keep]
        return relative_error(regressor(s), t, size)


def _regressor(pair: Pair) -> nn.Linear:
    regressor = nn.Linear(pair.student_width, pair.teacher_width)
    if pair.student_width == pair.teacher_width:
        nn.init.eye_(regressor.weight)
        nn.init.zeros_(regressor.bias)
    return regressor


def _mean_squares(teacher: nn.Module, pairs: Sequence[Pair], task: Task) -> list[float]:
    inputs, _ = next(iter(task.real_inputs()))
    seen = glimpse(teacher, task, [pair.teacher for pair in pairs], Features.name, inputs)
    return [float(seen[pair.teacher].float().square().mean()) for pair in pairs]
