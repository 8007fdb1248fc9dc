from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from paring import Declined, Edit, Recipe, Task, batches
from paring.core.edit import Progress, Step
from paring.errors import BatchError, ForwardError, LayerError, NothingToDoError, OrderError, SettingError
from paring.graph.edits.factorize import LowRankLinear
from paring.graph.quantized import QuantizedLinear
from paring.graph.state import meta_copy, put_state, take_state
from paring.quantize.static import Static
from tests.nets import TASKS, dict_task, image_task, vector_task


def run(step: Static, task: Task, model: nn.Module | None = None) -> tuple[nn.Module, list[Step]]:
    model = copy.deepcopy(model or task.model)
    done = []
    for item in step.run(model, task):
        done.append(item)
        if isinstance(item, Edit):
            model = item.apply(model)
    return model, done


def task_of(model: nn.Module, x: Tensor) -> Task:
    return replace(vector_task(), model=model.eval(), example_inputs=x[:2], calibration=batches(x, x, 4))


def relative(got: Tensor, expected: Tensor) -> float:
    return float(((got - expected).norm() / expected.norm()).detach())


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_every_layer_becomes_integer_and_replays_bit_for_bit(make: Callable[[], Task]) -> None:
    task = make()
    before, _ = take_state(task.model)
    model, done = run(Static(num_bits=8), task)
    declined = [item.layer for item in done if isinstance(item, Declined)]
    left = [name for name, m in model.named_modules() if type(m) in (nn.Linear, nn.Conv2d, nn.BatchNorm2d)]
    assert left == declined == (["tied_a", "tied_b"] if task.name == "vectors" else [])
    assert any(isinstance(item, Progress) for item in done)

    inputs, _ = next(iter(task.calibration or ()))
    answer = task.predict(model, inputs)
    assert relative(answer, task.predict(task.model, inputs)) < 0.05
    assert all(torch.equal(tensor, before[name]) for name, tensor in take_state(task.model)[0].items())

    replayed = meta_copy(task.model)
    for item in done:
        if isinstance(item, Edit):
            replayed = Edit.from_json(item.to_json()).apply(replayed)
    put_state(replayed, *take_state(model))
    assert torch.equal(task.predict(replayed, inputs), answer)

    again, _ = run(Static(num_bits=8), make())
    assert all(torch.equal(value, take_state(again)[0][name]) for name, value in take_state(model)[0].items())


def test_fewer_bits_cost_more() -> None:
    task = image_task()
    inputs, _ = next(iter(task.calibration or ()))
    expected = task.predict(task.model, inputs)
    errors = [relative(task.predict(run(Static(num_bits=n), task)[0], inputs), expected) for n in (8, 6, 4, 2)]
    assert errors == sorted(errors) and errors[0] < errors[-1] / 4


def test_weight_range_is_recorded_and_kept() -> None:
    task = vector_task()
    half, done = run(Static(weight_range="half"), task)
    full, _ = run(Static(weight_range="full"), task)
    assert {(e.quant_min, e.quant_max) for e in done if hasattr(e, "quant_min")} == {(-64, 64)}
    assert int(half.first.weight_q.abs().max()) == 64 and int(full.first.weight_q.abs().max()) == 127
    assert Static(num_bits=4, weight_range="half").quant_max() == 7
    assert Static().quant_max() in (64, 127)


def test_grouped_and_factored_layers_and_3d_inputs() -> None:
    torch.manual_seed(0)
    grouped = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    rows = nn.Sequential(LowRankLinear(nn.Linear(6, 2, bias=False), nn.Linear(2, 8)), nn.ReLU(), nn.Linear(8, 2))
    for net, x in ((grouped, torch.randn(16, 4, 5, 5)), (rows, torch.randn(16, 3, 6))):
        model, _ = run(Static(), task_of(net, x))
        assert not [m for m in model.modules() if type(m) in (nn.Linear, nn.Conv2d, nn.BatchNorm2d)]
        assert relative(model(x), net(x)) < 0.05


def test_masked_zeros_stay_zero() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    mask = torch.rand(8, 6) > 0.5
    net[0].register_buffer("weight_mask", mask)
    x = torch.randn(16, 6)
    model, _ = run(Static(include=("0",)), task_of(net, x))
    assert (model[0].weight_q[~mask] == 0).all() and "0.weight_mask" not in take_state(model)[0]
    assert type(model[0]) is QuantizedLinear and type(model[2]) is nn.Linear


def test_zero_and_constant_activations_and_dead_channels() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.copy_(torch.tensor([1.0, -1.0, 0.0, 0.5]))
    for x in (torch.zeros(8, 3), torch.full((8, 3), 7.0)):
        model, _ = run(Static(), task_of(net, x))
        assert torch.allclose(model(x), net(x), atol=0.02)


def test_a_layer_never_reached_is_declined() -> None:
    net = nn.Sequential(nn.Linear(3, 4))
    net.spare = nn.Linear(3, 3)
    net.forward = lambda x: net[0](x)  # type: ignore[method-assign]
    model, done = run(Static(), task_of(net, torch.randn(8, 3)), net)
    assert Declined("spare", "no calibration batch reached it") in done and type(model.spare) is nn.Linear


@pytest.mark.parametrize("settings", [{"num_bits": 1}, {"num_bits": 9}, {"num_bits": 8.0}, {"weight_range": "quarter"}])
def test_settings_outside_their_range(settings: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=r"quantize\.static"):
        Static(**settings)  # type: ignore[arg-type]


def test_twice_is_an_order_error() -> None:
    with pytest.raises(OrderError, match=r"step 2, quantize\.static, cannot follow step 1, quantize\.static"):
        Recipe((Static(), Static(num_bits=4)))


def test_bad_data_is_one_clear_error() -> None:
    task = dict_task()
    with pytest.raises(BatchError, match=r"quantize\.static: task\.calibration holds no batch"):
        run(Static(), replace(task, calibration=[]))
    bad = vector_task()
    x = torch.randn(4, 12)
    x[1, 2] = math.nan
    with pytest.raises(ForwardError, match=r"quantize\.static: first: it holds NaN or infinity in its input"):
        run(Static(), replace(bad, calibration=[(x, x)]))
    broken = copy.deepcopy(bad.model)
    with torch.no_grad():
        broken.head.weight[0, 0] = math.inf
    with pytest.raises(LayerError, match=r"quantize\.static: head: the weight holds NaN"):
        run(Static(), bad, broken)
    with pytest.raises(NothingToDoError, match="selects no Linear, Conv2d"):
        run(Static(exclude=("*",)), bad)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("num_bits", [2, 3, 4])
def test_below_8_bits_scales_have_least_squared_error(num_bits: int, per_channel: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(256, 16)
    task = task_of(nn.Sequential(layer), torch.randn(8, 256))
    layer.weight.data.normal_()  # long tails: clipping pays
    errors = []
    for clip in (True, False):
        made = run(Static(num_bits=num_bits, per_channel=per_channel, clip=clip), task)[0][0]
        assert isinstance(made, QuantizedLinear)
        off_OI = made.weight - layer.weight
        errors.append(float(off_OI.detach().square().sum()))
        half_O1 = made.weight_scale[:, None] / 2
        inside_OI = layer.weight.abs() <= (2 ** (num_bits - 1) - 1) * made.weight_scale[:, None] * (1 + 1e-6)
        assert bool((off_OI.abs() <= half_O1 * 1.001)[inside_OI].all())
        assert clip or bool(inside_OI.all())
    assert errors[0] < errors[1]


def test_8_bits_clip_no_weight() -> None:
    task = vector_task()
    one, other = (run(Static(clip=clip), task)[0].state_dict() for clip in (True, False))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
