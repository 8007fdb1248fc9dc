"""Inputs behind the compressed prefix: the same as a full forward gives, in O(depth) forwards where blocks allow."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paring.errors import BatchError, ForwardError
from paring.graph.blocks import find_blocks
from paring.graph.capture import Sweep, input_moments, input_shapes, unfolded
from tests.nets import SharedNet


class Block(nn.Module):
    """A residual block that takes a mask beside the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x + self.fc2(F.relu(self.fc1(x), inplace=True)) * mask


class Encoder(nn.Module):
    """Blocks in a row, as encoders have them, with something before and after."""

    def __init__(self, depth: int = 5, *, changes_mask: bool = False) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 6)
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.head = nn.Linear(6, 3)
        self.changes_mask = changes_mask

    def forward(self, x: Tensor) -> Tensor:
        mask = (x[..., :1] > 0).float()
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, mask)
            mask = mask * 0.5 if self.changes_mask else mask
        return self.head(x)


def chain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 8), nn.Dropout(0.5), nn.Linear(8, 3))


def data(count: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(7, 4, generator=generator), torch.zeros(7)) for _ in range(count)]


def linears(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if type(module) is nn.Linear]


def by_full_forward(model: nn.Module, layer: str) -> Tensor:
    seen: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_pre_hook(lambda _m, args: seen.append(args[0].clone()))
    with torch.no_grad():
        for x, _ in data():
            model(x)
    handle.remove()
    return torch.cat(seen)


def calls_in_a_sweep(model: nn.Module, layers: list[str]) -> Counter[str]:
    """How often each module runs while every layer is asked for once and changed after."""
    counts: Counter[str] = Counter()
    handles = [
        module.register_forward_pre_hook(lambda _m, _a, name=name: counts.update([name]))
        for name, module in model.named_modules()
    ]
    sweep = Sweep(model, data(), "test")
    for layer in sweep.order(layers):
        sweep.inputs(layer, lambda _x: None)
    for handle in handles:
        handle.remove()
    return counts


@pytest.mark.parametrize(
    "make", [Encoder, chain, SharedNet, lambda: Encoder(changes_mask=True)], ids=["encoder", "chain", "shared", "mask"]
)
def test_inputs_are_those_of_a_full_forward_behind_every_change_so_far(make: Any) -> None:
    torch.manual_seed(0)
    model = make().eval()
    width = 12 if isinstance(model, SharedNet) else 4
    batches = [(x if width == 4 else torch.cat([x, x, x], 1), y) for x, y in data()]
    sweep = Sweep(model, batches, "test")
    for layer in sweep.order(linears(model)):
        seen: list[Tensor] = []
        sweep.inputs(layer, lambda x, seen=seen: seen.append(x.clone()))
        expected: list[Tensor] = []
        handle = model.get_submodule(layer).register_forward_pre_hook(lambda _m, a, e=expected: e.append(a[0].clone()))
        with torch.no_grad():
            for x, _ in batches:
                model(x)
        handle.remove()
        assert torch.equal(torch.cat(seen), torch.cat(expected))
        with torch.no_grad():
            model.get_submodule(layer).weight.mul_(0.7)


def test_layers_are_ordered_as_the_forward_reaches_them() -> None:
    model = Encoder(2)
    model.unused = nn.Linear(2, 2)
    sweep = Sweep(model, data(), "test")
    names = ["unused", "head", "blocks.1.fc2", "blocks.1.fc1", "stem", "blocks.0.fc1"]
    expected = ["stem", "blocks.0.fc1", "blocks.1.fc1", "blocks.1.fc2", "head", "unused"]
    assert sweep.order(names) == expected
    assert sweep.reaches("head") and not sweep.reaches("unused")


def test_a_sweep_over_blocks_takes_forwards_in_proportion_to_depth() -> None:
    shallow, deep = (sum(calls_in_a_sweep(m, linears(m)).values()) for m in (Encoder(5), Encoder(20)))
    assert deep <= 4.5 * shallow
    model = Encoder(20)
    counts = calls_in_a_sweep(model, linears(model))
    assert max(counts[f"blocks.{i}"] for i in range(1, 20)) <= 1 + 3 * (2 + 1 + 1)


def test_going_back_starts_over_and_goes_on_from_there() -> None:
    torch.manual_seed(0)
    model = Encoder(20).eval()
    counts: Counter[str] = Counter()
    handles = [
        module.register_forward_pre_hook(lambda _m, _a, name=name: counts.update([name]))
        for name, module in model.named_modules()
    ]
    sweep = Sweep(model, data(), "test")
    order = sweep.order(linears(model))
    found: dict[str, list[Tensor]] = {layer: [] for layer in order}
    for layer in (*order, *order):
        sweep.inputs(layer, lambda x, layer=layer: found[layer].append(x.clone()))
    for handle in handles:
        handle.remove()
    assert max(counts[f"blocks.{i}"] for i in range(20)) <= 1 + 2 * 3 * (2 + 1 + 1)
    for layer, seen in found.items():
        assert torch.equal(torch.cat(seen), by_full_forward(model, layer).repeat(2, *[1] * (seen[0].ndim - 1)))


def test_a_row_is_found_only_where_nothing_else_changes() -> None:
    blocks, _ = find_blocks(Encoder(4), data()[0][0])
    assert blocks is not None and blocks.names == (*(f"blocks.{i}" for i in range(4)), "head")
    assert blocks.index_of("blocks.2.fc1") == 2 and blocks.index_of("stem") is None
    blocks, _ = find_blocks(Encoder(4, changes_mask=True), data()[0][0])
    assert blocks is not None and sum(name.startswith("blocks.") for name in blocks.names) == 1
    blocks, _ = find_blocks(chain(), data()[0][0])
    assert blocks is not None and blocks.names == ("0", "1", "2", "3", "4")


def test_another_batch_that_takes_another_way_is_still_seen_whole() -> None:
    class Fickle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.b(self.a(x))
            return self.c(x) if len(x) == 7 else self.c(x + 1)

    batches = [*data(1), (torch.ones(5, 4), torch.zeros(5))]
    rows: list[int] = []
    model = Fickle()
    sweep = Sweep(model, batches, "test")
    sweep.inputs("b", lambda x: rows.append(len(x)))
    assert rows == [7, 5]
    seen: list[Tensor] = []
    sweep.inputs("c", seen.append)
    with torch.no_grad():
        assert torch.equal(seen[1], model.b(model.a(batches[1][0])) + 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (3, 2), "padding": (1, 0), "dilation": (2, 1)},
        {"kernel_size": 3, "padding": "same", "padding_mode": "reflect"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    ],
)
def test_unfolded_rows_times_the_weight_are_the_convolution(settings: dict[str, Any]) -> None:
    conv = nn.Conv2d(3, 5, bias=False, **settings)
    x = torch.randn(4, 3, 9, 8)
    rows = torch.cat(list(unfolded(conv, x)))
    expected = conv(x).permute(0, 2, 3, 1).reshape(-1, 5)
    assert torch.allclose(rows @ conv.weight.flatten(1).T, expected, atol=1e-5)


def test_input_moments_of_a_linear_over_tokens() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    batches = [(torch.randn(3, 5, 4), torch.zeros(3))]
    moments = input_moments(Sweep(model, batches, "test"), "0", model[0])
    rows = batches[0][0].reshape(-1, 4).double()
    assert moments.count == 15 and torch.allclose(moments.second_II, rows.T @ rows / 15)


def test_input_shapes_leave_out_what_is_not_reached() -> None:
    model = Encoder(1)
    model.unused = nn.Linear(2, 2)
    shapes = input_shapes(model, ["stem", "blocks.0.fc2", "unused"], data()[0][0])
    assert shapes == {"stem": (7, 4), "blocks.0.fc2": (7, 12)}


def test_no_batches_and_nan_are_refused_by_name() -> None:
    model = chain()
    with pytest.raises(BatchError, match="no batch"):
        Sweep(model, [], "factorize.whitened_svd")
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    sweep = Sweep(model, data(), "factorize.whitened_svd")
    with pytest.raises(ForwardError, match=r"factorize.whitened_svd: 2: NaN or infinity in its input"):
        input_moments(sweep, "2", model[2])


def test_the_model_keeps_its_mode() -> None:
    model = chain().train()
    Sweep(model, data(), "test").inputs("4", lambda _x: None)
    assert model.training
