"""Which rows benchmarks/prune.py has: name -> passes, and how many seeds."""

from __future__ import annotations

from typing import Any

from paring.core.recipe import Pass
from paring.distill.response import Response
from paring.distill.teachers import Teachers
from paring.finetune import Finetune
from paring.numerics.importance import NM
from paring.prune.channels import Channels
from paring.prune.heads import Heads
from paring.prune.iterative import Iterative
from paring.prune.layers import Layers
from paring.prune.magnitude import Magnitude
from paring.prune.movement import Movement
from paring.prune.neurons import Neurons
from paring.prune.obs import Obs
from paring.prune.settings import Cubic
from paring.prune.wanda import Wanda

Rows = dict[str, tuple[Pass, ...]]

FINE_TUNED = "fine-tuned"  # the encoder that teaches the one before its task
SEEDS = {"wide": 3, "units": 3, "encoder": 1, "movement": 1}


def wide() -> Rows:
    """Zeros in a fully connected net, without training and with."""
    distilled = Response(temperature=4.0, alpha=0.9)
    rows: Rows = {"dense": ()}
    for sparsity in (0.4, 0.8, 0.9, 0.95):
        rows[f"magnitude {sparsity:.0%}"] = (Magnitude(sparsity=sparsity),)
        rows[f"wanda {sparsity:.0%}"] = (Wanda(sparsity=sparsity),)
        rows[f"obs {sparsity:.0%}"] = (Obs(sparsity=sparsity),)
    for sparsity in (0.95, 0.98):
        gradual = Cubic(epochs=10, learning_rate=1e-3, objective=distilled)
        rows[f"gradual magnitude {sparsity:.0%}, distilled"] = (Magnitude(sparsity=sparsity, schedule=gradual),)
    return rows


def units() -> Rows:
    """Units really removed, and recovered for three epochs, against zeros."""
    recovery = Finetune(epochs=3, learning_rate=2e-3, objective=Response(temperature=4.0, alpha=0.9))
    rows: Rows = {"dense": ()}
    for importance in ("activation", "redundancy", "obs"):
        cut = Channels(pruning_ratio=0.66, importance=importance)  # type: ignore[arg-type]
        rows[f"{importance} 66%"] = (cut,)
        rows[f"{importance} 66%, recovered"] = (cut, recovery)
    rounds = Iterative(step=Channels(pruning_ratio=0.66, importance="activation"), rounds=3, recovery=recovery)
    rows["activation 66% in three rounds, recovered"] = (rounds,)
    rows["zero 73%"] = (Magnitude(sparsity=0.73),)
    rows["zero 73%, recovered"] = (Magnitude(sparsity=0.73), recovery)
    return rows


def encoder() -> Rows:
    """What an encoder loses without any training."""
    inside: dict[str, Any] = {"include": ("bert.encoder.*",)}
    rows: Rows = {"dense": ()}
    for sparsity in (0.3, 0.6, 0.9):
        rows[f"magnitude {sparsity:.0%}"] = (Magnitude(sparsity=sparsity, **inside),)
        rows[f"wanda {sparsity:.0%}"] = (Wanda(sparsity=sparsity, **inside),)
        rows[f"obs {sparsity:.0%}"] = (Obs(sparsity=sparsity, **inside),)
    for n, m in ((2, 4), (4, 8)):
        for kind in (Magnitude, Wanda, Obs):
            rows[f"{kind.name.rpartition('.')[2]} {n}:{m}"] = (kind(pattern=NM(n, m), **inside),)
    for ratio in (0.25, 0.5):
        for name, kind in (("heads", Heads), ("neurons", Neurons)):
            for importance in ("l2", "obs"):
                rows[f"{name} {ratio:.0%}, {importance}"] = (kind(pruning_ratio=ratio, importance=importance),)
        rows[f"layers {ratio:.0%}, similarity"] = (Layers(pruning_ratio=ratio),)
        rows[f"layers {ratio:.0%}, loss"] = (Layers(pruning_ratio=ratio, by="loss"),)
    return rows


def movement() -> Rows:
    """Scores learned against magnitudes, everything else alike."""
    taught = Teachers((FINE_TUNED,), Response(temperature=2.0, alpha=0.9))
    gradual = Cubic(
        epochs=5, learning_rate=2e-4, objective=taught, begin=0.1, end=0.6, interval=16, warmup=0.05,
        gradient_clip=1.0, precision="bf16",
    )  # fmt: skip
    inside: dict[str, Any] = {"include": ("bert.encoder.*",), "sparsity": 0.9, "scope": "layer", "schedule": gradual}
    return {
        "movement 90%, distilled": (Movement(**inside),),
        "movement 90%, from zero, distilled": (Movement(**inside, initial="zero"),),
        "movement 90%, by sensitivity, distilled": (Movement(**inside, importance="sensitivity"),),
        "gradual magnitude 90%, distilled": (Magnitude(**inside),),
    }


PARTS = {"wide": wide, "units": units, "encoder": encoder, "movement": movement}
