"""Torch-Pruning's dependency graph as plain pairs of indices. Nothing here lets it edit a module.

What it does that one must know (1.6.1): it walks the autograd graph, so frozen weights vanish and are unfrozen in the
copy; an operation it does not know counts as elementwise; a custom module is cut straight through unless registered; a
Linear that ends the model hides the output node unless one more operation follows; parametrized weights raise KeyError;
a concatenation that is flattened into a Linear counts as elementwise, unless its index mapping is set as it is here.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from paring.errors import TraceError

Call = Callable[[nn.Module, Any], Tensor]
Pairs = tuple[tuple[int | None, int], ...]

# Module types that are followed exactly; any other one that holds numbers blocks the group that runs through it.
KNOWN = (
    nn.Linear, nn.Embedding, nn.PReLU, nn.LayerNorm, nn.GroupNorm,
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip


@dataclass(frozen=True)
class Touch:
    """One thing a group reaches: a module's inputs or outputs, the model's output, or something unknown.

    `pairs` are (channel of the root, index in this module); `name` is a module path, or "" for the model's output.
    """

    name: str
    side: Literal["in", "out", "output", "unknown"]
    pairs: tuple[tuple[int, int], ...]


class DependencyTrace:
    """The dependency graph of a copy of `model`. Raises TraceError with the reason."""

    def __init__(self, model: nn.Module, example_inputs: Any, call: Call) -> None:
        with _quiet():
            import torch_pruning
            from torch_pruning.dependency import index_mapping

            try:
                self._view = plain_view(model)
                self._names = {module: name for name, module in self._view.named_modules()}
                self._graph = torch_pruning.DependencyGraph()
                leaves = [module for module in self._view.modules() if not any(True for _ in module.children())]
                for kind in {type(module) for module in leaves if is_unknown(module)}:
                    self._graph.register_customized_layer(kind, _blocker(torch_pruning))
                self._graph.build_dependency(
                    self._view,
                    example_inputs,
                    forward_fn=lambda view, inputs: _ended(call(view, inputs)),
                    verbose=False,
                )
                _mend_flattened_concats(self._graph)
                index_mapping.update_index_mapping(self._graph)
            except Exception as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise TraceError(
                    f"the model cannot be traced for coupled channels: {reason} ({type(error).__name__}). "
                    "Take out what depends on the data, or leave channel pruning out of the recipe."
                ) from error

    def roots(self) -> Iterator[tuple[str, int]]:
        """(layer, output channels) of every layer that may start a group, in `named_modules` order."""
        for module, name in self._names.items():
            if module in self._graph.module2node and isinstance(
                module, nn.modules.conv._ConvNd | nn.Linear | nn.Embedding
            ):
                yield name, self._graph.get_out_channels(module)

    def reach(self, layer: str, channels: list[int]) -> list[Touch]:
        """What removing these output channels of `layer` reaches. Raises TraceError if it cannot be followed."""
        module = self._view.get_submodule(layer)
        with _quiet():
            try:
                items = self._follow(module, channels)
            except Exception as error:
                raise TraceError(
                    f"{layer}: its channels cannot be followed ({type(error).__name__}: {error})."
                ) from error
        return [touch for edge, pairs in items if (touch := self._touch(edge, pairs)) is not None]

    def _follow(self, module: nn.Module, channels: list[int]) -> list[tuple[Any, Pairs]]:
        """Torch-Pruning's `get_pruning_group`, with a set where it searches a list: linear in what is reached."""
        from torch_pruning import _helpers
        from torch_pruning.dependency.dependency import Dependency

        prune = self._graph.get_pruner_of_module(module).prune_out_channels
        root = self._graph.module2node[module]
        edge = Dependency(prune, prune, source=root, target=root)
        waiting: list[tuple[Any, list[Any]]] = [(edge, [_helpers._HybridIndex(idx=i, root_idx=i) for i in channels])]
        merged: dict[tuple[int, Any], tuple[Any, dict[int, int | None]]] = {}
        seen: set[tuple[int, Any, tuple[tuple[int, int | None], ...]]] = set()
        while waiting:
            edge, indices = waiting.pop()
            place = (id(edge.target), edge.handler)
            step = (*place, tuple((index.idx, index.root_idx) for index in indices))
            if not indices or step in seen:
                continue
            seen.add(step)
            _, known = merged.setdefault(place, (edge, {}))
            for index in indices:
                known.setdefault(index.idx, index.root_idx)
            for after in edge.target.dependencies:
                if after.is_triggered_by(edge.handler):
                    mapped = indices
                    for mapping in after.index_mapping:
                        mapped = mapped if mapping is None else mapping(mapped)
                    waiting.append((after, mapped))
        return [(edge, tuple((root, index) for index, root in known.items())) for edge, known in merged.values()]

    def _touch(self, edge: Any, pairs: Pairs) -> Touch | None:
        kinds = type(self._graph.ops.OPTYPE.CONV)
        node = edge.target
        known = tuple((root, index) for root, index in pairs if root is not None)
        if node.type == kinds.OUTPUT:
            return Touch("", "output", known)
        if isinstance(node.module, nn.Parameter):
            return Touch(self._graph._param_to_name.get(node.module, "a parameter"), "unknown", known)
        name = self._names.get(node.module)
        if name is None:
            return None  # an operation: addition, concatenation, reshape
        if type(node.module) not in KNOWN or is_unknown(node.module) or len(known) < len(pairs):
            return Touch(name, "unknown", known)
        return Touch(name, "in" if edge.handler.__name__ == "prune_in_channels" else "out", known)


def plain_view(model: nn.Module) -> nn.Module:
    """A copy with every weight unfrozen, so that the autograd graph shows it."""
    view = copy.deepcopy(model).eval()
    for parameter in view.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return view


def is_unknown(module: nn.Module) -> bool:
    """Whether the module holds numbers of its own whose layout along the channels nobody knows."""
    if hasattr(module, "parametrizations"):
        return True
    held = any(parameter is not None for parameter in module._parameters.values()) or any(
        buffer is not None and buffer.dtype not in (torch.bool, torch.int64) for buffer in module._buffers.values()
    )
    return held and type(module) not in KNOWN


def _ended(output: Tensor) -> Tensor:
    """The output as an operation of its own, whatever layer ends the model. Raises if no weight stands behind it."""
    if output.grad_fn is None:
        raise RuntimeError("its output does not depend on any weight, or is detached from them")
    return output * 1.0


def _mend_flattened_concats(graph: Any) -> None:
    """Maps indices through channel concatenations whose width Torch-Pruning takes to be the flattened one."""
    from torch_pruning.dependency.index_mapping import _ConcatIndexMapping

    kinds = graph.ops.OPTYPE
    for node in graph.module2node.values():
        sizes = node.module.concat_sizes if node.type == kinds.CONCAT else None
        if (
            sizes is None
            or None in sizes
            or node.module.offsets is not None
            or not _along_channels(node, sum(sizes), kinds)
        ):
            continue
        start = 0
        mapped: list[Any] = []
        for source, size in zip(node.inputs, sizes, strict=True):
            span = [start, start + size]
            for edges, target, reverse in ((node.dependencies, source, True), (source.dependencies, node, False)):
                edge = next(e for e in edges if e.target is target and not any(e is done for done in mapped))
                edge.index_mapping[1] = _ConcatIndexMapping(offset=span, reverse=reverse)
                mapped.append(edge)
            start += size


def _along_channels(node: Any, width: int, kinds: Any) -> bool:
    """Whether what `node` makes is taken further down as (batch, width, ...): it was joined along the channels."""
    waiting, seen = list(node.outputs), set()
    while waiting:
        after = waiting.pop()
        if after in seen:
            continue
        seen.add(after)
        if after.type == kinds.RESHAPE:
            shape: tuple[int, ...] = getattr(after.grad_fn, "_saved_self_sym_sizes", ())
            if len(shape) > 2 and shape[1] == width:
                return True
        elif after.type in (kinds.CONV, kinds.DEPTHWISE_CONV):
            if after.module.in_channels == width:
                return True
        elif after.type == kinds.CONCAT:
            sizes = after.module.concat_sizes
            if sizes is not None and None not in sizes and width in sizes and _along_channels(after, sum(sizes), kinds):
                return True
        elif after.type in (kinds.ELEMENTWISE, kinds.BN, kinds.PRELU):
            waiting.extend(after.outputs)
    return False


def _blocker(torch_pruning: Any) -> Any:
    class Blocker(torch_pruning.function.BasePruningFunc):  # type: ignore[misc]
        """Passes channels on unchanged, so that the group is seen to run through the module; it never prunes."""

        def prune_out_channels(self, layer: nn.Module, idxs: Any) -> nn.Module:
            raise AssertionError("Torch-Pruning must not edit")

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer: nn.Module) -> None:
            return None

        get_in_channels = get_out_channels

    return Blocker()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.enable_grad():
        warnings.simplefilter("ignore")
        yield
