from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from paring.errors import TraceError
from paring.graph.trace import batch_norm_pairs, trace


class Norms(nn.Module):
    """One pair for each reason to fold or not to fold."""

    def __init__(self) -> None:
        super().__init__()
        self.good, self.good_norm = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.two_readers, self.two_readers_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.called_twice, self.called_twice_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.no_statistics, self.no_statistics_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)
        self.relu_between, self.relu_between_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.tied, self.tied_norm, self.tied_other = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.tied_other.weight = self.tied.weight
        self.block = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU())
        self.rows, self.rows_norm = nn.Linear(5, 5), nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.good_norm(self.good(x)))
        y = self.two_readers(x)
        x = self.two_readers_norm(y) + y
        x = self.called_twice(self.called_twice_norm(self.called_twice(x)))
        x = self.no_statistics_norm(self.no_statistics(x))
        x = self.relu_between_norm(torch.relu(self.relu_between(x)))
        x = self.tied_other(self.tied_norm(self.tied(x)))
        x = self.block(x.mean((2, 3)))
        return self.rows_norm(self.rows(x[:, None].expand(-1, 3, -1)))


def test_pairs_are_those_whose_norm_alone_reads_the_layer() -> None:
    net = Norms()
    pairs = batch_norm_pairs(net, torch.randn(1, 1, 6, 6))
    assert pairs == (("good", "good_norm"), ("block.0", "block.1"))
    assert net.training


def test_without_norms_nothing_is_traced() -> None:
    class Untraceable(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    assert batch_norm_pairs(Untraceable(), torch.ones(1, 2)) == ()


def test_ops_carry_their_module_and_readers() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    flow = trace(net, torch.randn(1, 3))
    kinds = [(op.kind, op.module) for op in flow.ops if op.kind.startswith("aten")]
    assert kinds == [("aten.linear.default", "0"), ("aten.relu.default", "1")]
    linear = next(op for op in flow.ops if op.module == "0" and op.kind.startswith("aten"))
    assert [op.module for op in flow.users[linear.name]] == ["1"] and linear.shape == (2, 4)


def test_tuples_and_dicts_are_inputs() -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    x = torch.randn(1, 3)
    for inputs in ((x, x), {"b": x, "a": x}):
        assert any(op.kind == "aten.add.Tensor" for op in trace(Two(), inputs).ops)


def test_control_flow_on_values_is_one_line_with_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(TraceError, match=r"depends on the values of a tensor \(in forward, .*test_trace\.py:\d+\)$"):
        trace(Branch(), torch.ones(1, 2))
    assert capfd.readouterr() == ("", "")


def test_a_shape_error_is_one_line_with_its_place() -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(7)

    with pytest.raises(TraceError, match=r"shape '\[7\]' is invalid.*test_trace\.py:\d+") as caught:
        trace(Wrong(), torch.ones(1, 2))
    assert "\n" not in str(caught.value)
