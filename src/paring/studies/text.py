"""The text study: a sentiment encoder quantized, pruned and distilled, beside the figures of the project it follows."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

from paring.core.edit import Progress
from paring.core.recipe import Recipe
from paring.core.task import Task
from paring.distill.response import Response
from paring.finetune import Finetune
from paring.prune.heads import Heads
from paring.prune.layers import Layers
from paring.prune.magnitude import Magnitude
from paring.prune.neurons import Neurons
from paring.prune.obs import Obs
from paring.quantize.dynamic import Dynamic
from paring.quantize.observers import Percentile
from paring.quantize.static import Static
from paring.student.shrink import Shrink
from paring.studies.encoder import encoder_task, sized_task
from paring.studies.profiles_look import profiles
from paring.studies.study import Claim, Part, Study

ABOUT = (
    "A six-layer encoder fine-tuned on SST-2: dynamic INT8 (on the CPU only, whose integer kernels the engines ship), "
    "pruning at 30, 60 and 90 %, heads, neurons and layers removed, a distilled student, and their combination. "
    "Timed on one sentence of 128 tokens; operator profiles before and after."
)
PROFILED = ("dynamic int8", "static int8", "half the neurons", "distilled student, int8")
SIZED = "RoBERTa-base size"
SIZED_RECIPES = (Recipe((Dynamic(),), "dynamic int8"),)


def text_study(
    data: str | Path | None = None, *, quick: bool = False, seed: int = 0, model: str | None = None
) -> Study:
    """The study; `quick` trains on 512 sentences, judges on 300 of dev and of test and tries three recipes.

    `model` is a folder or a name of Hugging Face in place of the packaged encoder. In full, a RoBERTa-base-sized net of
    random weights is timed too.
    """
    size: dict[str, Any] = {"num_train": 512, "num_dev": 300, "num_test": 300} if quick else {}
    part = Part(
        "encoder",
        partial(_prepared, data, model, seed, size),
        recipes(quick),
        {"baseline": "teacher"},
        {"profiles": partial(profiles, PROFILED[:1] if quick else PROFILED)},
    )
    sized = () if quick else (Part(SIZED, partial(_sized, data, seed), SIZED_RECIPES, {"baseline": "random weights"}),)
    return Study("text", "A sentiment encoder, compressed", ABOUT, (part, *sized), CLAIMS if sized else CLAIMS[1:])


def _prepared(
    data: str | Path | None, model: str | None, seed: int, size: dict[str, Any]
) -> Generator[Progress, None, Task]:
    yield Progress(0, 1, "tokenizing")
    return encoder_task(data, model, seed=seed, **size)


def _sized(data: str | Path | None, seed: int) -> Generator[Progress, None, Task]:
    yield Progress(0, 1, "making a net of RoBERTa-base's size")
    return sized_task(data, seed=seed)


def recipes(quick: bool) -> tuple[Recipe, ...]:
    """One a row; `quick` keeps those that its source speaks of first."""
    taught = Finetune(epochs=1, learning_rate=5e-5, precision="bf16", objective=Response(temperature=2.0, alpha=0.7))
    static = Static(observer=Percentile(99.99), attention=True)
    dynamic, third = Recipe((Dynamic(),), "dynamic int8"), _zeros(0.3)
    student = Recipe((Shrink(width=1.0, depth=0.5), taught), "distilled student of three layers")
    if quick:
        return dynamic, third, student
    return (
        dynamic,
        Recipe((static,), "static int8"),
        third,
        _zeros(0.6),
        _zeros(0.9),
        Recipe((Neurons(pruning_ratio=0.5, importance="obs", include=("*.intermediate.dense",)),), "half the neurons"),
        Recipe((Heads(pruning_ratio=0.25, importance="obs"),), "a quarter of the heads"),
        student,
        Recipe((*student.passes, static), "distilled student, int8"),
        Recipe((Obs(sparsity=0.6),), "60 % zeros, solved for"),
        Recipe((Magnitude(sparsity=0.6, scope="layer"), taught), "60 % zeros, recovered"),
        Recipe((Neurons(pruning_ratio=0.25, include=("*.intermediate.dense",)),), "a quarter of the neurons"),
        Recipe((Heads(pruning_ratio=0.5, importance="obs"),), "half the heads"),
        Recipe((Layers(pruning_ratio=0.34), taught), "two layers dropped, recovered"),
    )


def _zeros(share: float) -> Recipe:
    return Recipe((Magnitude(sparsity=share, scope="layer"),), f"{share:.0%} zeros")


def _times(row: dict[str, Any], base: dict[str, Any]) -> str:
    speed, eager = row["speedup"], row["speedup_eager"]
    return (
        f"{base['latency_ms']['p50']:.2f} -> {row['latency_ms']['p50']:.2f} ms, {speed['ratio']:.2f} times "
        f"({speed['low']:.2f} to {speed['high']:.2f})"
        + ("" if eager is None else f", {eager['ratio']:.1f} times over eager")
        + f", drop {100 * row['drop']:+.2f} points"
    )


CLAIMS = (
    Claim(
        f"{SIZED}: dynamic int8", "CPU 0.227 -> 0.163 s (1.39 times) over PyTorch eager by dynamic INT8", _times,
        lambda row, base: row["speedup_eager"] is not None and row["speedup_eager"]["ratio"] >= 1.39,
    ),
    Claim(
        "encoder: dynamic int8", "CPU 0.227 -> 0.163 s (1.39 times) over PyTorch eager by dynamic INT8", _times,
        lambda row, base: row["speedup_eager"] is not None and row["speedup_eager"]["ratio"] >= 1.39,
    ),
    Claim(
        "encoder: 30% zeros", "fluctuating slight gains by pruning", _times,
        lambda row, base: row["verdict"] in ("faster", "indistinguishable"),
    ),
    Claim(
        "encoder: distilled student of three layers", "distillation: faster than its teacher", _times,
        lambda row, base: row["verdict"] == "faster",
    ),
)  # fmt: skip
