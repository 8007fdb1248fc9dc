"""What of a model is rounded to integers, unit by unit: layers, and operations between activations."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from paring.core.edit import Edit
from paring.core.task import Task
from paring.graph.capture import Sweep
from paring.graph.edits.quantize import QuantizeOperands
from paring.graph.operands import NUM_OPERANDS, OperandKind, Operation, set_operand
from paring.graph.sites import replace, submodule
from paring.quantize.calibrate import Site
from paring.quantize.integers import Quantizer, Weights, integer_layer


@dataclass(frozen=True)
class Plan:
    """Layers with their input quantizers, and operations (by module) with those of their operands."""

    layers: dict[str, Quantizer]
    operations: dict[str, dict[Site, Quantizer]]
    weights: Weights
    where: str

    @property
    def units(self) -> tuple[str, ...]:
        """Everything that can be left in floats by itself; `name()` stands for the operations of a module."""
        return (*self.layers, *(f"{name}()" for name in self.operations))

    def without(self, kept: Iterable[str]) -> Plan:
        """The plan with these units left in floats."""
        kept = set(kept)
        layers = {name: one for name, one in self.layers.items() if name not in kept}
        operations = {name: one for name, one in self.operations.items() if f"{name}()" not in kept}
        return Plan(layers, operations, self.weights, self.where)

    def edits(self, model: nn.Module, task: Task) -> Iterator[Edit]:
        """Yields the edits and puts the numbers in, once each is applied."""
        sweep = None
        names = list(self.layers)
        if self.weights.reads_inputs and names:
            assert task.calibration is not None
            sweep = Sweep(model, task.calibration, self.where)
            names = sweep.order(names)
        for name in names:
            yield from integer_layer(model, name, self.weights, self.layers[name], sweep, self.where)
        for name, quantizers in self.operations.items():
            yield from operand_edits(model, name, quantizers)


def operand_edits(model: nn.Module, name: str, quantizers: dict[Site, Quantizer]) -> Iterator[Edit]:
    """Rounds the operands of the operations of one module."""
    positions = tuple(sorted({site.position for site in quantizers if site.position is not None}))
    yield QuantizeOperands(name, positions, any(one.signed for one in quantizers.values()))
    for site, one in quantizers.items():
        assert site.position is not None
        set_operand(submodule(model, name), site.position, site.operand, one.scale, one.zero_point)


def applied(model: nn.Module, edits: Iterable[Edit]) -> nn.Module:
    """The root module after `edits`, applied in place."""
    for edit in edits:
        model = edit.apply(model)
    return model


def mixed(model: nn.Module, full: nn.Module, plan: Plan) -> nn.Module:
    """A copy of float `model` in which the units of `plan` are as in `full`, where all are in integers."""
    made = copy.deepcopy(model)
    for name in plan.layers:
        made = replace(made, name, submodule(full, name))
    for name, quantizers in plan.operations.items():
        made = applied(made, operand_edits(made, name, quantizers))
    return made


def sites_of(layers: Iterable[str], operations: Iterable[Operation]) -> list[Site]:
    """What must be observed for these layers and operations."""
    operands = [Site(one.module, one.position, side) for one in operations for side in range(NUM_OPERANDS[one.kind])]
    return [*(Site(name) for name in layers), *operands]


def chosen_operations(
    found: Iterable[Operation], *, adds: bool = False, attention: bool = False, pools: bool = False
) -> tuple[Operation, ...]:
    """Residual additions of feature maps (4-D, both sides of one shape), average pools, products of activations."""
    kinds: set[OperandKind] = {"matmul", "attention"} if attention else set()
    if pools:
        kinds.add("pool")
    return tuple(
        one for one in found if one.kind in kinds or (adds and one.kind == "add" and one.same and one.num_dims == 4)
    )
