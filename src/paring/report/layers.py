"""Layer by layer: what was there, what was done, what is left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from paring.core.candidate import Candidate
from paring.core.edit import Edit
from paring.numerics.footprint import Footprint, footprint
from paring.report.weights import owner

Shapes = tuple[tuple[int, ...], ...]
NOT_WEIGHTS = ("_mask", "_scale", "_zero_point")


@dataclass(frozen=True)
class Layer:
    """One layer of the original model, or one that came in its place. Shapes are of its weights; () is none."""

    name: str
    before: Shapes
    after: Shapes
    edits: tuple[str, ...]
    sparsity: float | None
    nonzeros: int
    bits: str
    ranks: str
    bytes_before: int | None
    bytes_after: int | None
    ms_before: float | None = None
    ms_after: float | None = None
    storage: tuple[Footprint, ...] = ()


@dataclass(frozen=True)
class Costs:
    """By layer name, of one file: bytes in it, and milliseconds where it was profiled."""

    bytes: Mapping[str, int] = field(default_factory=dict)
    ms: Mapping[str, float] = field(default_factory=dict)


def layer_names(baseline: Candidate, candidate: Candidate) -> list[str]:
    """Every layer with a weight matrix, in the original model's order; then those that only the candidate has."""
    names = _weighted(baseline.state)
    new = [name for name in _weighted(candidate.state) if not owner(f"{name}.", names)]
    return sorted(names, key=natural) + sorted(new, key=natural)


def layers(baseline: Candidate, candidate: Candidate, old_costs: Costs, new_costs: Costs) -> tuple[Layer, ...]:
    """A Layer for each of `layer_names`."""
    names = layer_names(baseline, candidate)
    done = edits_by_layer(candidate.edits, names)
    old, new = _by_layer(baseline.state, names), _by_layer(candidate.state, names)
    rows = []
    for name in names:
        weights = new.get(name, [])
        size = sum(weight.numel() for weight in weights)
        nonzeros = sum(int(torch.count_nonzero(weight)) for weight in weights)
        rows.append(
            Layer(
                name,
                before=tuple(tuple(weight.shape) for weight in old.get(name, [])),
                after=tuple(tuple(weight.shape) for weight in weights),
                edits=tuple(text for _, text in done.get(name, ())),
                sparsity=1 - nonzeros / size if size else None,
                nonzeros=nonzeros,
                bits=_settings(done.get(name, ()), "num_bits") or _dtypes(weights),
                ranks=_settings(done.get(name, ()), "rank"),
                bytes_before=old_costs.bytes.get(name),
                bytes_after=new_costs.bytes.get(name),
                ms_before=old_costs.ms.get(name),
                ms_after=new_costs.ms.get(name),
                storage=tuple(footprint(weight) for weight in weights if len(weight)),
            )
        )
    return tuple(rows)


def edits_by_layer(edits: Iterable[Edit], names: list[str]) -> dict[str, list[tuple[dict[str, Any], str]]]:
    """Layer name -> (settings, words) of each edit that touched it; repeated words are given once."""
    found: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for edit in edits:
        data = edit.to_json()
        for touched, text in _words(data):
            name = touched if touched in names else owner(f"{touched}.", names)
            known = found.setdefault(name, [])
            if text not in [other for _, other in known]:
                known.append((data, text))
    return found


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key under which layer 2 comes before layer 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _words(data: dict[str, Any]) -> Iterable[tuple[str, str]]:
    match data:
        case {"edit": "SliceChannels", "group": group, "slices": slices}:
            for tensor, dim, kept in slices:
                layer, _, leaf = tensor.rpartition(".")
                if leaf == "weight":
                    own = f"keeps {len(kept)} channels"
                    other = f"keeps what {group} keeps" if dim == 0 else f"reads what {group} keeps"
                    yield layer, own if layer == group else other
        case {"edit": "Factorize", "layer": layer, "rank": rank}:
            yield layer, f"factorized, rank {_plain(rank)}"
        case {"edit": "QuantizeWeight", "layer": layer, "num_bits": bits}:
            yield layer, f"{bits}-bit weight"
        case {"edit": "QuantizeInput", "layer": layer}:
            yield layer, "8-bit input"
        case {"edit": "QuantizeOutput", "layer": layer}:
            yield layer, "8-bit output"
        case {"edit": "MaskWeight", "layer": layer}:
            yield layer, "masked"
        case {"edit": "FoldBatchNorm", "layer": layer, "batch_norm": norm}:
            yield layer, f"{norm} folded in"
        case _:  # an edit this page has no words for: its own name and its plain settings
            layer = str(data.get("layer") or data.get("group") or "")
            settings = [
                f"{key} {_plain(value)}" for key, value in data.items() if key not in ("edit", "layer", "group")
            ]
            yield layer, ", ".join([_spaced(data["edit"]), *(text for text in settings if len(text) < 40)])


def _weighted(state: Mapping[str, Tensor]) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] for name, tensor in state.items() if _is_weight(name, tensor)))


def _is_weight(name: str, tensor: Tensor) -> bool:
    return tensor.ndim >= 2 and not name.endswith(NOT_WEIGHTS) and tensor.dtype != torch.bool


def _by_layer(state: Mapping[str, Tensor], names: list[str]) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for name in sorted((name for name in state if _is_weight(name, state[name])), key=natural):
        found.setdefault(owner(name, names), []).append(state[name])
    return found


def _settings(done: Iterable[tuple[dict[str, Any], str]], key: str) -> str:
    return ", ".join(dict.fromkeys(_plain(data[key]) for data, _ in done if key in data))


def _dtypes(weights: list[Tensor]) -> str:
    return ", ".join(dict.fromkeys(str(weight.dtype.itemsize * 8) for weight in weights))


def _plain(value: object) -> str:
    return " x ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
