"""bf16 where the device has instructions for it, fp32 where it would only be slow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from paring.core.objective import Supervised
from paring.train import Training, fit, processes
from tests.nets import image_task


@pytest.mark.parametrize(("has", "expected"), [(("fp32", "bf16"), torch.bfloat16), (("fp32",), torch.float32)])
@pytest.mark.skipif(torch.cuda.is_available(), reason="the training would run on the GPU here, not on the processor")
def test_bf16_needs_its_instructions(
    has: tuple[str, ...], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "cpu_precisions", lambda: has)
    task = image_task()
    seen: set[torch.dtype] = set()

    def look(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if task.model.training:
            seen.add(output.dtype)

    hook = task.model.head.register_forward_hook(look)
    list(fit(task.model, task, Supervised(), Training(precision="bf16")))
    hook.remove()
    assert seen == {expected}
