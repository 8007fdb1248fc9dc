"""What a recipe made of a model: the edits and the state, from which the model is rebuilt bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from paring.core.edit import Declined, Edit, Epoch
from paring.core.recipe import Recipe


@dataclass(frozen=True)
class Candidate:
    """Recipe, edit log and state. `paring.candidates.rebuild(candidate, task)` gives the model.

    `state` holds every parameter and buffer once, persistent or not; `aliases` maps the further names of a shared
    tensor to the name under which it stands in `state`. `history` holds every epoch of every training, in order.
    """

    recipe: Recipe
    edits: tuple[Edit, ...]
    declined: tuple[Declined, ...]
    state: Mapping[str, Tensor] = field(repr=False, hash=False, compare=False)
    aliases: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False, compare=False)
    history: tuple[Epoch, ...] = field(default=(), repr=False, hash=False, compare=False)

    @property
    def name(self) -> str:
        """The recipe's name, as it stands in tables."""
        return str(self.recipe)
