"""What moves ranges leaves the function alone; what re-estimates statistics gives the data's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from paring import Changed, Declined
from paring.errors import BatchError, SettingError
from paring.quantize.equalize import Equalize
from paring.quantize.reestimate import Reestimate
from paring.quantize.smooth import Smooth
from paring.quantize.static import Static
from tests.nets import encoder_task, image_task
from tests.passes import output_error, run, task_of


class Normed(nn.Module):
    """A LayerNorm that feeds two Linears; one feature a hundred times the others."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.a, self.b, self.c = nn.LayerNorm(16), nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(8, 4)
        with torch.no_grad():
            self.norm.weight[3] = 100.0

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return self.c(torch.relu(self.a(y) * torch.sigmoid(self.b(y))))


def normed() -> tuple[Normed, Tensor]:
    torch.manual_seed(0)
    return Normed(), torch.randn(256, 16)


def test_smoothing_leaves_the_function_and_helps_integers() -> None:
    model, x = normed()
    task = task_of(model, x)
    smooth, done = run(Smooth(alpha=0.5), task)
    assert torch.allclose(smooth(x), model(x), rtol=1e-3, atol=1e-3)
    (changed,) = (item for item in done if isinstance(item, Changed))
    assert {"norm", "a", "b"} <= set(changed.layers) and smooth.norm.weight[3] < 20  # type: ignore[index, union-attr]
    plain, _ = run(Static(), task)
    both, _ = run(Static(), task_of(smooth, x))
    assert output_error(model, both, x) < 0.3 * output_error(model, plain, x)


def test_without_insertions_only_layers_behind_a_norm_are_smoothed() -> None:
    model, x = normed()
    smooth, done = run(Smooth(insert=False), task_of(model, x))
    assert [item.layer for item in done if isinstance(item, Declined)] == ["c"]
    assert type(smooth.c) is nn.Linear and output_error(model, smooth, x) < 1e-6


@pytest.mark.parametrize("step", [Smooth(), Equalize()])
def test_an_encoder_and_an_image_net_answer_as_before(step: Smooth | Equalize) -> None:
    for task in (encoder_task(), image_task()):
        x = task.example_inputs
        assert isinstance(x, Tensor)
        after, _ = run(step, task)
        assert torch.allclose(after(x), task.model(x), atol=1e-4)


def test_equalizing_evens_the_ranges_and_helps_a_shared_scale() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        factor = torch.logspace(-2, 2, 16)
        model[0].weight *= factor[:, None]
        model[0].bias *= factor
        model[2].weight /= factor
    x = torch.randn(256, 12)
    task = task_of(model, x)
    even, _ = run(Equalize(), task)
    assert torch.allclose(even(x), model(x), atol=1e-4)
    made, read = even[0].weight.abs().amax(1), even[2].weight.abs().amax(0)
    assert torch.allclose(made, read, rtol=1e-3)
    shared = Static(per_channel=False)
    mended = output_error(model, run(shared, task_of(even, x))[0], x)
    assert mended < 0.1 * output_error(model, run(shared, task)[0], x)


def test_statistics_are_those_of_the_data() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))
    x = torch.randn(128, 2, 5, 5) * 3 + 1
    after, done = run(Reestimate(), task_of(model, x, 32))
    seen = model[0](x).detach()
    assert torch.allclose(after[1].running_mean, seen.mean((0, 2, 3)), atol=1e-4)
    parts = torch.stack([part.transpose(0, 1).flatten(1).var(1) for part in seen.split(32)]).mean(0)
    assert torch.allclose(after[1].running_var, parts, rtol=1e-4)
    assert after[1].momentum == 0.1 and Changed(("1",)) in done


def test_what_is_refused_and_declined() -> None:
    with pytest.raises(SettingError, match="alpha is 2"):
        Smooth(alpha=2)
    with pytest.raises(SettingError, match="sweeps is 0"):
        Equalize(sweeps=0)
    with pytest.raises(BatchError, match=r"quantize\.reestimate: task\.calibration holds no batch"):
        run(Reestimate(), replace(image_task(), calibration=[]))
    _, done = run(Reestimate(), encoder_task())
    assert done == [Declined("the model", "it has no batch norm with running statistics")]
