"""Weights in and out of a module tree: each tensor once, shared ones kept shared, nothing pickled."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from paring.errors import CorruptFileError


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer, persistent or not, under every name it has."""
    for prefix, module in model.named_modules(remove_duplicate=False):
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None:
                    yield (f"{prefix}.{name}" if prefix else name), tensor


def take_state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(state, aliases): each tensor once (detached copies), and name -> name for further names of a shared one."""
    state: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, tensor in named_tensors(model):
        if id(tensor) in first:
            aliases[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
            state[name] = tensor.detach().clone().contiguous()
    return state, aliases


def meta_copy(model: nn.Module) -> nn.Module:
    """A copy of the structure on the `meta` device. Shared tensors stay shared (`.to("meta")` would untie them)."""
    memo: dict[int, object] = {}
    for _, tensor in named_tensors(model):
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo)


def put_state(model: nn.Module, state: Mapping[str, Tensor], aliases: Mapping[str, str]) -> None:
    """Loads what `take_state` gave into a model of the same structure, in place.

    Raises: CorruptFileError for a missing, unexpected or misshapen tensor, or one left on `meta`.
    """
    loaded: dict[str, Tensor] = {}
    seen: set[str] = set()
    for prefix, module in model.named_modules(remove_duplicate=False):
        for table in (module._parameters, module._buffers):
            for leaf, old in table.items():
                if old is None:
                    continue
                name = f"{prefix}.{leaf}" if prefix else leaf
                key = aliases.get(name, name)
                seen.add(key)
                if key not in loaded:
                    loaded[key] = _fitting(name, old, state.get(key))
                table[leaf] = loaded[key]
    if unexpected := sorted(state.keys() - seen):
        raise CorruptFileError(f"state: {unexpected[0]} is in the file but not in the model ({len(unexpected)} such).")


def _fitting(name: str, old: Tensor, new: Tensor | None) -> Tensor:
    if new is None:
        raise CorruptFileError(f"state: {name} is missing from the file.")
    if new.shape != old.shape or new.dtype != old.dtype:
        raise CorruptFileError(
            f"state: {name} is {tuple(new.shape)} {new.dtype} in the file, {tuple(old.shape)} {old.dtype} in the model."
        )
    new = new.clone()
    return nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new


def weights_digest(model: nn.Module, besides: str = "") -> str:
    """Sixteen hex digits over every parameter and buffer, each once, and over the text `besides`."""
    digest = hashlib.sha256(besides.encode())
    seen: set[int] = set()
    for name, tensor in named_tensors(model):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor_bytes(tensor))
    return digest.hexdigest()[:16]


def tensor_bytes(tensor: Tensor) -> bytes:
    """The numbers of a tensor in its own order, whatever its strides or device."""
    flat = tensor.detach().cpu().flatten().clone(memory_format=torch.contiguous_format)
    return flat.view(torch.uint8).numpy().tobytes()
