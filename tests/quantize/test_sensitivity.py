"""Which layers stay in floats for a budget."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from paring import Declined, batches
from paring.core.stream import drain
from paring.errors import SettingError
from paring.graph.quantized import QuantizedLinear
from paring.quantize.sensitivity import Sensitivity, bars, divergence, within_drop
from paring.quantize.static import Static
from tests.passes import run, task_of


def fragile() -> tuple[nn.Module, torch.Tensor]:
    """Three Linears; the second one's input has one value that dwarfs the rest, so its integers lose almost all."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        model[0].weight[0] = 0
        model[0].bias[0] = 3e4
        model[1].weight[:, 0] = 0
    return model, torch.randn(256, 8)


def labelled():  # type: ignore[no-untyped-def]
    model, x = fragile()
    y = model(x).argmax(1).detach()
    data = batches(x, y, 64)
    return replace(task_of(model, x), calibration=data, validation=data, test=data)


def test_the_layer_that_costs_most_stays_in_floats() -> None:
    task = labelled()
    model, done = run(Static(max_drop=0.02), task)
    kept = [item for item in done if isinstance(item, Declined)]
    assert [item.layer for item in kept] == ["1"] and "within max_drop 0.02" in kept[0].reason
    assert type(model[1]) is nn.Linear
    assert isinstance(model[0], QuantizedLinear) and isinstance(model[3], QuantizedLinear)


def test_all_in_integers_where_the_budget_allows() -> None:
    model, done = run(Static(max_drop=1.0), labelled())
    assert not [item for item in done if isinstance(item, Declined)] and isinstance(model[1], QuantizedLinear)


def test_the_best_found_where_nothing_fits() -> None:
    task = labelled()
    plan = drain(Static(num_bits=2).planned(task.model, ["0", "1", "3"], (), task))
    verdict, ranked = drain(within_drop(task.model, plan, task, -1.0))
    assert not verdict.is_within and "still above max_drop -1" in str(verdict)
    assert [one.divergence for one in ranked] == sorted((one.divergence for one in ranked), reverse=True)
    tried = [drain(within_drop(task.model, plan.without(kept), task, 1.0))[0] for kept in ((), ("1",))]
    assert verdict.quality.drop <= min(one.quality.drop for one in tried)


def test_divergence_of_answers() -> None:
    logits = torch.randn(10, 4)
    assert divergence(logits, logits) == 0
    assert divergence(logits, logits + 5) == pytest.approx(0, abs=1e-6)  # a shift of all logits changes nothing
    p = torch.tensor([[0.5, 0.5]]).log()
    q = torch.tensor([[0.25, 0.75]]).log()
    assert divergence(p, q) == pytest.approx(0.5 * torch.log(torch.tensor(4 / 3)).item())
    rates = torch.randn(20)
    assert divergence(rates, rates + 0.1) == pytest.approx(0.01 / float(rates.double().var()), rel=1e-4)


def test_bars_and_settings() -> None:
    assert bars([Sensitivity("a", 2.0), Sensitivity("b", 1.0), Sensitivity("c", 0.0)], width=4) == ["████", "██", "█"]
    with pytest.raises(SettingError, match="max_drop is -1"):
        Static(max_drop=-1)
