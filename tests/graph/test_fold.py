from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import LayerError, ShapeError
from paring.graph.edits.fold import FoldBatchNorm
from paring.graph.state import meta_copy, put_state, take_state


def with_statistics(net: nn.Module) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.1, 3)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return net.eval()


CASES = {
    "conv without bias": (lambda: (nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)), (2, 2, 5, 5)),
    "grouped conv": (lambda: (nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8)), (2, 4, 5, 5)),
    "linear": (lambda: (nn.Linear(3, 5), nn.BatchNorm1d(5)), (4, 3)),
    "no affine": (lambda: (nn.Conv1d(3, 5, 2), nn.BatchNorm1d(5, affine=False)), (2, 3, 6)),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_stay_and_replay_is_bit_identical(case: str) -> None:
    torch.manual_seed(0)
    make, shape = CASES[case]
    net = with_statistics(nn.Sequential(*make(), nn.ReLU()))
    x = torch.randn(shape)
    expected = net(x)
    blank = meta_copy(net)
    edit = Edit.from_json(FoldBatchNorm("0", "1").to_json())

    folded = edit.apply(net)
    assert type(folded[1]) is nn.Identity and not folded[1].training
    assert torch.allclose(folded(x), expected, atol=1e-5)

    replayed = edit.apply(blank)
    put_state(replayed, *take_state(folded))
    assert torch.equal(replayed(x), folded(x))


def test_a_norm_under_two_names_goes_under_both() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)
            self.alias = self.norm

        def forward(self, x: Tensor) -> Tensor:
            return self.alias(self.conv(x))

    net = FoldBatchNorm("conv", "norm").apply(with_statistics(Net()))
    assert type(net.norm) is nn.Identity and net.alias is net.norm


def test_what_cannot_be_folded_is_said() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(2, track_running_stats=False))
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ShapeError, match="0 has 2 output channels, and 1 3"):
        FoldBatchNorm("0", "1").apply(net)
    with pytest.raises(LayerError, match=r"cannot fold 1 .*into 2 \(ReLU"):
        FoldBatchNorm("2", "1").apply(net)
    with pytest.raises(LayerError, match="3 keeps no running statistics"):
        FoldBatchNorm("0", "3").apply(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
