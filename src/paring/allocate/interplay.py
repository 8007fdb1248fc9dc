"""What options lose together: what each loses alone, and of every two the product of their moves (see `moves`).

Legend: O options of all units, one after another; U units.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from paring.allocate.moves import as_long_as, from_bytes
from paring.allocate.option import Choice, Option, Unit
from paring.allocate.table import Entry, Table

Floats = NDArray[np.float64]

HELD = 0.6
"""The part of the products that whole models keep. Each layer is rounded and cut behind those before it, and so takes
back some of what they moved. Chosen on the text encoder; its worth elsewhere: `benchmarks/search.py foretold`."""


class Interplay:
    """Of the options of a table; those whose move is not known add nothing to one another."""

    def __init__(self, table: Table) -> None:
        self.entries: list[Entry] = [entry for entries in table.values() for entry in entries]
        self.unit_O = np.repeat(np.arange(len(table)), [len(entries) for entries in table.values()])
        self._units = list(table)
        self._places = {
            (self._units[unit], entry.option): place
            for place, (unit, entry) in enumerate(zip(self.unit_O, self.entries, strict=True))
        }
        self._own_O = np.array([entry.loss for entry in self.entries])
        self._products_OO = HELD * _products(self.entries)

    def places(self, choice: Choice) -> NDArray[np.intp]:
        """(U,): where the chosen options stand."""
        return np.array([self._places[unit, choice[unit]] for unit in self._units], dtype=np.intp)

    def choice(self, places_U: NDArray[np.intp]) -> Mapping[Unit, Option]:
        """The options that stand there."""
        return {unit: self.entries[place].option for unit, place in zip(self._units, places_U, strict=True)}

    def loss(self, choice: Choice) -> float:
        """Foretold of all of them together, never below 0."""
        places_U = self.places(choice)
        products_UU = self._products_OO[np.ix_(places_U, places_U)]
        added = (products_UU.sum() - products_UU.trace()) / 2
        return max(float(self._own_O[places_U].sum() + added), 0.0)

    def changes(self, places_U: NDArray[np.intp]) -> Floats:
        """(O, O): by how much the loss changes with an option of one unit and another of a later unit in place of those
        at `places_U`, and on the diagonal with one option alone; inf elsewhere, and for what is at those places."""
        now_O = places_U[self.unit_O]
        own_O = self._own_O + self._products_OO[:, places_U].sum(1) - self._products_OO[np.arange(len(now_O)), now_O]
        alone_O = own_O - own_O[now_O]
        new_OO = self._products_OO - self._products_OO[now_O]
        changes_OO: Floats = alone_O[:, None] + alone_O[None, :] + new_OO - new_OO[:, now_O]
        changes_OO[self.unit_O[:, None] >= self.unit_O[None, :]] = np.inf
        np.fill_diagonal(changes_OO, alone_O)
        changes_OO[places_U], changes_OO[:, places_U] = np.inf, np.inf
        return changes_OO


def _products(entries: list[Entry]) -> Floats:
    moves = [as_long_as(from_bytes(entry.direction), entry.loss) for entry in entries]
    moves_ON = np.zeros((len(moves), max(map(len, moves), default=0)))
    for row_N, move in zip(moves_ON, moves, strict=True):
        row_N[: len(move)] = move
    products_OO: Floats = moves_ON @ moves_ON.T
    return products_OO
