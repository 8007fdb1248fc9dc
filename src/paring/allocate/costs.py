"""What a unit's layers cost as they stand in a model: operations for the clock, and bytes in a file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from paring.clock.chain import Chain, Gather
from paring.clock.costs import Cost, Kind
from paring.clock.layers import chain_of
from paring.core.task import Inputs, Task, tensors_of
from paring.graph.edits.factorize import LowRankLinear
from paring.graph.edits.mask import MASK
from paring.graph.edits.weight_only import STORED_AS
from paring.graph.embedding import QuantizedRows
from paring.graph.quantized import QuantizedLayer
from paring.graph.sites import submodule
from paring.graph.weight_only import WeightOnlyLayer
from paring.numerics.coded import zero_order_bits

PACKED_BITS = 4


def operations(model: nn.Module, layers: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Cost]:
    """Each layer of a float model as the clock times it; bags of embeddings and layers not reached are left out."""
    found = {}
    for name in layers:
        chain = _chain(submodule(model, name))
        if chain and name in shapes:
            found[name] = Cost(chain, shapes[name])
    return found


def kind_of(module: nn.Module) -> Kind:
    """How a layer multiplies, or a table is read: by its own kind, or by that of its last factor."""
    if isinstance(module, QuantizedRows):
        return "stored4" if module.num_bits <= PACKED_BITS else "stored8"
    inner = [one for one in module.modules() if isinstance(one, QuantizedLayer | WeightOnlyLayer)]
    if not inner:
        return "float"
    if isinstance(inner[-1], QuantizedLayer):
        return "int8"
    return "stored4" if inner[-1].num_bits <= PACKED_BITS else "stored8"


def stored_bytes(model: nn.Module, layers: Iterable[str], *, coded: bool) -> float:
    """Bytes of the layers' numbers in a file; `coded`: weights at their zero-order entropy."""
    total = 0.0
    for name in layers:
        for module in submodule(model, name).modules():
            tensors = {**module._parameters, **module._buffers}
            mask = tensors.pop(MASK, None)
            for leaf, tensor in tensors.items():
                if tensor is not None:
                    total += _bytes(module, leaf, tensor, mask, coded)
    return total


def sized_inputs(task: Task, batch_size: int) -> Inputs:
    """The first calibration inputs, cut or repeated to `batch_size` rows."""
    inputs, _ = next(iter(task.real_inputs()))
    rows = {name: tensor[torch.arange(batch_size) % len(tensor)] for name, tensor in tensors_of(inputs).items()}
    if isinstance(inputs, Tensor):
        return rows["inputs"]
    if isinstance(inputs, tuple | list):
        return tuple(rows.get(f"inputs[{place}]", value) for place, value in enumerate(inputs))
    return {name: rows.get(name, value) for name, value in inputs.items()}


def _chain(module: nn.Module) -> Chain:
    if isinstance(module, nn.Embedding):
        return (Gather(module.num_embeddings, module.embedding_dim),)
    if isinstance(module, LowRankLinear):
        return tuple(op for factor in module for op in _chain(factor))
    return chain_of(module)


def _bytes(module: nn.Module, leaf: str, tensor: Tensor, mask: Tensor | None, coded: bool) -> float:
    is_integer = not tensor.is_floating_point()
    half = getattr(module, STORED_AS, None) is not None and tensor.is_floating_point()
    width = 0.5 if is_integer and _packs(module, leaf) else 2.0 if half else float(tensor.element_size())
    if not coded or leaf not in ("weight", "weight_q", "rows"):
        return tensor.numel() * width
    if is_integer:
        return zero_order_bits(Counter(tensor.flatten().tolist())) / 8
    kept = int(mask.sum()) if mask is not None else tensor.numel()
    zeros = zero_order_bits(Counter({0: tensor.numel() - kept, 1: kept}))
    return kept * width + math.ceil(zeros / 8)


def _packs(module: nn.Module, leaf: str) -> bool:
    return leaf == "weight_q" and isinstance(module, WeightOnlyLayer) and module.num_bits <= PACKED_BITS
