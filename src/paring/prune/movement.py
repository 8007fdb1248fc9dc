"""Unstructured pruning by learned scores: a weight stays if training moves it away from zero."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar, final, get_args

import torch
from torch import Tensor, nn

from paring.core.edit import Step, accepted
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import SettingError, UnknownNameError
from paring.graph.edits.unfuse import unfuse_all
from paring.graph.masking import Site, choose_masks, sites
from paring.numerics.importance import NM, Scope
from paring.prune.scores import Importance, Initial, Scores, scores_for
from paring.prune.settings import Cubic, check_sparsity

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)
BEGIN = 0.1


@final
@dataclass(frozen=True)
class Movement(Pass):
    """Trains the model while scores learn which weights to keep; those of the lowest scores are zero in the forward.

    A score begins at half the weight squared and changes as that would under steps of Adam without momentum, `rate`
    times the schedule's highest learning rate; the gradient is taken at the masked weight, so that a removed weight may
    come back. At rate 1 kept weights rank about as by magnitude, and the greater the rate, the more by where training
    moves them: in a short training a rate above 1 follows the first transient. `initial="zero"` forgets the magnitudes,
    as the paper does. `importance="sensitivity"` asks how much the loss would change without the weight, not where
    training moves it (PLATON). `rate` is for scores that begin at magnitudes; the others are only compared with each
    other. Sparsity rises on the cubic schedule; `schedule.objective` may be any (so: distilled). `pattern` asks for
    N:M.
    Raises: SettingError, UnknownNameError. Reference: Sanh, Wolf & Rush 2020, arXiv:2005.07683; sensitivity: Zhang et
    al. 2022 (PLATON), arXiv:2206.12562.
    """

    name: ClassVar[str] = "prune.movement"
    needs: ClassVar[frozenset[str]] = frozenset({"train"})
    traits: ClassVar[frozenset[str]] = frozenset({"zeros"})
    cannot_follow: ClassVar[Mapping[str, str]] = {
        "integer weights": "integer weights do not learn. Prune first, then quantize."
    }

    sparsity: float = 0.5  # fraction of zeros
    scope: Scope = "layer"
    pattern: NM | None = None
    importance: Importance = "movement"
    rate: float = 1.0  # of the scores, in learning rates of the weights
    initial: Initial = "magnitude"
    schedule: Cubic = field(default_factory=lambda: Cubic(begin=BEGIN))

    def __post_init__(self) -> None:
        check_sparsity(self.name, self.sparsity, self.pattern, Movement.sparsity)
        if self.scope not in get_args(Scope):
            raise UnknownNameError("scope", self.scope, get_args(Scope), self.name)
        for setting, value, known in (("importance", self.importance, Importance), ("initial", self.initial, Initial)):
            if value not in get_args(known):
                raise UnknownNameError(setting, value, get_args(known), self.name)
        if not 0 < self.rate < math.inf:
            raise SettingError(f"{self.name}: rate is {self.rate}; it must be a finite number above 0.")
        if self.schedule.begin <= 0:
            raise SettingError(f"{self.name}: schedule.begin is 0; scores need some steps before the first zeros.")

    def requirements(self) -> frozenset[str]:
        """Training data, and what the objective asks for."""
        return self.needs | self.schedule.needs()

    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """See `Pass.run`."""
        yield from unfuse_all(model)
        chosen = yield from accepted(sites(self, model, KINDS, pattern=self.pattern))
        for site in chosen:
            yield from site.edits()
        final = self.sparsity if self.pattern is None else self.pattern.sparsity
        with ExitStack() as stack:
            pace = self.rate * self.schedule.learning_rate
            learners = [
                _Learner(site, model, scores_for(self.importance, self.initial, site.weight(model).detach(), pace))
                for site in chosen
            ]
            for learner in learners:
                stack.callback(learner.hook.remove)

            def put(sparsity: float) -> None:
                least = min(learner.least() for learner in learners) if self.scope == "global" else None
                scores = [learner.scores(least) for learner in learners]
                for one, mask in zip(learners, choose_masks(scores, sparsity, self.pattern, self.scope), strict=True):
                    one.put_(mask)

            def carried() -> list[Tensor]:
                return [tensor for one in learners for tensor in one.state()]

            yield from self.schedule.run(model, task, final, put, repr(self), carried)


class _Learner:
    """The scores of one weight, and the values its removed entries had when they went."""

    def __init__(self, site: Site, model: nn.Module, scores: Scores) -> None:
        self._site, self._model, self._scores = site, model, scores
        self._weight = site.weight(model)
        self._gone_before = site.gone(model)
        if self._gone_before is not None:
            self._gone_before = self._gone_before.clone()
        self._latent = self._weight.detach().clone()
        self.hook = self._weight.register_post_accumulate_grad_hook(self._learn)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _learn(self, weight: Tensor) -> None:
        """Called behind every backward, with the latent value where the mask has a zero."""
        assert weight.grad is not None
        self._latent = self._latent.to(weight.device)
        self._scores.to_(weight.device)
        self._latent = torch.where(weight != 0, weight, self._latent)
        self._scores.learn_(self._latent.float(), weight.grad.float())

    def state(self) -> tuple[Tensor, ...]:
        """What a checkpoint must hold of it."""
        return self._latent, *self._scores.state()

    def least(self) -> float:
        """The lowest score."""
        return float(self._scores.value.min())

    def scores(self, least: float | None) -> Tensor:
        """Scores above `least` (their own lowest without it), and -1 where an earlier pass removed the weight."""
        shifted = self._scores.value - (self._scores.value.min() if least is None else least)
        gone = self._gone_before
        return shifted if gone is None else shifted.masked_fill(gone.to(shifted.device), -1.0)

    @torch.no_grad()
    def put_(self, mask: Tensor) -> None:
        """Sets the mask; what comes back has the value with which it went."""
        self._latent = torch.where(self._weight != 0, self._weight, self._latent)
        self._weight.copy_(self._latent)
        self._site.put_(self._model, mask)
