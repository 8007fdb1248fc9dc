"""What may stand in place of a unit's layers, as the passes that make it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from paring.core.recipe import Pass
from paring.factorize.rank import Ratio
from paring.factorize.svd import Svd
from paring.factorize.whitened_svd import WhitenedSvd
from paring.prune.channels import Channels
from paring.prune.obs import Obs
from paring.quantize.cast import Cast
from paring.quantize.embedding import Embedding
from paring.quantize.gptq import Gptq
from paring.quantize.static import Static
from paring.quantize.weight_only import WeightOnly

Structure = Literal["dense", "width", "rank", "sparsity"]
Precision = Literal["float", "half", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, order=True)
class Option:
    """One composite: a structure with its amount, and how the numbers are stored and multiplied.

    `amount` is the fraction of channels removed (width), of the numbers kept (rank) or of zeros (sparsity).
    """

    structure: Structure = "dense"
    amount: float = 0.0
    precision: Precision = "float"

    def __str__(self) -> str:
        return self.precision if self.structure == "dense" else f"{self.structure} {self.amount:g}, {self.precision}"


@dataclass(frozen=True)
class Unit:
    """Layers that are chosen for together. `producers` are those whose output channels may go, `tables` embeddings."""

    name: str
    layers: tuple[str, ...]
    producers: tuple[str, ...] = ()
    linears: tuple[str, ...] = ()
    is_table: bool = False


Choice = Mapping[Unit, Option]
DENSE = Option()


def shape_passes(choice: Choice) -> list[Pass]:
    """Passes to the same shapes and types by the cheapest criteria: for the clock, and for what a file holds beside
    its numbers."""
    steps: list[Pass] = []
    for ratio, names in _by_amount(choice, "width", lambda unit: unit.producers):
        bare = Channels(pruning_ratio=ratio, include=names, reconstruct=False, reestimate=False, on_unsupported="skip")
        steps.append(bare)
    for ratio, names in _by_amount(choice, "rank", lambda unit: unit.linears):
        steps.append(Svd(rank=Ratio(ratio), include=names, on_unsupported="skip"))
    few_bits = [unit for unit, option in choice.items() if option.precision == "int4"]
    if names := _all_of(unit for unit in few_bits if not unit.is_table):
        steps.append(WeightOnly(num_bits=4, clip=False, include=names, on_unsupported="skip"))
    if names := _all_of(unit for unit in few_bits if unit.is_table):
        steps.append(Embedding(num_bits=4, clip=False, include=names, on_unsupported="skip"))
    return [*steps, *precision_passes({unit: option for unit, option in choice.items() if unit not in few_bits})]


def structure_passes(choice: Choice) -> list[Pass]:
    """The passes that give the units their structure: channels first, then ranks, then zeros."""
    steps: list[Pass] = []
    for ratio, names in _by_amount(choice, "width", lambda unit: unit.producers):
        steps.append(Channels(pruning_ratio=ratio, importance="obs", include=names, on_unsupported="skip"))
    for ratio, names in _by_amount(choice, "rank", lambda unit: unit.linears):
        steps.append(WhitenedSvd(rank=Ratio(ratio), include=names, on_unsupported="skip"))
    for sparsity, names in _by_amount(choice, "sparsity", lambda unit: unit.layers):
        steps.append(Obs(sparsity=sparsity, include=names, on_unsupported="skip"))
    return steps


def precision_passes(choice: Choice) -> list[Pass]:
    """The passes that store the units' numbers: few bits first, so that ranges are calibrated behind them."""
    layers = {unit: option.precision for unit, option in choice.items() if not unit.is_table}
    tables = {unit: option.precision for unit, option in choice.items() if unit.is_table}
    steps: list[Pass] = []
    if names := _named(layers, "int4"):
        steps.append(Gptq(num_bits=4, include=names, on_unsupported="skip"))
    if names := _named(layers, "int8"):
        steps.append(Static(include=names, on_unsupported="skip"))
    for precision, num_bits in (("int8", 8), ("int4", 4)):
        if names := _named(tables, precision):
            steps.append(Embedding(num_bits=num_bits, include=names, on_unsupported="skip"))
    if names := _named(layers | tables, "half"):
        steps.append(Cast(include=names, on_unsupported="skip"))
    return steps


def by_layer(choice: Choice) -> frozenset[tuple[str, Option, bool]]:
    """The choice, whichever layers were chosen for together, and whether it cuts what the layer produces."""
    return frozenset(
        (layer, option, option.structure == "width" and layer in unit.producers)
        for unit, option in choice.items()
        for layer in unit.layers
    )


def within(layer: str) -> tuple[str, str]:
    """Patterns for a layer and whatever came to stand in its place (the factors of a low rank)."""
    return layer, f"{layer}.*"


def _named(choice: Mapping[Unit, str], precision: str) -> tuple[str, ...]:
    return _all_of(unit for unit, chosen in choice.items() if chosen == precision)


def _all_of(units: Iterable[Unit]) -> tuple[str, ...]:
    return tuple(pattern for unit in units for layer in unit.layers for pattern in within(layer))


def _by_amount(choice: Choice, structure: str, names: object) -> Iterable[tuple[float, tuple[str, ...]]]:
    assert callable(names)
    chosen = {unit: option.amount for unit, option in choice.items() if option.structure == structure}
    for amount in sorted(set(chosen.values())):
        found = tuple(name for unit, own in chosen.items() if own == amount for name in names(unit))
        if found:
            yield amount, found
