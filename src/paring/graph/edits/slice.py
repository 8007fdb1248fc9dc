"""Channels really removed: every coupled tensor with the indices it keeps, so that replay traces nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import ShapeError, UnknownNameError
from paring.graph.edits.mask import MASK
from paring.graph.sites import submodule
from paring.graph.state import named_tensors

Slice = tuple[str, int, tuple[int, ...]]


@final
@dataclass(frozen=True)
class SliceChannels(Edit):
    """Keeps the listed indices of each listed tensor, and mends the sizes that the modules state.

    `group` is the layer the report names; `slices` are (tensor, dim, kept indices), applied in turn. A layer's
    `weight_mask` is cut as its weight is. A tensor that several modules hold is cut once and stays shared.
    Example: ("conv1.weight", 0, (0, 2)) of (3, 1, 5, 5) -> (2, 1, 5, 5), and conv1.out_channels = 2.
    Raises: UnknownNameError for a tensor that is not there; ShapeError for an index outside it.
    """

    group: str
    slices: tuple[Slice, ...]

    def apply(self, model: nn.Module) -> nn.Module:
        holders = _holders(model)
        touched: dict[int, nn.Module] = {}
        for name, dim, kept in self.slices:
            layer, _, leaf = name.rpartition(".")
            module = submodule(model, layer)
            tensor = _table(module, leaf).get(leaf)
            if tensor is None:
                raise UnknownNameError("tensor", name, (known for known, _ in named_tensors(model)), self.group)
            for old in (tensor, module._buffers.get(MASK) if leaf == "weight" else None):
                if old is None:
                    continue
                new = _kept(name, old, dim, kept)
                held = holders.pop(id(old))
                holders[id(new)] = held
                for holder, held_leaf in held:
                    _table(holder, held_leaf)[held_leaf] = new
                    touched[id(holder)] = holder
        for module in touched.values():
            mend_(module)
        return model


def mend_(module: nn.Module) -> None:
    """Sets the sizes a module states (`out_channels`, `in_features`, ...) to those its tensors have."""
    tables = (*module._parameters.values(), *module._buffers.values())
    tensor = next((tensor for tensor in tables if tensor is not None), None)
    if tensor is None:
        return
    shape = tensor.shape
    match module:
        case nn.modules.conv._ConvNd():
            if 1 < module.groups == module.in_channels == module.out_channels:  # depthwise stays depthwise
                module.groups = module.in_channels = module.out_channels = shape[0]
                return
            out, into = (1, 0) if module.transposed else (0, 1)
            module.out_channels = shape[out] * (module.groups if module.transposed else 1)
            module.in_channels = shape[into] * (1 if module.transposed else module.groups)
        case nn.Linear():
            module.out_features, module.in_features = shape
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = shape
        case nn.LayerNorm():
            module.normalized_shape = tuple(shape)
        case nn.GroupNorm():
            module.num_channels = shape[0]
        case nn.PReLU():
            module.num_parameters = shape[0]
        case nn.modules.batchnorm._NormBase():
            module.num_features = shape[0]


def _holders(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    holders: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for leaf, tensor in table.items():
                if tensor is not None:
                    holders.setdefault(id(tensor), []).append((module, leaf))
    return holders


def _table(module: nn.Module, leaf: str) -> dict[str, Tensor | None]:
    return module._buffers if leaf in module._buffers else module._parameters  # type: ignore[return-value]


def _kept(name: str, old: Tensor, dim: int, kept: tuple[int, ...]) -> Tensor:
    size = old.shape[dim] if 0 <= dim < old.ndim else 0
    if not kept or min(kept) < 0 or max(kept) >= size:
        raise ShapeError(f"{name}: cannot keep {len(kept)} indices of dimension {dim} of {tuple(old.shape)}.")
    index = torch.tensor(kept, dtype=torch.long, device=old.device)
    new = old.detach().index_select(dim, index)
    return nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
