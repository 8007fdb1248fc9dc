"""Which layers a pass works on, by module name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from torch import nn

from paring.errors import UnknownNameError

# Their fast path or their own maths reads child weights directly, so that a replaced child is silently bypassed.
OPAQUE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def layers_of(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[tuple[str, nn.Module]]:
    """(name, module) of every layer of exactly these kinds, each module once, in `named_modules` order."""
    for name, module in model.named_modules():
        if type(module) in kinds:
            yield name, module


def opaque_parent(model: nn.Module, layer: str) -> str | None:
    """The name of the module around `layer` whose forward bypasses its children, if there is one."""
    parts = layer.split(".")
    for end in range(len(parts)):
        name = ".".join(parts[:end])
        if isinstance(model.get_submodule(name), OPAQUE):
            return name or "the model itself"
    return None


def sharers(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """For each layer with a parameter that another module also holds: the names of those modules."""
    owners: dict[int, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[id(parameter)].append(name)
    shared: dict[str, set[str]] = defaultdict(set)
    for names in owners.values():
        for name in names if len(set(names)) > 1 else ():
            shared[name] |= set(names) - {name}
    return {name: tuple(sorted(others)) for name, others in shared.items()}


def names_of(model: nn.Module, layer: str) -> list[str]:
    """Every name under which the module called `layer` stands in the tree (a module may be used twice)."""
    module = submodule(model, layer)
    return [name for name, other in model.named_modules(remove_duplicate=False) if other is module]


def submodule(model: nn.Module, layer: str) -> nn.Module:
    """The module called `layer`. Raises UnknownNameError with the nearest name."""
    try:
        return model.get_submodule(layer)
    except AttributeError:
        raise UnknownNameError("layer", layer, (name for name, _ in model.named_modules() if name)) from None


def replace(model: nn.Module, layer: str, new: nn.Module) -> nn.Module:
    """Puts `new` where `layer` stands, under each of its names; returns the root."""
    for name in names_of(model, layer):
        if not name:
            return new
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, new)
    return model
