"""Which layers a factor per channel may move between: along operations that a positive factor passes through."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import nn

from paring.core.task import Inputs
from paring.graph.sites import sharers
from paring.graph.trace import Dataflow, Op, trace

# f(s x) = s f(x) for s > 0, channel by channel.
PASSING = ("relu", "leaky_relu", "dropout", "max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "alias")
WEIGHTED = ("conv2d", "linear")


@dataclass(frozen=True)
class SharedInput:
    """Linears that read one and the same tensor; `norm` is the LayerNorm that makes it for them alone, if one does."""

    layers: tuple[str, ...]
    norm: str | None


def channel_pairs(model: nn.Module, inputs: Inputs) -> tuple[tuple[str, str], ...]:
    """(first, second) of Conv2d and Linear where all that `second` reads, and nobody else, is made by `first`.

    Left out: layers called more than once, tied weights, grouped convolutions other than depthwise ones.
    Raises: TraceError.
    """
    flow = trace(model, inputs)
    usable = _usable(model, flow)
    pairs = []
    for op in flow.ops:
        if _short(op).startswith(WEIGHTED) and op.module in usable:
            second = _only_reader(flow, op)
            if second in usable and second != op.module and _widths_fit(model, op.module, second):
                pairs.append((op.module, second))
    return tuple(pairs)


def shared_inputs(model: nn.Module, inputs: Inputs) -> tuple[SharedInput, ...]:
    """Every tensor that Linears read, with those Linears. Raises: TraceError."""
    flow = trace(model, inputs)
    usable = _usable(model, flow)
    modules = dict(model.named_modules())
    calls = Counter(op.module for op in flow.ops if _short(op).startswith("layer_norm"))
    found = []
    for op in flow.ops:
        readers = flow.users.get(op.name, ())
        linears = tuple(
            user.module
            for user in readers
            if _short(user).startswith("linear") and user.inputs[0] == op.name and user.module in usable
        )
        if not linears:
            continue
        norm = modules.get(op.module)
        alone = len(linears) == len(readers) and _short(op).startswith("layer_norm") and calls[op.module] == 1
        owned = alone and type(norm) is nn.LayerNorm and norm.elementwise_affine
        found.append(SharedInput(linears, op.module if owned else None))
    return tuple(found)


def _usable(model: nn.Module, flow: Dataflow) -> set[str]:
    modules, tied = dict(model.named_modules()), sharers(model)
    calls = Counter(op.module for op in flow.ops if _short(op).startswith(WEIGHTED))
    return {
        name
        for name, count in calls.items()
        if count == 1 and name not in tied and type(modules.get(name)) in (nn.Linear, nn.Conv2d)
    }


def _only_reader(flow: Dataflow, op: Op) -> str | None:
    """The layer that alone reads what `op` makes, through passing operations only."""
    while True:
        users = flow.users.get(op.name, ())
        if len(users) != 1:
            return None
        (user,) = users
        if _short(user).startswith(WEIGHTED):
            return user.module if user.inputs[0] == op.name else None
        if not _short(user).startswith(PASSING):
            return None
        op = user


def _widths_fit(model: nn.Module, first: str, second: str) -> bool:
    one, two = model.get_submodule(first), model.get_submodule(second)
    assert isinstance(one, nn.Linear | nn.Conv2d) and isinstance(two, nn.Linear | nn.Conv2d)
    if any(_groups(layer) not in (1, len(layer.weight)) for layer in (one, two)):
        return False
    width = len(two.weight) if _groups(two) > 1 else two.weight.shape[1]
    return len(one.weight) == width


def _groups(layer: nn.Module) -> int:
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def _short(op: Op) -> str:
    return op.kind.removeprefix("aten.").lstrip("_")
