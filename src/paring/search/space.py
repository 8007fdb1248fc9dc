"""Which recipes there are to try: proven compositions with their amounts, and the budget solver at several budgets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from paring.allocate.losses import kind_of
from paring.allocate.step import Allocate
from paring.core.recipe import Pass, Recipe
from paring.core.target import Target
from paring.core.task import Task, outputs_and_targets
from paring.distill.response import Response
from paring.factorize.rank import Ratio
from paring.factorize.whitened_svd import WhitenedSvd
from paring.finetune import Finetune
from paring.graph.operands import find_operands
from paring.graph.sites import layers_of, sharers
from paring.prune.channels import Channels
from paring.prune.neurons import Neurons
from paring.quantize.cast import Cast
from paring.quantize.dynamic import Dynamic
from paring.quantize.embedding import Embedding
from paring.quantize.gptq import Gptq
from paring.quantize.plan import chosen_operations
from paring.quantize.static import Static
from paring.recipe_io import recipe_hash
from paring.search.draws import Draws, Scripted

RESPONSES = {"classes": "classes", "logit": "classes", "log rate": "poisson", "value": "mse", "squares": "mse"}
RATIOS = (0.25, 0.5, 0.625, 0.75, 0.875)
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
LOSSES = (1.0, 0.5, 2.0, 4.0)  # that a solver's plan is foretold, in drops that the budget allows
MOST_LOSS = 0.2  # a drop above it is no fraction of answers
CLASSES = ("classes", "logit")
SPEEDUPS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
ENCODER_RATE, RATE = 1e-4, 1e-3  # of recovery, before the sampler knows better


@dataclass(frozen=True)
class Space:
    """What may be drawn for a task. `epochs` are the lengths of recovery, none where the task has no training data.

    `has_tables`: it has embedding tables, which go to integers with everything else. `precision` is that of recovery.
    With `losses` the solver is asked for the fastest plan that is foretold to lose one of them, else for so many times
    faster.
    """

    families: tuple[str, ...]
    finishes: tuple[str, ...]
    epochs: tuple[int, ...]
    response: str
    target: Target
    has_tables: bool = False
    precision: Literal["fp32", "bf16"] = "fp32"
    losses: tuple[float, ...] = ()

    def recipe(self, draws: Draws) -> Recipe:
        """One recipe, named by its hash. Its draws are few and coarse, so that recipes share their first steps."""
        family = draws.choose("family", self.families)
        if family == "allocate":
            steps: list[Pass] = [self._allocate(draws)]
        else:
            steps = [] if family == "store" else [self._cut(family, draws.choose("ratio", RATIOS))]
            if steps and (recovery := self._recovery(draws)) is not None:
                steps.append(recovery)
            steps += self._finish(draws.choose("finish", self.finishes[1:] if not steps else self.finishes))
        return named(Recipe(tuple(steps)))

    def first(self, quick: bool) -> list[Scripted]:
        """What is tried before anything is known.

        Where integers are `quick`, they alone are two to three times as fast as floats: the solver is asked for more.
        """
        fast, faster = (4.0, 6.0) if quick else (2.0, 3.0)
        asks: list[dict[str, float]] = [{"speedup": fast, "shrink": 4.0}, {"speedup": faster, "shrink": 4.0}]
        if self.losses:
            asks = [{"loss": loss, "shrink": 2.0} for loss in (*self.losses[:2], self.losses[-1])]
        *mild, strong = asks
        rate = ENCODER_RATE if "neurons" in self.families else RATE
        scripts: tuple[Mapping[str, Any], ...] = (
            {"family": "store", "finish": "int8"},
            {"family": "store", "finish": "int8 adds"},
            {"family": "store", "finish": "half"},
            {"family": "neurons", "ratio": 0.25, "finish": "int8", "epochs": 0},
            *({"family": "allocate", "epochs": 0, **ask} for ask in mild),
            {"family": "neurons", "ratio": 0.5, "finish": "int8", "epochs": 2},
            {"family": "channels", "ratio": 0.5, "finish": "int8", "epochs": 2},
            {"family": "allocate", "epochs": 2, **strong},
            {"family": "rank", "ratio": 0.5, "finish": "int8", "epochs": 1},
        )
        return [
            Scripted({"learning_rate": rate, **one})
            for one in scripts
            if one["family"] in self.families and one.get("finish", self.finishes[0]) in self.finishes
        ]

    def _cut(self, family: str, ratio: float) -> Pass:
        if family == "channels":
            return Channels(pruning_ratio=ratio, importance="obs", round_to=8, on_unsupported="skip")
        if family == "neurons":
            return Neurons(pruning_ratio=ratio, importance="obs", round_to=8, on_unsupported="skip")
        return WhitenedSvd(rank=Ratio(1 - ratio / 2), on_unsupported="skip")

    def _allocate(self, draws: Draws) -> Pass:
        asked: dict[str, float] = (
            {"max_loss": draws.choose("loss", self.losses)}
            if self.losses
            else {"speedup": draws.choose("speedup", SPEEDUPS)}
        )
        return Allocate(
            **asked,  # type: ignore[arg-type]
            shrink=draws.choose("shrink", (2.0, 4.0, 8.0)),
            target=self.target,
            recovery=self._recovery(draws),
            swaps=draws.choose("swaps", (0, 4)),
        )

    def _recovery(self, draws: Draws) -> Finetune | None:
        epochs = draws.choose("epochs", self.epochs)
        if not epochs:
            return None
        objective = Response(
            temperature=draws.choose("temperature", (4.0, 1.0, 2.0, 8.0)),
            alpha=draws.choose("alpha", (0.9, 0.5, 0.7, 1.0)),
            kind=self.response,  # type: ignore[arg-type]
        )
        rate = draws.choose("learning_rate", RATES)
        return Finetune(epochs=epochs, learning_rate=rate, objective=objective, precision=self.precision)

    def _finish(self, finish: str) -> list[Pass]:
        tables: list[Pass] = [Embedding()] if self.has_tables else []
        made: dict[str, list[Pass]] = {
            "float": [],
            "int8": [*tables, Static()],
            "int8 adds": [*tables, Static(placement="adds")],
            "dynamic": [*tables, Dynamic()],
            "half": [Cast()],
            "int4": [*tables, Gptq(num_bits=4)],
        }
        return made[finish]


def space_for(task: Task, target: Target, *, max_epochs: int = 4, max_drop: float | None = None) -> Space:
    """The space that the task's data and layers allow. `max_drop` is what the budget allows where speed is the goal:
    of a classifier's accuracy it is rarely above the divergence of the answers, which the solver foretells."""
    kinds = [type(module) for module in task.model.modules()]
    has_linears = any(issubclass(kind, nn.Linear) for kind in kinds)
    calibrated = task.calibration is not None
    families = ["store"]
    families += ["allocate", "channels"] if calibrated else []
    families += ["rank"] if calibrated and has_linears else []
    families += ["neurons"] if calibrated and any(issubclass(kind, nn.LayerNorm) for kind in kinds) else []
    finishes = ["float", "half", *(["int8", "int4"] if calibrated else ["dynamic"])]
    if calibrated and _has_adds(task):
        finishes.append("int8 adds")
    if calibrated and has_linears:
        finishes.append("dynamic")
    lengths: Sequence[int] = [n for n in (0, 1, 2, 4, 8, 16) if n <= max_epochs] if task.train is not None else [0]
    before, _ = outputs_and_targets(task, task.model, [next(iter(task.validation))])
    kind = kind_of(before, task)
    classes = kind in CLASSES
    losses = tuple(max_drop * one for one in LOSSES) if classes and max_drop and 0 < max_drop < MOST_LOSS else ()
    precision: Literal["fp32", "bf16"] = "bf16" if classes else "fp32"  # fp32 where that is not quick
    tables = _has_tables(task.model)
    return Space(tuple(families), tuple(finishes), tuple(lengths), RESPONSES[kind], target, tables, precision, losses)


def _has_tables(model: nn.Module) -> bool:
    """Whether there is an embedding that `quantize.embedding` takes: of its own weight, its rows as they are."""
    tied = sharers(model)
    tables = layers_of(model, (nn.Embedding, nn.EmbeddingBag))
    return any(name not in tied and table.max_norm is None for name, table in tables)


def _has_adds(task: Task) -> bool:
    """Whether there is an addition that `quantize.static` with `placement="adds"` takes."""
    operations = find_operands(task.model, task.example_inputs, task.dynamic_dims)
    return bool(chosen_operations(operations, adds=True))


def named(recipe: Recipe) -> Recipe:
    """The recipe under a name that tells its steps and, by four digits, its settings."""
    steps = " + ".join(step.name for step in recipe.passes)
    digits = hashlib.sha256(recipe_hash(recipe).encode()).hexdigest()[:4]
    return Recipe(recipe.passes, recipe.name or f"{steps} {digits}")
