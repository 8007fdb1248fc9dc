"""Weights stored in half precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, final, get_args

import torch
from torch import nn

from paring.core.edit import Changed, Declined, Step
from paring.core.recipe import Pass
from paring.core.task import Task
from paring.errors import LayerError, NothingToDoError, UnknownNameError
from paring.graph.edits.weight_only import Cast as CastEdit
from paring.graph.edits.weight_only import StoredAs
from paring.graph.folding import folds

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@final
@dataclass(frozen=True)
class Cast(Pass):
    """Float weights rounded to fp16 or bf16 and stored in two bytes (Micikevicius et al. 2018, arXiv:1710.03740).

    Half the file for almost no error. What the engine computes in belongs to the Target: a bf16 processor runs any
    file in bf16. Batch norms are folded first. Comes last: a later change would not be rounded.
    """

    name: ClassVar[str] = "quantize.cast"
    needs: ClassVar[frozenset[str]] = frozenset()
    # Not integers, but stored numbers all the same: whatever cannot follow those cannot follow these.
    traits: ClassVar[frozenset[str]] = frozenset({"integer weights"})
    cannot_follow: ClassVar[Mapping[str, str]] = {}

    dtype: StoredAs = "fp16"

    def __post_init__(self) -> None:
        if self.dtype not in get_args(StoredAs):
            raise UnknownNameError("dtype", self.dtype, get_args(StoredAs), self.name)

    @torch.no_grad()
    def run(self, model: nn.Module, task: Task) -> Iterator[Step]:
        """Rounds in place, layer by layer. Raises LayerError for weights beyond what fp16 holds, NothingToDoError."""
        yield from folds(model, task.example_inputs, self.selects)
        rounded: list[str] = []
        for name, module in list(model.named_modules()):
            floats = [p for p in module._parameters.values() if p is not None and p.dtype == torch.float32]
            if not floats or not self.selects(name):
                continue
            halves = [parameter.to(DTYPES[self.dtype]).to(torch.float32) for parameter in floats]
            if not all(bool(torch.isfinite(half).all()) for half in halves):
                if self.on_unsupported == "skip":
                    yield Declined(name, f"a weight is beyond what {self.dtype} holds")
                    continue
                raise LayerError(
                    f"{self.name}: {name}: a weight is beyond what {self.dtype} holds. Use bf16, or exclude it."
                )
            for parameter, half in zip(floats, halves, strict=True):
                parameter.copy_(half)
            yield CastEdit(name, self.dtype)
            rounded.append(name)
        if rounded:
            yield Changed(tuple(rounded))
        elif self.include or self.exclude:
            raise NothingToDoError(f"{self.name}: it finds no layer with float weights. Widen include and exclude.")
        else:
            yield Declined("the model", "no float weights are left in it")
