"""Pairs of Linears with nothing between them that mixes neurons."""

from __future__ import annotations

from collections import Counter

from torch import nn

from paring.core.task import Inputs
from paring.graph.trace import Dataflow, Op, trace

# They act on each value alone, whichever neuron it belongs to.
ALONE = frozenset({"relu", "relu_", "gelu", "gelu_", "silu", "silu_", "tanh", "sigmoid", "hardtanh", "hardswish"})
ALONE |= {"hardsigmoid", "elu", "leaky_relu", "mish", "softplus", "dropout", "dropout_", "clone", "contiguous"}
ALONE |= {"alias", "detach", "to"}


def feed_forwards(model: nn.Module, example_inputs: Inputs) -> list[tuple[str, str]]:
    """(first, second) of every pair: only the second Linear reads the first, each is called once. Raises TraceError."""
    flow = trace(model, example_inputs)
    calls = Counter(op.module for op in flow.ops if _kind(op) == "linear")
    found = []
    for op in flow.ops:
        if _kind(op) != "linear" or type(_module(model, op.module)) is not nn.Linear:
            continue
        second = _reader(flow, op)
        if second is None or type(_module(model, second.module)) is not nn.Linear or op.module == second.module:
            continue
        if calls[op.module] == calls[second.module] == 1:
            found.append((op.module, second.module))
    return found


def _reader(flow: Dataflow, op: Op) -> Op | None:
    """The Linear that alone reads `op`, through operations on single values."""
    while len(users := flow.users.get(op.name, ())) == 1:
        op = users[0]
        if _kind(op) == "linear":
            return op
        if _kind(op) not in ALONE or len(op.inputs) != 1:
            return None
    return None


def _kind(op: Op) -> str:
    return op.kind.removeprefix("aten.").split(".")[0]


def _module(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None
