"""Passes that train under rounding: what is stored is what was trained, and training pays."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paring import Recipe, Task, batches, compress, rebuild
from paring.core.recipe import Pass
from paring.core.task import outputs_and_targets
from paring.distill.response import Response
from paring.errors import MissingError, SettingError, UnknownNameError
from paring.finetune import Finetune
from paring.graph.fake import fake_quantized
from paring.graph.quantized import QuantizedLayer
from paring.graph.weight_only import WeightOnlyLayer
from paring.quantize.binary import Binary
from paring.quantize.qat import Qat
from paring.quantize.static import Static
from paring.quantize.ternary import Ternary
from tests.nets import image_task, vector_task


@cache
def trained_task() -> Task:
    """Two Linears that have learned where the largest of four sums lies."""
    torch.manual_seed(0)
    x = torch.randn(512, 12)
    y = x.reshape(-1, 4, 3).sum(2).argmax(1)
    data = batches(x, y, 64)
    net = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 4)).eval()
    task = replace(
        vector_task(), model=net, example_inputs=x[:2], train=batches(x, y, 64, shuffle=True), calibration=data,
        validation=data, test=data,
    )  # fmt: skip
    return replace(task, model=rebuild(compress(task, Recipe((Finetune(epochs=15, learning_rate=1e-2),))), task))


def loss_after(*passes: Pass) -> float:
    task = trained_task()
    model = rebuild(compress(task, Recipe(passes)), task)
    return float(F.cross_entropy(*outputs_and_targets(task, model, task.validation)))


@pytest.mark.parametrize("num_bits", [2, 3])
def test_training_under_rounding_beats_rounding_afterwards(num_bits: int) -> None:
    after = loss_after(Static(num_bits=num_bits))
    learned = loss_after(Qat(num_bits=num_bits, epochs=8, learning_rate=5e-3))
    distilled = loss_after(Qat(num_bits=num_bits, epochs=8, learning_rate=5e-3, objective=Response(temperature=2.0)))
    assert learned < 0.8 * after and distilled < after


def test_one_and_two_bits_learn_something() -> None:
    chance = float(torch.log(torch.tensor(4.0)))
    for step in (Ternary(epochs=10, learning_rate=5e-3), Binary(epochs=10, learning_rate=5e-3)):
        assert loss_after(step) < 0.5 * chance


@pytest.mark.parametrize("step", [Ternary(), Binary(), Binary(stochastic=True), Qat(num_bits=4)])
def test_only_the_integers_of_the_scheme_are_stored(step: Pass) -> None:
    task = image_task()
    model = rebuild(compress(task, Recipe((step,))), task)
    layers = [module for module in model.modules() if isinstance(module, WeightOnlyLayer | QuantizedLayer)]
    allowed = {"quantize.ternary": {-1, 0, 1}, "quantize.binary": {-1, 1}, "quantize.qat": set(range(-7, 8))}[step.name]
    assert len(layers) == 4
    assert all(set(layer.weight_q.unique().tolist()) <= allowed for layer in layers)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_pruned_weights_stay_zero_when_signs_are_stored() -> None:
    task = trained_task()
    net = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 4))
    net.load_state_dict(task.model.state_dict())
    mask = torch.rand(48, 12, generator=torch.Generator().manual_seed(0)) > 0.5
    net[0].register_buffer("weight_mask", mask)
    masked = replace(task, model=net.eval())
    model = rebuild(compress(masked, Recipe((Binary(),))), masked)
    assert (model[0].weight_q[~mask] == 0).all() and (model[0].weight_q[mask] != 0).all()


def both(scheme: str, quant_max: int = 7) -> tuple[nn.Linear, nn.Module, Tensor]:
    torch.manual_seed(0)
    layer = nn.Linear(16, 8)
    fake = fake_quantized(layer, scheme, quant_max, inputs=False)  # type: ignore[arg-type]
    fake.weight_log_step.data.fill_(math.log(0.02))
    return layer, fake, torch.randn(32, 16)


def test_gradients_pass_straight_through_inside_the_range() -> None:
    layer, fake, x = both("steps")
    (fake(x) * torch.arange(8)).sum().backward()
    inside = (layer.weight.detach() / 0.02).abs() <= 7
    expected = (x.sum(0) * torch.arange(8)[:, None]).where(inside, torch.zeros(()))
    assert torch.allclose(layer.weight.grad, expected, atol=1e-4)  # type: ignore[arg-type]
    assert bool(inside.any()) and bool((~inside).any())


def test_the_step_gets_the_gradient_of_the_paper() -> None:
    """LSQ, equation 3: round(w / s) - w / s inside, +-quant_max outside, times the gradient scale, here of log s."""
    layer, fake, x = both("steps")
    fake(x).sum().backward()
    w = layer.weight.detach() / 0.02
    slope = torch.where(w.abs() <= 7, torch.round(w) - w, 7 * torch.sign(w))
    expected = (slope * x.sum(0)).sum(1) * (16 * 7) ** -0.5 * 0.02
    assert torch.allclose(fake.weight_log_step.grad, expected, atol=2e-5)  # type: ignore[arg-type]


def test_training_at_a_usual_rate_leaves_8_bits_as_good_as_they_were() -> None:
    """A step of a thousandth must not be thrown about by an optimizer whose moves are of that size."""
    floats = loss_after(Finetune(epochs=2, learning_rate=1e-3))
    assert loss_after(Qat(num_bits=8, epochs=2, learning_rate=1e-3)) < 1.05 * floats


def test_signs_are_drawn_only_while_training() -> None:
    _, fake, x = both("stochastic", 1)
    fake.train()
    assert not torch.equal(fake(x), fake(x))
    fake.eval()
    assert torch.equal(fake(x), fake(x))


def test_what_is_refused() -> None:
    with pytest.raises(SettingError, match=r"quantize\.qat: num_bits is 9"):
        Qat(num_bits=9)
    with pytest.raises(UnknownNameError, match="weight_range"):
        Qat(weight_range="most")
    with pytest.raises(MissingError, match="train"):
        compress(replace(vector_task(), train=None), Recipe((Ternary(),)))
