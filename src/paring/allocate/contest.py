"""Of several plans within one budget, the one that loses least with all its options together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from paring.allocate.losses import Yardstick
from paring.allocate.option import DENSE, Option, by_layer
from paring.allocate.plan import Limits, Plan
from paring.allocate.table import Table
from paring.allocate.whole import Whole, joint
from paring.core.edit import Progress

MOST, NEAR = 8, 2.0  # plans that are tried, and how many times the least foretold loss they may be foretold


@dataclass(frozen=True)
class Found:
    """A plan, what it was chosen from, and its budget."""

    plan: Plan
    table: Table
    whole: Whole
    limits: Limits


def families(table: Table) -> Iterator[Table]:
    """The table with one family of its options at a time: bits alone, and every structure alone in floats.

    They are within the table itself, but losses of options are added as if none knew of the others, and what a single
    family loses is often foretold better than what a mix loses.
    """
    structures = {entry.option.structure for entries in table.values() for entry in entries} - {DENSE.structure}
    yield _only(table, lambda option: option.structure == DENSE.structure)
    for structure in sorted(structures):
        yield _only(table, lambda option, own=structure: option in (DENSE, Option(own, option.amount)))  # type: ignore[misc]


def best_of(
    found: Sequence[Found], model: nn.Module, ruler_of: Callable[[], Yardstick]
) -> Generator[Progress, None, Found]:
    """The one of least real joint loss among the MOST of least foretold loss that are NEAR the least.

    `ruler_of` is asked only where there are several.
    """
    different: dict[frozenset[tuple[str, Option, bool]], Found] = {}
    for one in found:
        different.setdefault(by_layer(one.plan.choice), one)
    ranked = sorted(different.values(), key=lambda one: one.plan.loss)
    near = [one for one in ranked if one.plan.loss <= NEAR * ranked[0].plan.loss][:MOST]
    if len(near) == 1:
        return near[0]
    ruler, losses = ruler_of(), list[float]()
    for number, one in enumerate(near):
        yield Progress(number, len(near), f"trying plans: foretold loss {one.plan.loss:.4g}")
        losses.append(ruler.loss(joint(model, ruler.task, one.plan.choice)))
    told = ", ".join(f"{loss:.4g} (foretold {one.plan.loss:.4g})" for one, loss in zip(near, losses, strict=True))
    yield Progress(len(near), len(near), f"plans by their joint loss: {told}")
    return near[losses.index(min(losses))]


def _only(table: Table, keeps: Callable[[Option], bool]) -> Table:
    return {unit: [entry for entry in entries if keeps(entry.option)] for unit, entries in table.items()}
