from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from paring.core.edit import Edit
from paring.errors import LayerError
from paring.graph.edits.quantize import QuantizeInput, QuantizeOutput, QuantizeWeight
from paring.graph.quantized import QuantizedConv2d, QuantizedLayer, QuantizedLinear, freeze_quantizers, set_quantizer
from paring.graph.state import meta_copy, put_state, take_state
from paring.numerics.quant import round_weight, weight_scale

LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (3, 6)),
    "linear 3-D, no bias": (lambda: nn.Linear(6, 4, bias=False), (3, 2, 6)),
    "conv": (lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), (2, 3, 7, 7)),
    "depthwise conv, no bias": (lambda: nn.Conv2d(4, 4, 3, groups=4, dilation=2, bias=False), (2, 4, 7, 7)),
    "same padding": (lambda: nn.Conv2d(3, 4, 3, padding="same"), (2, 3, 7, 7)),
    "reflected padding": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (2, 3, 7, 7)),
}


def put_weight(net: nn.Module, name: str, weight: Tensor, bias: Tensor | None) -> None:
    layer = net.get_submodule(name)
    assert isinstance(layer, QuantizedLayer)
    scale = weight_scale(weight, layer.quant_max)
    layer.set_(round_weight(weight, scale, layer.quant_min, layer.quant_max), scale, bias)


@pytest.mark.parametrize("case", LAYERS)
def test_layer_computes_with_its_rounded_weight_and_replays(case: str) -> None:
    torch.manual_seed(0)
    make, shape = LAYERS[case]
    float_layer = make()
    net = nn.Sequential(copy.deepcopy(float_layer))
    blank = meta_copy(net)
    x = torch.randn(shape)
    edits = [Edit.from_json(e.to_json()) for e in (QuantizeWeight("0", 8, -127, 127), QuantizeInput("0"))]
    for edit in edits:
        net, blank = edit.apply(net), edit.apply(blank)
    put_weight(net, "0", float_layer.weight, float_layer.bias)
    set_quantizer(net[0], "input", 0.03, 128)

    with torch.no_grad():
        float_layer.weight.copy_(net[0].weight)
        expected = float_layer(0.03 * (torch.round(x / 0.03).clamp(-128, 127)))
    assert torch.allclose(net(x), expected, atol=1e-5)
    assert net[0].weight_q.dtype == torch.int8 and not list(net.parameters())

    put_state(blank, *take_state(net))
    assert torch.equal(blank(x), net(x))
    assert torch.equal(copy.deepcopy(net)(x), net(x))

    frozen = copy.deepcopy(net)
    freeze_quantizers(frozen)
    assert torch.allclose(frozen(x), net(x), atol=1e-3)
    assert isinstance(frozen[0].input_scale, float) and isinstance(net[0].input_scale, Tensor)


def test_a_layer_under_two_names_is_replaced_under_both() -> None:
    layer = nn.Linear(3, 3)
    net = QuantizeWeight("0", 4, -7, 7).apply(nn.Sequential(layer, nn.ReLU(), layer))
    assert type(net[0]) is QuantizedLinear and net[2] is net[0]


def test_a_mask_is_dropped_and_its_zeros_stay() -> None:
    conv = nn.Conv2d(2, 3, 3)
    mask = torch.rand_like(conv.weight) > 0.5
    conv.register_buffer("weight_mask", mask)
    net = QuantizeWeight("0", 8, -127, 127).apply(nn.Sequential(conv))
    put_weight(net, "0", conv.weight * mask, conv.bias)
    assert type(net[0]) is QuantizedConv2d and "weight_mask" not in net[0]._buffers
    assert (net[0].weight[~mask] == 0).all() and (net[0].weight_q[mask] != 0).any()


def test_a_sequential_and_a_block_take_quantizers_on_both_sides() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Identity(), nn.Identity())

        def forward(self, *, flag: int, x: Tensor) -> tuple[Tensor, int]:
            return self.inner(x), flag

    net: nn.Module = Block()
    for edit in (QuantizeInput("inner"), QuantizeOutput("inner"), QuantizeInput(""), QuantizeOutput("")):
        net = edit.apply(net)
    assert len(net.inner) == 2
    for module, scale in ((net, 0.5), (net.inner, 1.0)):
        set_quantizer(module, "input", scale, 2)
        set_quantizer(module, "output", scale, 2)
    answer, flag = net(flag=7, x=torch.tensor([0.3, 1.4, -9.0, 1000.0]))
    assert flag == 7 and answer.tolist() == [0.0, 2.0, -1.0, 126.0]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([QuantizeWeight("0", 4, -8, 8)], "-8..8 does not fit in 4 bits"),
        ([QuantizeWeight("1", 8, -127, 127)], "treats Linear and Conv2d, not ReLU"),
        ([QuantizeInput("0"), QuantizeInput("0")], "0: its input is quantized already"),
        ([QuantizeInput("0"), QuantizeWeight("0", 8, -127, 127)], "before the input or output"),
    ],
)
def test_what_does_not_fit_is_said(edits: list[Edit], message: str) -> None:
    net: nn.Module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    for edit in edits[:-1]:
        net = edit.apply(net)
    with pytest.raises(LayerError, match=message):
        edits[-1].apply(net)


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(LayerError, match="float16; quantize float32"):
        QuantizeWeight("0", 8, -127, 127).apply(nn.Sequential(nn.Linear(2, 2).half()))
