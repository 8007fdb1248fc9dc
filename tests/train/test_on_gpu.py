"""What trains, trained on a GPU: the same weights as on the processor, and nothing of it left there."""

from __future__ import annotations

import pytest
import torch
from accelerate.state import AcceleratorState

from paring.candidates import compress, rebuild
from paring.core.candidate import Candidate
from paring.core.objective import Objective
from paring.core.recipe import Pass, Recipe
from paring.core.task import Task
from paring.distill.attention_transfer import AttentionTransfer
from paring.distill.decoupled import Decoupled
from paring.distill.dist import Dist
from paring.distill.features import Features
from paring.distill.relational import Relational
from paring.distill.response import Response
from paring.distill.weighted import Weighted
from paring.finetune import Finetune
from paring.prune.iterative import Iterative
from paring.prune.magnitude import Magnitude
from paring.prune.movement import Movement
from paring.prune.settings import Cubic
from paring.quantize.qat import Qat
from paring.share.entropy_qat import EntropyQat
from paring.share.kmeans import Kmeans
from tests.nets import image_task

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here that PyTorch could train on")

HALF = Magnitude(sparsity=0.5)
CUBIC = Cubic(epochs=2, begin=0.3, interval=1)
INSIDE = Features(layers=(("norm1", "norm1"),))
OBJECTIVES: tuple[Objective, ...] = (
    Response(), Decoupled(), Dist(), INSIDE, AttentionTransfer(), Relational(), Weighted((Response(), INSIDE)),
)  # fmt: skip
RECIPES: dict[str, tuple[Pass, ...]] = {
    "finetune": (Finetune(epochs=2, warmup=0.2, gradient_clip=1.0, accumulation=2),),
    "finetune bf16": (Finetune(epochs=2, precision="bf16"),),
    "finetune early stop": (Finetune(epochs=4, early_stop=1),),
    "masked": (HALF, Finetune(epochs=2)),
    "gradual": (Magnitude(sparsity=0.7, schedule=CUBIC),),
    "movement": (Movement(sparsity=0.6, schedule=CUBIC),),
    "movement behind zeros": (HALF, Movement(sparsity=0.7, schedule=CUBIC)),
    "rounds": (Iterative(HALF, rounds=2, recovery=Finetune(epochs=1)),),
    "entropy": (EntropyQat(epochs=2),),
    "entropy behind zeros": (HALF, EntropyQat(epochs=2)),
    "kmeans": (Kmeans(num_values=8), Finetune(epochs=1)),
    "kmeans behind zeros": (HALF, Kmeans(num_values=8), Finetune(epochs=1)),
    "qat": (Qat(epochs=2),),
    "qat behind zeros": (HALF, Qat(epochs=2)),
    **{f"distilled by {one.name}": (Finetune(epochs=2, objective=one),) for one in OBJECTIVES},
}


@pytest.mark.parametrize("name", RECIPES)
def test_trains_there_and_comes_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task, recipe = image_task(), Recipe(RECIPES[name])
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    found = compress(task, recipe)
    assert torch.cuda.max_memory_allocated() > before
    assert {tensor.device.type for tensor in found.state.values()} == {"cpu"}
    there = _answers(found, task)
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    here = _answers(compress(task, recipe), task)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert torch.isfinite(there).all()
    if "bf16" not in name and "behind" not in name:  # where a rounding may fall the other way
        assert torch.allclose(there, here, atol=0.05), (there - here).abs().max()


@torch.no_grad()
def _answers(found: Candidate, task: Task) -> torch.Tensor:
    answers: torch.Tensor = rebuild(found, task)(task.example_inputs)
    return answers
