"""A training that may be killed in mid-epoch: `python -m tests.train.killed SCRATCH OUT [KILL_AT]`.

Prints nothing; leaves the trained weights in OUT. With KILL_AT the process kills itself (-9) when that batch is asked
for, counted over all epochs.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from paring.candidates import compress
from paring.core.recipe import Recipe
from paring.core.scratch import Scratch
from paring.distill.features import Features
from paring.distill.response import Response
from paring.distill.weighted import Weighted
from paring.finetune import Finetune
from paring.prune.magnitude import Magnitude
from tests.nets import image_task


@dataclass(eq=False)
class Killing:
    """Batches that end the process when batch `at` is asked for; 0 never does."""

    data: Any
    at: int
    asked: int = 0

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self):  # type: ignore[no-untyped-def]
        for batch in self.data:
            self.asked += 1
            if self.asked == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def run(scratch: Path | None, kill_at: int = 0) -> dict[str, torch.Tensor]:
    """Masks, dropout, batch norm, a learned regressor, accumulation and early stop: all that a checkpoint must hold."""
    torch.set_num_threads(1)
    task = image_task()
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(384, 4)
    )
    inputs, targets = task.train.inputs, task.train.targets  # type: ignore[union-attr]
    task = replace(
        task,
        model=net.eval(),
        train=Killing(replace(task.train, inputs=inputs, targets=targets, batch_size=10), kill_at),  # type: ignore[type-var]
        scratch=None if scratch is None else Scratch(scratch, every_s=0),
    )
    objective = Weighted((Response(), Features((("0", "2"),))), (1.0, 0.5))
    training = Finetune(4, 1e-2, objective, accumulation=2, early_stop=2, warmup=0.1)
    return dict(compress(task, Recipe((Magnitude(sparsity=0.5), training))).state)


if __name__ == "__main__":
    torch.manual_seed(1)
    scratch, out = Path(sys.argv[1]), Path(sys.argv[2])
    state = run(None if str(scratch) == "-" else scratch, int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    save_file(state, out)
