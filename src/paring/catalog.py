"""Every technique by its recipe name, which is its import path: `prune.magnitude` is `paring/prune/magnitude.py`."""

from __future__ import annotations

import importlib
from typing import Any

from paring.core.objective import Objective
from paring.core.recipe import Pass
from paring.errors import UnknownNameError

PASSES = {
    "prune.magnitude": "Magnitude",
    "prune.channels": "Channels",
    "prune.wanda": "Wanda",
    "prune.obs": "Obs",
    "prune.movement": "Movement",
    "prune.heads": "Heads",
    "prune.neurons": "Neurons",
    "prune.layers": "Layers",
    "prune.vocabulary": "Vocabulary",
    "prune.iterative": "Iterative",
    "factorize.svd": "Svd",
    "factorize.whitened_svd": "WhitenedSvd",
    "factorize.tucker": "Tucker",
    "factorize.spatial": "Spatial",
    "factorize.embedding": "Embedding",
    "quantize.static": "Static",
    "quantize.dynamic": "Dynamic",
    "quantize.weight_only": "WeightOnly",
    "quantize.gptq": "Gptq",
    "quantize.adaround": "Adaround",
    "quantize.embedding": "Embedding",
    "quantize.cast": "Cast",
    "quantize.smooth": "Smooth",
    "quantize.equalize": "Equalize",
    "quantize.reestimate": "Reestimate",
    "quantize.qat": "Qat",
    "quantize.ternary": "Ternary",
    "quantize.binary": "Binary",
    "student.shrink": "Shrink",
    "student.use": "Use",
    "share.kmeans": "Kmeans",
    "share.rate_distortion": "RateDistortion",
    "share.embedding": "CodedEmbedding",
    "share.spacing": "Spacing",
    "share.entropy_qat": "EntropyQat",
    "finetune": "Finetune",
    "allocate": "Allocate",
}
OBJECTIVES = {
    "supervised": "Supervised",
    "distill.response": "Response",
    "distill.decoupled": "Decoupled",
    "distill.dist": "Dist",
    "distill.features": "Features",
    "distill.attention_transfer": "AttentionTransfer",
    "distill.relational": "Relational",
    "distill.self_attention": "SelfAttention",
    "distill.weighted": "Weighted",
    "distill.teachers": "Teachers",
}
_HOMES = {"supervised": "core.objective", "allocate": "allocate.step"}


def pass_class(name: str) -> type[Pass]:
    """The pass called `name`: one of ours, or a class of the user's own that has been imported.

    Raises UnknownNameError with the nearest name.
    """
    if name not in PASSES and (own := _own(Pass, name)) is not None:
        return own
    found = _load(name, PASSES, "pass")
    assert issubclass(found, Pass)
    return found


def objective_class(name: str) -> type[Objective]:
    """The objective called `name`, ours or the user's own. Raises UnknownNameError with the nearest name."""
    if name not in OBJECTIVES and (own := _own(Objective, name)) is not None:
        return own
    found = _load(name, OBJECTIVES, "objective")
    assert issubclass(found, Objective)
    return found


def _own(base: type[Any], name: str) -> type[Any] | None:
    """The last class defined outside of Paring under `base` that calls itself `name`."""
    found = None
    waiting = list(base.__subclasses__())
    while waiting:
        cls = waiting.pop(0)
        waiting += cls.__subclasses__()
        if vars(cls).get("name") == name and not cls.__module__.startswith("paring."):
            found = cls
    return found


def _load(name: str, known: dict[str, str], kind: str) -> type:
    if name not in known:
        more = "`paring passes` lists them all." if kind == "pass" else ""
        raise UnknownNameError(kind, name, known, more=more)
    loaded: type = getattr(importlib.import_module(f"paring.{_HOMES.get(name, name)}"), known[name])
    return loaded
