"""A played forward answers what a computed one does, and computes nothing before the change."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paring import Task
from paring.core.task import outputs_and_targets
from paring.graph.replay import record
from paring.measure.metrics import accuracy


class Block(nn.Module):
    """A residual block that writes into what it read, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Linear(6, 6), nn.Linear(6, 6), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        hidden = self.second(self.act(self.first(x)))
        hidden += x
        return self.act(hidden), None


class Net(nn.Module):
    """Blocks, a layer that runs twice, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.twice, self.head = nn.ModuleList(Block() for _ in range(3)), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.inner:
            x, _ = block(self.twice(x))
        answer: Tensor = self.head(x)
        return answer


def task_of(model: nn.Module) -> Task:
    generator = torch.Generator().manual_seed(0)
    data = [(torch.randn(rows, 6, generator=generator), torch.zeros(rows, dtype=torch.long)) for rows in (4, 4, 2)]
    x, loss = data[0][0], functional.cross_entropy
    return Task(name="replay", model=model, example_inputs=x, validation=data, loss=loss, metric=accuracy)


@pytest.mark.parametrize("layer", ["inner.0.first", "inner.1.second", "inner.2.first", "head"])
def test_a_changed_layer_answers_the_same_played_or_computed(layer: str) -> None:
    torch.manual_seed(0)
    model = Net().eval()
    task = task_of(model)
    recording = record(
        model, task, task.validation, [("inner.0.first",), ("inner.1.second",), ("inner.2.first",), ("head",)]
    )
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.get_submodule(layer).weight.mul_(1.3)
    computed, _ = outputs_and_targets(task, changed, task.validation)
    for _ in range(2):  # what is kept is not written to
        with recording.playing(changed, (layer,)):
            played, _ = outputs_and_targets(task, changed, task.validation)
        assert torch.equal(played, computed)
    again, _ = outputs_and_targets(task, changed, task.validation)
    assert torch.equal(again, computed) and not any("forward" in vars(module) for module in changed.modules())


def test_what_comes_before_is_not_computed() -> None:
    model = Net().eval()
    task = task_of(model)
    recording = record(model, task, task.validation, [("inner.2.first",), ("head",)])
    assert "inner.0" in recording.answers and "twice" not in recording.answers
    other = copy.deepcopy(model)
    with pytest.MonkeyPatch.context() as patch, recording.playing(other, ("inner.2.second",)):
        before = [other.get_submodule(name) for name in ("inner.0", "inner.1")]
        linears = {id(one) for outer in before for one in outer.modules() if isinstance(one, nn.Linear)}
        run = nn.Linear.forward
        patch.setattr(
            nn.Linear, "forward", lambda one, x: pytest.fail("computed") if id(one) in linears else run(one, x)
        )
        outputs_and_targets(task, other, task.validation)


def test_a_module_with_a_hook_computes() -> None:
    model = Net().eval()
    task = task_of(model)
    recording = record(model, task, task.validation, [("head",)])
    other = copy.deepcopy(model)
    other.get_submodule("inner.0.first").register_forward_hook(lambda _module, _args, answer: answer * 2)
    computed, _ = outputs_and_targets(task, other, task.validation)
    with recording.playing(other, ("head",)):
        played, _ = outputs_and_targets(task, other, task.validation)
    assert torch.equal(played, computed)


def test_what_was_built_differently_computes() -> None:
    torch.manual_seed(0)
    model = Net().eval()
    task = task_of(model)
    recording = record(model, task, task.validation, [("head",)])
    other = copy.deepcopy(model)
    other.inner[1].first = nn.Sequential(nn.Linear(6, 6))
    computed, _ = outputs_and_targets(task, other, task.validation)
    with recording.playing(other, ("head",)):
        played, _ = outputs_and_targets(task, other, task.validation)
    assert torch.equal(played, computed)


def test_outer_modules_are_kept_first_where_room_is_short() -> None:
    model = Net().eval()
    task = task_of(model)
    block = 4 * 6 * 4 * len(task.validation)
    recording = record(model, task, task.validation, [("inner.2.second",), ("head",)], most_bytes=3 * block)
    assert list(recording.answers) == ["inner.0", "inner.1", "inner.2"]
    assert not record(model, task, task.validation, [("head",)], most_bytes=10).answers


class Tail(nn.Module):
    """A module in front, one that is named, a head."""

    def __init__(self, front: nn.Module) -> None:
        super().__init__()
        self.front, self.fc, self.head = front, nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.0
        answer: Tensor = self.head(x + self.fc(self.front(x)))
        return answer


class Sometimes(nn.Module):
    """Runs its inner layer for batches of four only."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.inner(x) if len(x) == 4 else x
        return answer


def hooked() -> nn.Module:
    layer = nn.Linear(6, 6)
    layer.register_forward_hook(lambda _module, _args, answer: answer * 2)
    return layer


def patched() -> nn.Module:
    layer = nn.Linear(6, 6)
    plain = layer.forward
    layer.forward = lambda x: plain(x) + 1  # type: ignore[method-assign]
    return layer


@pytest.mark.parametrize("front", [nn.ReLU(inplace=True), nn.BatchNorm1d(6), Sometimes(), hooked(), patched()])
def test_what_cannot_be_played_back_computes(front: nn.Module) -> None:
    model = Tail(front).eval()
    task = task_of(model)
    recording = record(model, task, task.validation, [("fc",), ("head",)])
    other = model if "forward" in vars(front) else copy.deepcopy(model)  # a copy would call the first one's forward
    with torch.no_grad():
        other.fc.weight.mul_(2)
        if isinstance(other.front, nn.BatchNorm1d):
            other.front.running_mean.add_(1)  # changed beside the named layer
    computed, _ = outputs_and_targets(task, other, task.validation)
    with recording.playing(other, ("fc",)):
        played, _ = outputs_and_targets(task, other, task.validation)
    assert torch.equal(played, computed)
    assert torch.equal(outputs_and_targets(task, other, task.validation)[0], computed)
